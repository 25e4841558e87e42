"""Queries with the texts that belong to them: what is read of a file, how words overlap, and what is refused."""

import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.ops.ranking import RANK_SCORES, ranks
from lmjax.study.retrieval import chance, less_prior, narrowed, overlap, read_queries

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


def test_a_query_is_given_its_own_texts_and_others_drawn_by_a_seed():
    scores, right = np.random.default_rng(0).normal(size=(3, 50)), [[4], [7, 9], [0]]
    found = narrowed(scores, right, 10)
    kept = np.isfinite(found)
    assert (kept.sum(axis=1) == 10).all()
    assert all(kept[query, places].all() for query, places in enumerate(right))
    np.testing.assert_array_equal(found[kept], scores[kept])
    np.testing.assert_array_equal(found, narrowed(scores, right, 10))
    assert (kept != np.isfinite(narrowed(scores, right, 10, seed=1))).any()
    assert (kept[0] != kept[2]).any()
    assert ranks(found, right).max() <= 10
    np.testing.assert_array_equal(narrowed(scores, right, 50), scores)
    with pytest.raises(UsageError, match='--among=51: there are 50 texts'):
        narrowed(scores, right, 51)


def test_ranks_of_noise_are_those_of_chance():
    scores, right = np.random.default_rng(0).normal(size=(4000, 30)), [[0]] * 4000
    found = ranks(narrowed(scores, right, 20), right)
    for score in RANK_SCORES.values():
        assert score(found).mean() == pytest.approx(chance(score, 20), abs=0.02)
    assert chance(RANK_SCORES['recall@10'], 100) == pytest.approx(0.1)


def test_less_the_prior_no_text_is_likely_in_itself():
    """log p(text | file) less log of the mean of p(text | file) over files."""
    p_QxC = np.array([[0.5, 0.01, 0.3], [0.4, 0.001, 0.2], [0.3, 0.001, 0.4]])
    found = less_prior(np.log(p_QxC))
    np.testing.assert_allclose(found, np.log(p_QxC / p_QxC.mean(axis=0)), atol=1e-12)
    assert found.argmax(axis=1).tolist() == [1, 0, 2]
    assert np.isfinite(less_prior(np.log(p_QxC) - 2000)).all()
