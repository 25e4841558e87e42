"""The architecture, read from the imports: lower layers never import higher ones, heavy libraries stay in their place."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# Folder or file of lmjax -> rank; a file may import its own folder and lower ranks.
RANKS = {
    'types': 0,
    'config': 0,
    'caches': 0,
    'ops': 1,
    'parallel': 1,
    'models': 2,
    'optim': 2,
    'data': 2,
    'objectives': 2,
    'generate': 3,
    'training': 4,
    'interop': 5,
    'study': 8,
    'audit': 6,
    'loaded': 6,
    'api': 7,
    'installation': 5,
    '__init__': 9,
}
# Library -> the only places that may import it.
OWNERS = {
    'flax': ('lmjax/models/',),
    'optax': ('lmjax/optim/', 'lmjax/training/step.py'),
    'orbax': ('lmjax/training/checkpoint/orbax_io.py',),
    'grain': ('lmjax/data/loader.py',),
    'tensorflow_datasets': ('lmjax/data/',),
    'tokenizers': ('lmjax/data/', 'lmjax/interop/huggingface.py', 'lmjax/interop/vocabulary_files.py'),
    'jinja2': ('lmjax/data/chat_worker.py',),
    'safetensors': ('lmjax/interop/tensors.py',),
    'sklearn': ('lmjax/objectives/classification.py', 'lmjax/objectives/multilabel.py', 'lmjax/study/retrieval.py'),
    'scipy': ('lmjax/objectives/regression.py', 'lmjax/study/', 'lmjax/data/sounds.py'),
    'PIL': ('lmjax/data/pictures.py',),
    'pyarrow': ('lmjax/data/columnar.py',),
    'array_record': ('lmjax/data/',),
    'seqeval': ('lmjax/objectives/tagging.py',),
    'sacrebleu': ('lmjax/study/text_scores.py',),
    'rouge_score': ('lmjax/study/text_scores.py',),
    'rapidfuzz': ('lmjax/study/text_scores.py',),
    'gguf': ('lmjax/interop/gguf_file.py',),
    'huggingface_hub': ('lmjax/interop/huggingface.py',),
    'lm_eval': ('lmjax/interop/harness.py', 'lmjax/interop/harness_tasks.py'),
}
# Configs are shared vocabulary: dataclasses without behaviour, which any layer may name.
CONFIGS = tuple(f'lmjax.{folder}.config' for folder in ('data', 'models', 'optim', 'objectives', 'generate', 'parallel'))
HEAVY_AT_TOP = (
    'orbax',
    'grain',
    'tensorflow_datasets',
    'matplotlib',
    'tensorboardX',
    'rich',
    'tokenizers',
    'torch',
    'safetensors',
    'sklearn',
    'scipy',
    'PIL',
    'pyarrow',
    'array_record',
    'seqeval',
    'sacrebleu',
    'rouge_score',
    'rapidfuzz',
    'huggingface_hub',
    'lm_eval',
)
FILES = sorted((ROOT / 'lmjax').rglob('*.py'))


def place(path: pathlib.Path) -> str:
    """The folder below lmjax, or the stem of a file directly in it."""
    parts = path.relative_to(ROOT / 'lmjax').parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(tree: ast.AST, *, top: bool = False) -> list[str]:
    """Names of imported modules; `top`: only those that are executed when the file is imported."""
    nodes = _top_level(tree) if top else ast.walk(tree)
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found


def _top_level(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            continue
        found += [node, *_top_level(node)]
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_its_own_folder_and_lower_layers(path):
    here = place(path)
    tree = ast.parse(path.read_text())
    for name in imports(tree):
        parts = name.split('.')
        if parts[0] in ('experiments', 'configs', 'tests'):
            pytest.fail(f'{path.name} imports {name}')
        if parts[0] != 'lmjax' or len(parts) == 1 or name in CONFIGS:
            continue
        there = parts[1]
        same_rank_is_own = RANKS[there] < RANKS[here] or there == here
        assert same_rank_is_own, f'{path.relative_to(ROOT)} imports {name}, which is not below it'


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_place(path):
    relative = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text())
    for name in imports(tree):
        library = name.split('.')[0]
        if library in OWNERS:
            assert relative.startswith(OWNERS[library]), f'{relative} imports {library}'
    for name in imports(tree, top=True):
        assert name.split('.')[0] not in HEAVY_AT_TOP, f'{relative} imports {name} when it is loaded'


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_data_and_configs_do_not_load_jax(path):
    relative = path.relative_to(ROOT).as_posix()
    if place(path) == 'data' or path.stem == 'config' or relative == 'lmjax/types.py':
        assert not [n for n in imports(ast.parse(path.read_text()), top=True) if n.split('.')[0] == 'jax'], relative


def test_importing_lmjax_loads_no_library():
    code = 'import sys, lmjax; lmjax.Config; print([m for m in ("jax", "flax", "optax", "orbax", "numpy") if m in sys.modules])'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == '[]'


def test_no_file_or_function_outgrows_its_room():
    for path in [*FILES, *sorted((ROOT / 'experiments').rglob('*.py'))]:
        text = path.read_text()
        assert text.count('\n') <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f'{path}:{node.lineno} {node.name}'
