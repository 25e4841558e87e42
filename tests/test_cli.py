"""Entry points in processes of their own: bad input ends with one line and exit code 2, signals save."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(module, *arguments, timeout=120):
    command = [sys.executable, '-m', module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout)


@pytest.mark.parametrize(
    ('module', 'arguments', 'parts'),
    [
        ('train', ['--workdir=/tmp/x'], ['--config: missing']),
        ('train', ['--config=configs/gpt_chr.py', '--workdir=/tmp/x'], ['no such file', 'configs/gpt_char.py']),
        ('train', ['--config=configs/gpt_char.py'], ['--workdir: missing']),
        ('train', ['--config=configs/gpt_char.py', '--workdir=w', '--config.model.widht=3'], ['config.model.width']),
        ('train', ['--config=configs/gpt_char.py', '--workdir=w', '--config.train.steps=many'], ['whole number']),
        ('train', ['--config=configs/gpt_char.py', '--workdir=w', '--config.mesh.data=99'], ['mesh', 'needs 99 devices']),
        ('train', ['--config=configs/gpt_char.py', '--workdir=w', '--wrokdir=w'], ['wrokdir', 'workdir']),
        ('evaluate', ['--workdir=/nowhere'], ["--workdir='/nowhere'", 'holds no run']),
        ('finetune', ['--config=configs/tasks/sentiment.py', '--workdir=w'], ['--init: missing', '--init=none']),
        ('predict', ['--workdir=w'], ['--input: missing']),
        ('inspect', ['--config=configs/ngram.py'], ['as large as its text asks for']),
        ('inspect', ['--config=configs/family.py:gpt-2'], ["family='gpt-2'", 'gpt2-xl']),
        ('convert', ['--workdir=w'], ['either --from=hf:DIR or --to=hf:DIR']),
        ('convert', ['--workdir=w', '--from=x'], ["--from='x'", '--from=hf:x']),
        ('convert', ['--workdir=w', '--from=hf:/nowhere'], ['hf:/nowhere: no such folder']),
        ('generate', ['--model=hf:/nowhere'], ['hf:/nowhere: no such folder']),
        ('generate', ['--workdir=/nowhere', '--prompt=a'], ["'/nowhere'", 'holds no run']),
        ('generate', ['--workdir=w', '--max_length=5', '--max_new_tokens=3'], ['max_length', 'max_new_tokens']),
    ],
)  # fmt: skip
def test_bad_flags_end_with_one_line_and_exit_2(module, arguments, parts):
    done = run(f'experiments.{module}', *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_config_file_with_an_error_names_it(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('def get_config():\n    return undefined\n')
    done = run('experiments.train', f'--config={path}', '--workdir=w')
    assert done.returncode == 2
    assert 'NameError' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    text = tmp_path / 'text.txt'
    text.write_text('to be or not to be, that is the question.\n' * 400)
    command = [
        sys.executable, '-m', 'experiments.train', '--config=configs/gpt_char.py', f'--workdir={tmp_path / "w"}',
        f'--config.data.source=text:{text}', '--config.train.steps=1000000', '--config.train.eval_every=0',
    ]  # fmt: skip
    environment = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    metrics = tmp_path / 'w' / 'metrics.jsonl'
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count('\n') > 2):
        time.sleep(0.2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=150)
    assert process.returncode == 130, out
    assert f'{number.name}: saved step' in out
    assert 'run the same command again' in out
    assert list((tmp_path / 'w' / 'checkpoints').iterdir())


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    rows = ''.join('{"text": "x", "label": "a", "told": "a"}\n' for _ in range(3))
    (tmp_path / 'a.jsonl').write_text(rows)
    command = f'{sys.executable} -m experiments.compare --first={tmp_path}/a.jsonl | true'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    assert done.stderr == ''


def test_the_sentence_that_shares_most_words_is_told(tmp_path):
    rows = [
        ('Who is Bob?', 'Ann is here. Bob is the one who sings! He left.', 'Bob'),
        ('Why?', 'Nobody knows', ''),
    ]
    text = ''.join(f'"{question}","{context}","{answer}"\n' for question, context, answer in rows)
    (tmp_path / 'a.csv').write_text('question,context,answer\n' + text)
    told = tmp_path / 'told.jsonl'
    assert run('experiments.overlap_baseline', f'--data=answers:{tmp_path}/a.csv', f'--predictions={told}').returncode == 0
    found = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(row['label'], row['told']) for row in found] == [('Bob', 'Bob is the one who sings!'), ('', '')]
    refused = run('experiments.overlap_baseline', f'--data=labelled:{tmp_path}/a.csv', f'--predictions={told}')
    assert refused.returncode == 2
    assert 'has no answers; use answers:GLOB' in refused.stderr
