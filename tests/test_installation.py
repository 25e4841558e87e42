"""The doctor: every clash has a remedy, and no work lands on the CPU where an accelerator is expected."""

import json
import re
import subprocess
import sys

import jax
import pytest

import lmjax
from lmjax import installation
from lmjax.config import UsageError
from lmjax.installation import check_accelerator, expected, hints, judge

REQUIRED = {
    'jaxlib': '<=0.10.2,>=0.10.1',
    'libtpu': '==0.0.42.*',
    'jax-cuda12-plugin': '==0.10.2',
    'jax-cuda13-plugin': '==0.10.2',
}
CUDA = {'jax-cuda13-plugin': '0.10.2', 'jax-cuda13-pjrt': '0.10.2'}


def facts(platform='cpu', *, packages=None, hints=None, platforms='', colab=False, error=''):
    return {
        'packages': {'jax': '0.10.2', 'jaxlib': '0.10.2', **(packages or {})},
        'required': REQUIRED,
        'hints': {'tpu': [], 'gpu': [], **(hints or {})},
        'jax_platforms': platforms,
        'colab': colab,
        'environment': {} if error else {'platform': platform},
        'error': error,
    }


SOUND = {
    'a plain CPU': facts(),
    'a GPU in use': facts('gpu', packages=CUDA, hints={'gpu': ['/dev/nvidia0']}),
    'a TPU in use': facts('tpu', packages={'libtpu': '0.0.42.1'}, hints={'tpu': ['TPU_NAME']}),
    'the CPU chosen beside a GPU': facts(packages=CUDA, hints={'gpu': ['/dev/nvidia0']}, platforms='cpu'),
}


@pytest.mark.parametrize('name', SOUND)
def test_sound_installations(name):
    assert judge(SOUND[name]) == ('', [])


FALLBACKS = {
    'GPU without a plugin': (
        facts(hints={'gpu': ['/dev/nvidia0']}),
        r'runs on cpu, not on the gpu that /dev/nvidia0 shows: a CUDA plugin is not installed: '
        r'pip install -U "jax\[cuda13\]==0\.10\.2"',
    ),
    'GPU with an old plugin': (
        facts(hints={'gpu': ['/dev/nvidia0']}, packages={'jax-cuda12-plugin': '0.9.0', 'jax-cuda12-pjrt': '0.9.0'}),
        r'jax-cuda12-plugin 0\.9\.0 does not go with jax 0\.10\.2, which wants ==0\.10\.2: '
        r'pip install -U "jax\[cuda12\]==0\.10\.2"',
    ),
    'GPU with a fitting plugin': (
        facts(hints={'gpu': ['/dev/nvidia0']}, packages=CUDA),
        r'see that nvidia-smi lists the GPU .*"jax\[cuda13\]==0\.10\.2"',
    ),
    'Colab TPU after an upgrade of jax': (
        facts(hints={'tpu': ['COLAB_TPU_ADDR']}, colab=True),
        r'jax was upgraded over the one that Colab came with, and libtpu is not installed: '
        r'pip install -U "jax\[tpu\]==0\.10\.2", then restart',
    ),
    'Colab TPU with the libtpu of another jax': (
        facts(hints={'tpu': ['COLAB_TPU_ADDR']}, packages={'libtpu': '0.0.21.1'}, colab=True),
        r'libtpu 0\.0\.21\.1 does not go with jax 0\.10\.2, which wants ==0\.0\.42\.\*: '
        r'pip install -U "jax\[tpu\]==0\.10\.2", then restart',
    ),
    'only a plugin speaks for it': (
        facts(hints={'gpu': ['the installed jax-cuda13-plugin']}, packages=CUDA),
        'set JAX_PLATFORMS=cpu if',
    ),
}


@pytest.mark.parametrize('name', FALLBACKS)
def test_a_silent_fall_back_is_refused_with_its_remedy(name):
    broken, phrase = FALLBACKS[name]
    failure, _ = judge(broken)
    assert re.search(phrase, failure), failure
    assert failure.endswith('set JAX_PLATFORMS=cpu if the CPU is meant')
    assert '\n' not in failure


def test_what_is_asked_for_is_what_counts():
    assert re.search(r'not on the tpu that was asked for: libtpu is not installed', judge(facts(), 'tpu').failure)
    assert judge(facts(hints={'gpu': ['/dev/nvidia0']}), 'cpu') == ('', [])
    assert 'set JAX_PLATFORMS=cpu' in judge(facts('gpu'), 'cpu').failure
    assert expected('cuda,cpu', {}) == ('gpu', 'JAX_PLATFORMS=cuda,cpu asks for')
    assert expected(None, {'tpu': ['TPU_NAME', '/dev/accel0'], 'gpu': []}) == ('tpu', 'TPU_NAME and /dev/accel0 shows')


def test_clashes_that_do_no_harm_yet_are_warnings():
    both = {**CUDA, 'jax-cuda12-plugin': '0.10.2', 'jax-cuda12-pjrt': '0.10.1'}
    failure, warnings = judge(facts('gpu', packages=both, hints={'gpu': ['/dev/nvidia0']}))
    assert failure == ''
    assert any('pip uninstall -y jax-cuda12-plugin jax-cuda12-pjrt' in line for line in warnings)
    assert any('jax-cuda12-plugin 0.10.2 and jax-cuda12-pjrt 0.10.1 differ' in line for line in warnings)
    assert len(warnings) == 2


def test_a_jax_that_does_not_start_is_a_failure_with_its_clash():
    broken = facts(packages={'jaxlib': '0.8.0'}, error='RuntimeError: jaxlib is too old')
    failure = judge(broken).failure
    assert failure.startswith('JAX does not start: RuntimeError: jaxlib is too old; jaxlib 0.8.0 does not go with jax 0.10.2')
    assert 'pip install -U "jax==0.10.2"' in failure


def clear(monkeypatch):
    for name in (*installation.TPU_VARIABLES, 'CUDA_VISIBLE_DEVICES'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('lmjax.installation.os.path.exists', lambda path: False)
    monkeypatch.setattr('lmjax.installation.shutil.which', lambda name: None)
    monkeypatch.setattr('lmjax.installation.glob.glob', lambda pattern: [])
    monkeypatch.setattr('lmjax.installation.importlib.util.find_spec', lambda name: None)


def test_hints(monkeypatch):
    clear(monkeypatch)
    assert hints() == {'tpu': [], 'gpu': []}
    monkeypatch.setenv('TPU_NAME', 'local')
    monkeypatch.setattr('lmjax.installation.os.path.exists', lambda path: path == '/dev/nvidia0')
    assert hints() == {'tpu': ['TPU_NAME'], 'gpu': ['/dev/nvidia0']}
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert hints()['gpu'] == [], 'the user has hidden the GPU'
    clear(monkeypatch)
    monkeypatch.setattr('lmjax.installation.importlib.util.find_spec', lambda name: name == 'jax_cuda13_plugin' or None)
    assert hints() == {'tpu': [], 'gpu': ['the installed jax-cuda13-plugin']}


def test_a_run_checks_where_it_lands(monkeypatch):
    check_accelerator()  # the tests choose the CPU by JAX_PLATFORMS
    with pytest.raises(UsageError, match=r'JAX runs on cpu, not on the gpu that was asked for'):
        check_accelerator('gpu')
    with monkeypatch.context() as patch:
        clear(patch)
        patch.setenv('TPU_NAME', 'local')
        patch.setattr(installation, 'expected', lambda platforms, found, expect='': expected('', found, expect))
        with pytest.raises(UsageError, match=r'not on the tpu that TPU_NAME shows: .*libtpu is not installed'):
            check_accelerator()


def test_doctor_prints_and_returns_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    (tmp_path / 'lmjax' / 'tokens').mkdir(parents=True)
    (tmp_path / 'lmjax' / 'tokens' / 'a').write_bytes(bytes(2_500_000))
    lines = []
    found = lmjax.doctor(say=lines.append)
    text = '\n'.join(lines)
    assert f'jax:               {jax.__version__}, jaxlib' in text
    assert '8 x cpu' in text
    assert '--config.mesh.data=-1 uses all 8 devices' in text
    assert f'{tmp_path}/lmjax/tokens (2.5 MB)' in text
    assert lines[-1] == 'ok: work runs on cpu'
    assert found['required']['jaxlib'], 'what the installed jax declares'
    json.dumps(found)


def test_bad_expectations_are_named():
    with pytest.raises(UsageError, match=r"--expect='ipu': choose one of: tpu, gpu, cpu"):
        lmjax.doctor('ipu')


def test_public_functions_are_not_hidden_by_modules():
    """No folder or file may hide a function of the same name; in a process of its own, for the order of imports."""
    code = (
        'import lmjax; lmjax.train, lmjax.Config; import lmjax.training.config as c, lmjax.installation\n'
        'assert callable(lmjax.train) and callable(lmjax.doctor) and c.Config is lmjax.Config\n'
        'try: lmjax.doctor("ipu", say=None)\n'
        'except lmjax.UsageError: print("called")'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout == 'called\n'


@pytest.mark.slow
def test_the_command_exits_with_two():
    out = subprocess.run([sys.executable, '-m', 'experiments.doctor', '--expect=tpu'], capture_output=True, text=True)
    assert out.returncode == 2
    assert out.stderr.startswith('error: JAX runs on cpu, not on the tpu that was asked for')
    assert out.stderr.count('\n') == 1
