"""Ranks by hand."""

import numpy as np
import pytest

from lmjax.ops.ranking import RANK_SCORES, ranks


def test_the_best_right_candidate_is_ranked_among_the_wrong_ones():
    scores = np.array([[0.9, 0.5, 0.1, 0.7], [0.2, 0.2, 0.2, 0.1], [0.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(ranks(scores, [[1], [0], [2, 3]]), [3, 2, 1])  # two above; two ties; another right one above


def test_figures_of_ranks():
    found = {name: score(np.array([1.0, 1.5, 10.0, 11.0])).tolist() for name, score in RANK_SCORES.items()}
    assert found['recall@1'] == [1, 0, 0, 0]
    assert found['recall@10'] == [1, 1, 1, 0]
    np.testing.assert_allclose(found['mrr'], [1, 2 / 3, 0.1, 1 / 11])


def test_a_query_without_an_answer_is_refused():
    with pytest.raises(ValueError, match='right: a query has no right candidate'):
        ranks(np.zeros((1, 2)), [[]])
