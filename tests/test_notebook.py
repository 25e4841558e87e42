"""The notebook and its script hold the same cells, and both run on a CPU."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def test_the_notebook_is_its_script():
    jupytext = pytest.importorskip('jupytext')
    notebook, script = (jupytext.read(ROOT / 'notebooks' / f'quickstart.{kind}') for kind in ('ipynb', 'py'))
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in script.cells]


@pytest.mark.slow
@pytest.mark.filterwarnings('default')  # the client's own event-loop warnings are not ours
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient')
    nbformat = pytest.importorskip('nbformat')
    monkeypatch.setenv('MPLBACKEND', 'agg')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.delenv('XLA_FLAGS', raising=False)
    notebook = nbformat.read(ROOT / 'notebooks' / 'quickstart.ipynb', as_version=4)
    settings = 'steps = 3; config.model.depth = 1; config.data.max_documents = 100; config.sample.max_new_tokens = 4'
    small = {"'runs/notebook'": repr(str(tmp_path)), 'steps = 300': settings}
    for old, new in small.items():
        (cell,) = [cell for cell in notebook.cells if old in cell.source]
        cell.source = cell.source.replace(old, new)
    nbclient.NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(ROOT / 'notebooks')}}).execute()
    assert {'base', 'relu'} <= set(os.listdir(tmp_path))
    text = '\n'.join(output.get('text', '') for cell in notebook.cells for output in cell.get('outputs', []))
    assert 'validation' in text
