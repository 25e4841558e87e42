"""Lists of hypotheses: what is read, chosen, tuned and counted, by hand."""

import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.study.nbest import Weights, choose, read_lists, taken, tune, word_errors

ROWS = [
    {'hypotheses': [{'text': 'a b', 'score': -1.0}, {'text': 'a c', 'score': -2.0}], 'reference': 'a c'},
    {'hypotheses': [{'text': 'd', 'score': -5}, {'text': 'd e f', 'score': -4}, {'text': '', 'score': -9}], 'reference': 'd'},
]
NATS = np.array([[-8.0, -4.0, 0.0], [-3.0, -9.0, -1.0]])


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))
    return f'{tmp_path}/a.jsonl'


def test_what_is_counted_and_chosen(path):
    lists = read_lists('nbest', path)
    errors = word_errors(lists)
    np.testing.assert_array_equal(errors[0], [[1, 2], [0, 2], [np.inf, np.inf]])
    np.testing.assert_array_equal(errors[1], [[0, 1], [2, 1], [1, 1]])
    np.testing.assert_array_equal(lists.words, [[2, 2, 0], [1, 3, 0]])
    assert lists.all_texts == ['a b', 'a c', 'd', 'd e f', '']
    for weights, chosen, wrong in (((0, 0), [0, 1], 3), ((0.5, 0), [1, 0], 0), ((0, 9), [0, 1], 3), ((0, -9), [0, 2], 2)):
        found = choose(lists, NATS, Weights(*weights))
        np.testing.assert_array_equal(found, chosen)
        np.testing.assert_array_equal(taken(errors, found).sum(axis=0), [wrong, 3])


def test_tuning_finds_the_fewest_errors_at_any_scale(path):
    lists = read_lists('tune', path)
    for scale in (1.0, 1e6):
        scaled = lists._replace(scores=lists.scores * scale)
        weights = tune(scaled, NATS)
        assert weights.weight > 0 == weights.word_bonus
        assert taken(word_errors(lists), choose(scaled, NATS, weights))[:, 0].sum() == 0
    assert tune(lists, np.zeros((2, 3))).weight == 0  # a network that says nothing has no say


def test_rows_are_taken_by_number(path):
    assert read_lists('nbest', f'{path}@1/2').references == ['d']


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ({'hypotheses': [], 'reference': 'a'}, r'a\.jsonl:1.*has no list of hypotheses'),
        ({'hypotheses': [{'text': 'a'}], 'reference': 'a'}, 'each with a text and a score'),
        ({'hypotheses': [{'text': 'a', 'score': float('nan')}], 'reference': 'a'}, 'each with a text and a score'),
        ({'hypotheses': 'a', 'reference': 'a'}, 'has no list'),
        ({'hypotheses': [{'text': 'a', 'score': 1}]}, "no column 'reference'"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, row, message):
    (tmp_path / 'a.jsonl').write_text(json.dumps(row))
    with pytest.raises(UsageError, match=message):
        read_lists('nbest', f'{tmp_path}/a.jsonl')
