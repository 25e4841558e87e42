"""Questions about defaults: where their answers begin, which have none, and which are left out."""

import json
import random
import re

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import definitions, make_answers

LIBRARY = '''
def first(a, b=3, *, c=None):
    """Say one thing.

    And more."""

def second(self, b=(1, 2), typed: int = 4): pass

def third(cls, long='012345678901234567890123456789012345678901234567890'): pass
'''


def test_an_answer_stands_where_it_says(tmp_path, monkeypatch, capsys):
    for number in range(30):
        (tmp_path / f'lib{number}.py').write_text(LIBRARY.replace('one thing', f'{number} things'))
        (tmp_path / f'again{number}.py').write_text(LIBRARY.replace('one thing', f'{number} things'))
    (tmp_path / 'bad.py').write_text('def (:')
    monkeypatch.setattr(definitions.sysconfig, 'get_path', lambda name: str(tmp_path))
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver((definitions.OUTPUT, str(tmp_path / 'out.jsonl')), (make_answers._ROWS, 25)):
        assert make_answers.main([]) == 0
    rows = [json.loads(line) for line in (tmp_path / 'out.jsonl').read_text().splitlines()]
    found = {row['question']: row['answer']['text'] for row in rows}
    assert found == {
        'What is the default of a in first?': [],
        'What is the default of b in first?': ['3'],
        'What is the default of c in first?': ['None'],
        'What is the default of b in second?': ['(1, 2)'],
    }
    assert len({row['context'] for row in rows}) == 25
    for row in rows:
        assert re.match(r'def first\(a, b=3, \*, c=None\): Say \d+ things\.\ndef second\(self, b=\(1, 2\), ', row['context'])
        for text, start in zip(row['answer']['text'], row['answer']['answer_start'], strict=True):
            assert row['context'][start:].startswith(text)
            assert row['context'][:start].endswith(row['question'].split()[5] + '=')
    empty = sum(not row['answer']['text'] for row in rows)
    assert json.loads(capsys.readouterr().out) == {'questions': 25, 'without_answer': empty}


@pytest.mark.parametrize('code', ['def f(x): 0', 'class A:\n    def f(self): 0\n    def f(self, a=1): 0'])
def test_questions_with_two_answers_are_not_asked(code, tmp_path):
    (tmp_path / 'a.py').write_text(code)
    asked = [row['question'] for seed in range(9) for row in make_answers.rows_of(str(tmp_path / 'a.py'), random.Random(seed))]
    assert set(asked) <= ({'What is the default of x in f?'} if 'x' in code else set())


def test_a_name_that_ends_another_is_told_apart(tmp_path):
    (tmp_path / 'a.py').write_text('def f(ab=1, *, b=1): 0')
    rows = [row for seed in range(20) for row in make_answers.rows_of(str(tmp_path / 'a.py'), random.Random(seed))]
    starts = {row['question'].split()[5]: row['answer']['answer_start'] for row in rows}
    assert starts == {'ab': [len('def f(ab=')], 'b': [len('def f(ab=1, *, b=')]}
