"""Predictions of two sides compared: the figures, and files that cannot be."""

import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import compare
from lmjax.config import UsageError
from lmjax.study.text_scores import corpus_score


def write(path, told, labels='aabb', loss=0.5):
    rows = ({'text': 't', 'label': label, 'told': one, 'loss_nats': loss} for label, one in zip(labels, told, strict=True))
    path.write_text('\n'.join(map(json.dumps, rows)))


def run(capsys, **given):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**given):
        assert compare.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


def test_two_sides(tmp_path, capsys):
    write(tmp_path / 'a0.jsonl', 'aabb')
    write(tmp_path / 'a1.jsonl', 'aaba')
    write(tmp_path / 'b.jsonl', 'abab', loss=0.75)
    sides = {'first': f'{tmp_path}/a*.jsonl', 'second': f'{tmp_path}/b.jsonl'}
    lines, record = run(capsys, **sides)
    assert record['first']['runs'] == [1.0, 0.75]
    assert record['second']['mean'] == 0.5
    assert record['difference']['mean'] == 0.375
    assert record['second']['over_runs'] is None
    assert lines[2].startswith('difference +0.3750')
    _, record = run(capsys, **sides, score='loss_nats')
    np.testing.assert_allclose([record['difference'][name] for name in ('mean', 'low', 'high')], -0.25)
    _, record = run(capsys, first=sides['first'])
    assert 'difference' not in record


def test_what_cannot_be_compared(tmp_path, capsys):
    write(tmp_path / 'a.jsonl', 'aabb')
    write(tmp_path / 'b.jsonl', 'abb', labels='abb')
    (tmp_path / 'c.jsonl').write_text('{"text": "t"}')
    for given, message in (
        ({'first': f'{tmp_path}/none'}, 'no file matches'),
        ({'first': f'{tmp_path}/c.jsonl'}, 'no such score'),
        ({'first': f'{tmp_path}/a.jsonl', 'second': f'{tmp_path}/b.jsonl'}, 'has 3 texts, others 4'),
        ({'first': f'{tmp_path}/a.jsonl', 'score': 'f2'}, 'no such choice'),
        ({}, '--first: missing'),
    ):
        with pytest.raises(UsageError, match=message):
            run(capsys, **given)


def test_tags_are_compared_by_their_share(tmp_path, capsys):
    rows = [{'label': ['A', 'B'], 'told': ['A', 'C']}, {'label': ['A'], 'told': ['A']}]
    (tmp_path / 'tags.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    _, record = run(capsys, first=str(tmp_path / 'tags.jsonl'), score='words')
    assert record['first']['mean'] == 0.75
    _, record = run(capsys, first=str(tmp_path / 'tags.jsonl'), score='accuracy')
    assert record['first']['mean'] == 0.5
    write(tmp_path / 'classes.jsonl', 'aabb')
    with pytest.raises(UsageError, match='no such score'):
        run(capsys, first=str(tmp_path / 'classes.jsonl'), score='words')


def test_texts_are_scored_as_a_corpus(tmp_path, capsys):
    """BLEU, chrF and ROUGE of files: the corpus score of each run, an interval that holds it, and how to compute it again."""
    references = [f'the number {i} is told and nothing else of it' for i in range(30)]
    told = [one if i % 3 else one.replace('nothing else', 'more') for i, one in enumerate(references)]
    for name, texts in (('a0', references), ('a1', told), ('b', ['it is told'] * 30)):
        write(tmp_path / f'{name}.jsonl', texts, labels=references)
    sides = {'first': f'{tmp_path}/a*.jsonl', 'second': f'{tmp_path}/b.jsonl'}
    for score in ('bleu', 'chrf', 'rougeL'):
        lines, record = run(capsys, **sides, score=score)
        assert lines[0] == f'signature: {record["signature"]}'
        expected = [corpus_score(score, texts, references) for texts in (references, told)]
        np.testing.assert_allclose(record['first']['runs'], expected)
        assert record['first']['low'] < record['first']['mean'] < record['first']['high'] <= expected[0] + 1e-9
        floor = corpus_score(score, ['it is told'] * 30, references)
        assert record['difference']['mean'] == pytest.approx(np.mean(expected) - floor)
        assert record['difference']['low'] > 0
    (tmp_path / 'tags.jsonl').write_text(json.dumps({'label': ['A'], 'told': ['A']}))
    with pytest.raises(UsageError, match='no text is told'):
        run(capsys, first=str(tmp_path / 'tags.jsonl'), score='bleu')
