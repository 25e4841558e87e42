"""What the documents say is executed."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def blocks(path, language):
    return re.findall(rf'```{language}\n(.*?)```', (ROOT / path).read_text(), flags=re.DOTALL)


def test_add_your_own_adds_a_norm_that_trains():
    import jax
    import jax.numpy as jnp
    import numpy as np

    from lmjax import TransformerConfig
    from lmjax.models import build
    from lmjax.ops.norms import NORMS
    from lmjax.types import Inputs

    before = dict(NORMS)
    try:
        namespace = {}
        for code in blocks('docs/add-your-own.md', 'python'):
            exec(compile(code, 'docs/add-your-own.md', 'exec'), namespace)
        assert set(NORMS) - set(before) == {'mean_abs'}
        model = build(TransformerConfig(width=8, depth=1, heads=2, norm='mean_abs', norm_eps=1e-9), vocab_size=5, seq_len=4)
        params = model.init(jax.random.key(0), {'init_scale': 1.0})
        hidden = model.apply(params, Inputs(jnp.array([[1, 2, 3, 4]]))).hidden
        np.testing.assert_allclose(jnp.abs(hidden).mean(-1), 1.0, rtol=1e-5)
    finally:
        NORMS.clear()
        NORMS.update(before)


def commands(path):
    """Every `python -m experiments...` line of a document, continuation lines joined."""
    text = (ROOT / path).read_text().replace('\\\n', ' ')
    found = re.findall(r'^\s*(?:.*&& )?(python -m experiments\.\w+ [^\n`]*)$', text, flags=re.MULTILINE)
    return [shlex.split(line)[2:] for line in found]


def documents():
    pages = [
        path.relative_to(ROOT)
        for path in [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'), *(ROOT / 'configs').rglob('*.py')]
    ]
    return [str(page) for page in sorted(pages) if page.name != '__init__.py']


@pytest.mark.parametrize('page', documents())
def test_the_flags_of_every_documented_command_parse(page):
    """Each command is parsed by its own entry point; `--help` ends it before it works."""
    for module, *arguments in commands(page):
        code = (
            'import sys, importlib; sys.argv[0] = "x"\n'
            f'from absl import flags; importlib.import_module({module!r})\n'
            'from experiments import cli; cli._parse(sys.argv)'
        )
        done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 0, (arguments, done.stderr[-500:])


def test_every_preset_names_its_command():
    for path in sorted((ROOT / 'configs').rglob('*.py')):
        name = path.relative_to(ROOT).as_posix()
        if path.name != '__init__.py':
            assert any(f'--config={name}' in ' '.join(arguments) for arguments in commands(name))


@pytest.mark.full  # the notebook, which CI runs, has this code
def test_the_notebook_code_of_the_readme_runs(tmp_path, monkeypatch):
    code, _ = blocks('README.md', 'python')
    code = code.replace("'runs/notebook'", repr(str(tmp_path / 'run'))).replace('= 300', '= 4')
    code = code.replace('lmjax.train(', 'config.data.max_documents = 100; config.sample.max_new_tokens = 4; lmjax.train(')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r'\(1, \d+, \d+\)', done.stdout)


@pytest.mark.slow
def test_the_encoder_code_of_the_readme_runs(tmp_path):
    import jax

    import lmjax
    from lmjax.data.special_tokens import with_specials
    from lmjax.data.tokenizers import tokenizer_class
    from lmjax.interop.huggingface import export_folder
    from lmjax.models import build
    from lmjax.models.families import FAMILIES

    tokenizer = with_specials(tokenizer_class('bpe').train(['The capital is where people eat.\n' * 50], [], 266), ('mask',))
    config = lmjax.Config(model=FAMILIES['bert-tiny'].model, data=lmjax.DataConfig(seq_len=64))
    params = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=64).init(jax.random.key(0), {})
    export_folder(config, params, tokenizer, str(tmp_path / 'bert'))
    _, code = blocks('README.md', 'python')
    found = {'lmjax': lmjax}
    exec(code.replace('hf:DIR', f'hf:{tmp_path / "bert"}'), found)
    assert found['vectors'].shape == (2, 64)
    assert len(found['run'].fill('a <mask>')) == 1


@pytest.mark.full  # CI types such commands itself
def test_the_readme_s_commands_train_score_and_sample(tmp_path):
    """The first command at a small size, then evaluate and generate on what it left."""
    small = [
        '--config.data.max_documents=100',
        '--config.train.steps=4',
        '--config.train.eval_every=2',
        '--config.train.eval_batches=1',
        '--config.sample.max_new_tokens=4',
    ]
    workdir = f'--workdir={tmp_path / "w"}'

    def run(module, *arguments):
        command = [sys.executable, '-m', module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)

    first = run('experiments.train', '--config=configs/quickstart.py', workdir, *small)
    assert first.returncode == 0, first.stderr[-2000:]
    names = {path.name for path in (tmp_path / 'w').iterdir()}
    assert {'config.json', 'metrics.jsonl', 'checkpoints', 'samples.txt', 'report.html', 'tensorboard', 'tokenizer'} <= names
    again = run('experiments.train', '--config=configs/quickstart.py', workdir, *small)
    assert again.returncode == 0
    assert 'complete' in again.stdout
    scored = run('experiments.evaluate', workdir, '--data=text:README.md')
    record = json.loads(scored.stdout.strip().splitlines()[-1])
    assert record['tokens'] > 0
    assert record['bits_per_byte'] > 0
    refused = run('experiments.convert', workdir, f'--to=hf:{tmp_path / "exported"}')
    assert (refused.returncode, refused.stdout) == (2, '')
    assert refused.stderr.startswith("error: model.feed_forward='squared_relu': no family of transformers has it")
    sampled = run('experiments.generate', workdir, '--prompt=import ', '--max_new_tokens=4')
    assert sampled.returncode == 0, sampled.stderr[-2000:]


@pytest.mark.full  # CI types such commands itself
def test_the_readme_s_commands_exchange_checkpoints(tmp_path):
    """Each command of that section, at a small size and in a folder of its own."""
    small = ['--config.data.max_documents=100', '--config.train.steps=2', '--config.train.eval_batches=1']
    section = (ROOT / 'README.md').read_text().split('## Published networks')[1].split('```')[1]
    lines = [shlex.split(line)[2:] for line in section.strip().splitlines()]
    modules = ['inspect', 'train', 'convert', 'generate', 'convert']
    assert [module for module, *_ in lines] == [f'experiments.{name}' for name in modules]
    for module, *arguments in lines:
        placed = [re.sub(r'(?<=[=:])(runs/[\w-]+|exported)$', rf'{tmp_path}/\1', argument) for argument in arguments]
        command = [sys.executable, '-m', module, *placed, *(small if module.endswith('train') else [])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert done.returncode == 0, (command, done.stderr[-2000:])
        if module.endswith('inspect'):
            assert json.loads(done.stdout.splitlines()[-1])['parameters'] == 1_557_611_200
    assert json.loads(done.stdout)['parameters'] == 217_664
