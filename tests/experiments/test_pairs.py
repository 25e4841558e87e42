"""The entry points of pairs: what is copied, what is made from docstrings, and what is refused."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import copy_baseline, definitions, make_summaries
from lmjax.config import UsageError


def run(module, **given):
    """Flags of two entry points have the same names, so each is set through its own module."""
    flags.FLAGS.mark_as_parsed()
    own = {name: getattr(module, f'_{name.upper()}', definitions.OUTPUT) for name in given}
    with flagsaver.flagsaver(*((own[name], value) for name, value in given.items())):
        return module.main([])


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def pairs(tmp_path):
    rows = [{'a': 'One. Two!\nThree', 'b': 'x'}, {'a': 'No end\nhere\n\nmore.', 'b': 'y'}, {'a': 'Left out.', 'b': 'z'}]
    (tmp_path / 'p.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    return f'jsonl:{tmp_path}/p.jsonl#a,b@0-1/3'


@pytest.mark.parametrize(
    ('sentences', 'told'),
    [(0, ['One. Two!\nThree', 'No end\nhere\n\nmore.']), (1, ['One.', 'No end here']), (2, ['One. Two!', 'No end here more.'])],
)
def test_the_source_or_its_first_sentences_are_copied(tmp_path, capsys, pairs, sentences, told):
    assert run(copy_baseline, data=pairs, predictions=str(tmp_path / 'out.jsonl'), sentences=sentences) == 0
    found = rows_of(tmp_path / 'out.jsonl')
    assert [row['told'] for row in found] == told
    assert [row['label'] for row in found] == ['x', 'y']
    assert json.loads(capsys.readouterr().out) == {'texts': 2, 'sentences': sentences}


def test_what_cannot_be_copied_is_refused(tmp_path, pairs):
    out = str(tmp_path / 'out.jsonl')
    for given, message in (
        ({'data': 'text:a.txt', 'predictions': out}, '--data=.*this baseline reads pairs'),
        ({'data': pairs}, '--predictions: missing'),
        ({'data': pairs, 'predictions': out, 'sentences': -1}, '--sentences=-1: must not be negative'),
    ):
        with pytest.raises(UsageError, match=message):
            run(copy_baseline, **given)
    with pytest.raises(UsageError, match='--output: missing'):
        run(make_summaries)


LIBRARY = '''
def told(a, *, b=1):
    """Say what is told of a.

    It is said in some more words.
        Indented.
    """

class Told:
    """Say what is told of a.

    The same summary, and another document here."""

    async def other(self):
        """Another summary of three.

        It is said in some more words.
            Indented.
        """

    def long(self):
        """A first paragraph that goes on
        on a second line is no summary at all.

        And more words than five follow it."""

    def short(self): "Only one line of words."
'''


def test_summaries_are_first_lines_and_come_once(tmp_path, monkeypatch, capsys):
    (tmp_path / 'test').mkdir()
    (tmp_path / 'lib.py').write_text(LIBRARY)
    (tmp_path / 'lib2.py').write_text(LIBRARY.replace('Say', 'Tell').replace('It is', 'All is').replace('The same', 'An own'))
    (tmp_path / 'bad.py').write_text('def (:')
    (tmp_path / 'test' / 'lib3.py').write_text(LIBRARY.replace('Say', 'Test').replace('It is', 'Test is'))
    monkeypatch.setattr(definitions.sysconfig, 'get_path', lambda name: str(tmp_path))
    assert run(make_summaries, output=str(tmp_path / 'out.jsonl')) == 0
    found = {row['summary']: row['document'] for row in rows_of(tmp_path / 'out.jsonl')}
    assert found == {
        'Say what is told of a.': 'It is said in some more words.\n    Indented.\n\ndef told(a, *, b=1)',
        'Tell what is told of a.': 'All is said in some more words.\n    Indented.\n\ndef told(a, *, b=1)',
    }
    assert json.loads(capsys.readouterr().out) == {'pairs': 2, 'repeated': 4}


@pytest.mark.slow
def test_the_order_is_always_the_same(tmp_path):
    for name in ('one', 'two'):
        run(make_summaries, output=str(tmp_path / name))
    assert (tmp_path / 'one').read_text() == (tmp_path / 'two').read_text()
