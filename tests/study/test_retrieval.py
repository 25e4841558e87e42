"""Queries with the texts that belong to them: what is read of a file, how words overlap, and what is refused."""

import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.ops.ranking import ranks
from lmjax.study.retrieval import overlap, read_queries

ROWS = [
    {'ask': 'the red one', 'say': ['a red thing', 'crimson']},
    {'ask': 'the blue one', 'say': 'a blue thing'},
    {'ask': 'no word of it', 'say': ['a red thing ']},
]


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))
    return f'{tmp_path}/a.jsonl'


def test_queries_share_the_texts_of_all(path):
    queries, texts, right = read_queries(f'{path}#ask,say')
    assert (queries, texts) == ([row['ask'] for row in ROWS], ['a red thing', 'crimson', 'a blue thing'])
    assert right == [[0, 1], [2], [0]]
    assert read_queries(f'{path}#ask,say@1/3')[0] == ['the blue one']


def test_words_in_common_find_a_text(path):
    queries, texts, right = read_queries(f'{path}#ask,say')
    scores = overlap(queries, texts)
    assert scores[0, 0] > 0 == scores[2].max()
    np.testing.assert_array_equal(ranks(scores, right), [1, 1, 2])  # of the third no text has a word: all tie


def test_what_is_refused(path, tmp_path):
    (tmp_path / 'b.jsonl').write_text('{"ask": "x", "say": []}')
    for data, message in (
        (path, 'name two columns, as FILE#question,answers'),
        (f'{path}#ask,told', "has no column 'told'; it has ask, say"),
        (f'{tmp_path}/b.jsonl#ask,say', r'b\.jsonl:1 lacks a query or a text'),
        (f'{path}#ask,say@7/9', 'has no rows; name others'),
    ):
        with pytest.raises(UsageError, match=message):
            read_queries(data)
