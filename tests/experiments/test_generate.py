"""The entry point in one process of its own (flags are global): every case is a command line, its output and its exit code."""

import json
import os
import subprocess
import sys

import pytest

DRIVER = r"""
import contextlib, io, json, sys
import numpy as np
from absl import flags
import lmjax
from experiments import cli, generate
from lmjax.data.chat import Chat
from lmjax.data.tokenizers import CharTokenizer
from lmjax.generate.config import SamplingConfig
from lmjax.models.config import NgramConfig
from lmjax.models.ngram import build

text = 'abcdefgh\n' * 20
tokenizer = CharTokenizer(''.join(sorted(set(text))))
template = "{% for m in messages %}{{ 'a' if m.role == 'system' else 'b' }}{{ m.content }}{% endfor %}"
tokenizer.chat = Chat({'default': template}, {})
model = build(NgramConfig(order=3), vocab_size=tokenizer.vocab_size, seq_len=8)
config = lmjax.Config(model=NgramConfig(order=3), sample=SamplingConfig(max_new_tokens=12, greedy=True, top_p=0.99))
run = lmjax.Run('w', config, model, model.fit(tokenizer.encode(text)), tokenizer)
lmjax.load = lambda workdir, step=None: run
answers = []
for case in json.load(sys.stdin):
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS.flags_by_module_dict()['experiments.generate']:
        flag.unparse()
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ['generate', *case['arguments']]
    stdin = io.TextIOWrapper(io.BytesIO(bytes(case.get('stdin', '').encode('latin-1'))))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.stdin, kept = stdin, sys.stdin
        try:
            cli.run(generate.main)
        except SystemExit as stop:
            code = stop.code or 0
        sys.stdin = kept
    answers.append({'out': out.getvalue(), 'err': err.getvalue(), 'code': code})
json.dump(answers, sys.__stdout__)
"""

CASES = {
    'plain': {'arguments': ['--workdir=w', '--prompt=ab', '--num_samples=2', '--top_k=1']},
    'one by default': {'arguments': ['--workdir=w', '--prompt=ab']},
    'max_length': {'arguments': ['--workdir=w', '--prompt=ab', '--max_length=9', '--num_return_sequences=2', '--top_k=1']},
    'stop': {'arguments': ['--workdir=w', '--prompt=ab', '--stop=zz', '--stop=fg']},
    'no prompt': {'arguments': ['--workdir=w', '--max_new_tokens=4']},
    'standard input': {'arguments': ['--workdir=w', '--prompt_file=-'], 'stdin': 'cd'},
    'drawn': {'arguments': ['--workdir=w', '--temperature=3', '--seed=1', '--top_k=4']},
    'drawn again': {'arguments': ['--workdir=w', '--nogreedy', '--temperature=3', '--seed=1', '--top_k=4']},
    'other seed': {'arguments': ['--workdir=w', '--nogreedy', '--temperature=3', '--seed=2', '--top_k=4']},
    'beams': {'arguments': ['--workdir=w', '--prompt=ab', '--num_beams=3', '--num_samples=2']},
    'chat': {
        'arguments': ['--workdir=w', '--chat', '--system=b', '--prompt=c', '--max_length=7', '--num_samples=2', '--top_k=1']
    },
    'short beams': {
        'arguments': ['--workdir=w', '--prompt=ab', '--num_beams=3', '--stop=d', '--length_penalty=-1', '--early_stopping']
    },
}
REFUSED = {
    'workdir': ([], '--workdir: missing; '),
    'both lengths': (
        ['--workdir=w', '--max_length=9', '--max_new_tokens=3'],
        '--max_length=9: stands beside --max_new_tokens=3; ',
    ),
    'both numbers': (['--workdir=w', '--num_samples=9', '--num_return_sequences=3'], '--num_return_sequences=3: stands beside'),
    'both prompts': (['--workdir=w', '--prompt=a', '--prompt_file=-'], '--prompt_file=-: stands beside --prompt=a; '),
    'both models': (['--workdir=w', '--model=hf:x'], '--model=hf:x: stands beside --workdir=w; '),
    'one choice': (['--workdir=w', '--num_samples=3'], '--num_samples=3: there is one most likely continuation; ask'),
    'cold': (['--workdir=w', '--num_samples=2', '--temperature=0'], '--num_samples=2: there is one most likely'),
    'few beams': (['--workdir=w', '--num_beams=2', '--num_samples=3'], 'sample.num_samples=3: beam search has only'),
    'drawn beams': (['--workdir=w', '--num_beams=2', '--top_k=4'], 'sample.top_k=4: only sampling heeds it'),
    'no beams': (['--workdir=w', '--length_penalty=2'], 'sample.length_penalty=2.0: only beam search heeds it'),
    'short': (
        ['--workdir=w', '--prompt=abc', '--max_length=3'],
        '--max_length=3: the prompt alone has 3 tokens; use 4 or more',
    ),
    'long talk': (
        ['--workdir=w', '--chat', '--prompt=c', '--max_length=2'],
        '--max_length=2: the prompt alone has 2 tokens; use 3 or more',
    ),
    'no chat': (['--workdir=w', '--system=b', '--prompt=c'], "--system='b': is a message of a chat; add --chat"),
    'character': (['--workdir=w', '--prompt=xa'], "text='x': "),
    'top_p': (['--workdir=w', '--top_p=0'], 'sample.top_p=0.0: must be above 0 and at most 1; 1 turns it off'),
    'temperature': (['--workdir=w', '--temperature=-1'], 'sample.temperature=-1.0: must not be negative; 0 means greedy'),
    'not a number': (['--workdir=w', '--top_k=many'], 'flag --top_k=many: '),
    'no such flag': (['--workdir=w', '--tempature=1'], "Unknown command line flag 'tempature'. Did you mean: temperature"),
    'no such file': (['--workdir=w', '--prompt_file=/no/such/file'], "--prompt_file='/no/such/file': cannot be read ("),
}


@pytest.fixture(scope='module')
def answers():
    """name -> what the command printed and its exit code, all cases in one process."""
    cases = CASES | {name: {'arguments': arguments} for name, (arguments, _) in REFUSED.items()}
    cases['not text'] = {'arguments': ['--workdir=w', '--prompt_file=-'], 'stdin': 'ab\xff'}
    environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
    command = [sys.executable, '-c', DRIVER]
    done = subprocess.run(command, input=json.dumps(list(cases.values())), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, json.loads(done.stdout), strict=True))


def record(answer):
    return json.loads(answer['out'].splitlines()[-1])


def test_it_prints_samples_the_rate_and_one_json_line(answers):
    answer = answers['plain']
    assert answer['code'] == 0
    text = 'abcdefgh\nabcde'
    assert answer['out'].startswith(f'--- sample 1 of 2\n{text}\n--- sample 2 of 2\n{text}\n--- ')
    found = record(answer)
    assert found['samples'] == [{'text': text[2:], 'tokens': 12, 'finish': 'length'}] * 2
    assert (found['prompt'], found['tokens']) == ('ab', 24)
    rate = f'{found["tokens_per_second"]:,.1f} tokens/s (24 tokens; the first after {found["first_seconds"]:.2f} s)'
    assert answer['out'].splitlines()[-2] == f'--- {rate}'


def test_settings_come_from_the_run_and_then_from_the_flags(answers):
    assert len(record(answers['one by default'])['samples']) == 1
    aliases = record(answers['max_length'])['samples']
    assert [sample['text'] for sample in aliases] == ['cdefgh\n'] * 2
    assert record(answers['stop'])['samples'] == [{'text': 'cde', 'tokens': 5, 'finish': 'stop'}]
    assert record(answers['drawn'])['samples'] == record(answers['drawn again'])['samples']
    assert record(answers['drawn'])['samples'] != record(answers['other seed'])['samples']


def test_beams_print_the_best_first_without_the_settings_of_sampling(answers):
    found = record(answers['beams'])
    texts = [sample['text'] for sample in found['samples']]
    assert texts[0] == 'cdefgh\nabcde'
    assert len(set(texts)) == 2
    assert answers['beams']['out'].startswith(f'--- sample 1 of 2\nab{texts[0]}\n--- sample 2 of 2\nab{texts[1]}\n--- ')
    assert found['tokens'] == 24
    assert record(answers['short beams'])['samples'] == [{'text': 'c', 'tokens': 2, 'finish': 'stop'}]


def test_a_chat_prints_answers_alone(answers):
    answer = answers['chat']
    assert answer['out'].startswith('--- sample 1 of 2\ndef\n--- sample 2 of 2\ndef\n--- ')  # after abbc: four tokens of seven
    assert record(answer)['prompt'] == 'c'
    assert [sample['text'] for sample in record(answer)['samples']] == ['def'] * 2


def test_the_prompt_may_be_missing_or_come_from_standard_input(answers):
    assert record(answers['no prompt'])['samples'][0]['text'] == 'abcd'  # after the newline that stands for the beginning
    assert record(answers['standard input'])['prompt'] == 'cd'
    assert record(answers['standard input'])['samples'][0]['text'] == 'efgh\nabcdefg'


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(answers, name):
    answer, message = answers[name], REFUSED[name][1]
    assert answer['code'] == 2
    assert answer['err'].startswith(f'error: {message}')
    assert answer['err'].count('\n') == 1
    assert answer['out'] == ''


def test_a_prompt_that_is_no_text_is_refused(answers):
    assert answers['not text']['err'] == "error: --prompt_file='-': not UTF-8 text at byte 2; convert it\n"
    assert answers['not text']['code'] == 2
