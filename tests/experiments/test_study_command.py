"""The study's command line: what it asks for, what it prints, and what it refuses."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

SMALL = [
    '--config.model.width=8',
    '--config.model.depth=1',
    '--config.model.heads=2',
    '--config.data.seq_len=16',
    '--config.train.steps=4',
    '--config.train.batch_size=4',
    '--config.train.eval_every=2',
    '--config.train.eval_batches=2',
    '--config.optim.warmup_steps=0',
]
VARIED = ['--vary=model.norm=layer,rms', '--seeds=2', '--engine=here']


def run(name, *given):
    """The exit code of a command, and the lines that it prints."""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, '-m', f'experiments.{name}', *given]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=pathlib.Path(__file__).parents[2], timeout=300)
    return done.returncode, (done.stdout or done.stderr).splitlines()


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp('text') / 'text.txt'
    path.write_text('\n'.join(f'{i} times {i % 7} is {i * (i % 7)}.' for i in range(400)))
    return path


def test_one_command_asks_answers_and_goes_on(text, tmp_path):
    folder = str(tmp_path / 'study')
    given = ['--config=configs/gpt_char.py', f'--config.data.source=text:{text}', *SMALL, f'--workdir={folder}', *VARIED]
    rates = '--vary=optim.learning_rate=1e-3,1e-2,1e-1'
    code, first = run('study', *given, rates)
    assert code == 0, first
    told = json.loads(first[-1])
    assert (told['status'], told['done'], told['wanted']) == ('complete', 2 * 3 * 2 + 4, 16)
    assert [arm['arm'] for arm in told['arms']] == ['model.norm=layer', 'model.norm=rms']
    assert all(arm['chosen'].startswith('optim.learning_rate=') for arm in told['arms'])
    assert told['verdicts'][0] in first
    _, status = run('study', '--status', f'--workdir={folder}')
    assert json.loads(status[-1])['left'] == 0
    assert json.loads(run('study', f'--workdir={folder}', '--engine=here')[1][-1]) == told  # goes on
    _, page = run('report', f'--workdir={folder}')
    found = pathlib.Path(json.loads(page[-1])['report'])
    assert found == tmp_path / 'study' / 'report.html'
    assert f'experiments.study {given[0]}' in found.read_text()


def test_a_file_of_a_study_says_everything_itself(text, tmp_path):
    field = [flag.replace('--config.', '--config.base.') for flag in SMALL]
    given = [f'--config=configs/studies/norm.py:{text}', *field, '--config.seeds=2', '--config.tune=()', '--engine=here']
    code, found = run('study', *given, f'--workdir={tmp_path / "a"}')
    assert code == 0, found
    assert json.loads(found[-1])['done'] == 4
    assert 'Nothing was tuned' in ' '.join(found)
    for flag in ('--margin=0.1', '--vary=model.depth=1,2'):
        code, lines = run('study', *given, f'--workdir={tmp_path / "b"}', flag)
        assert code == 2
        assert lines[0].startswith(f'error: {flag.split("=")[0]}: the file is a study')


def test_what_is_refused_is_refused_in_a_line(text, tmp_path):
    plain = ['--config=configs/gpt_char.py', f'--config.data.source=text:{text}', *SMALL]
    folder = f'--workdir={tmp_path / "none"}'
    cases = {
        'holds no study': [folder],
        '--workdir: missing': [*plain, *VARIED],
        'are fewer than two': [*plain, folder, '--engine=here'],
        "did you mean 'model.norm'": [*plain, folder, '--vary=model.nrom=layer,rms', '--engine=here'],
        'write it as path=value': [*plain, folder, '--vary=model.norm', '--engine=here'],
        'use 6 seeds': [*plain, folder, *VARIED[:1], '--seeds=5', '--test=permutation', '--engine=here'],
    }
    for message, given in cases.items():
        code, lines = run('study', *given)
        assert code == 2
        assert message in lines[0], (message, lines)
        assert lines[0].startswith('error: ')
