"""Intervals hold what they promise, and pairing takes away what both sides share."""

import numpy as np
import pytest

from lmjax.study.statistics import bootstrap_mean, mean_interval, paired_difference


def test_the_mean_interval_is_students():
    """By hand: mean 2, standard deviation 1, and 4.302653 is Student's 97.5% point at 2 degrees of freedom."""
    found = mean_interval(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found, (2.0, 2.0 - 4.302653 / 3**0.5, 2.0 + 4.302653 / 3**0.5), rtol=1e-6)
    assert found.mean == 2.0
    assert np.isnan(mean_interval(np.array([1.0])).low)


def test_the_bootstrap_of_one_run_is_that_of_a_share():
    """1000 coins at 0.3: the interval is about 1.96 standard errors to each side."""
    scores = (np.arange(1000) < 300).astype(float)[None]
    found = bootstrap_mean(scores)
    error = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert found.mean == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - error, abs=0.004)
    assert found.high == pytest.approx(0.3 + error, abs=0.004)


def test_runs_widen_the_interval():
    even = np.repeat((np.arange(100) < 50).astype(float)[None], 4, axis=0)
    apart = np.stack([np.full(100, share) for share in (0.2, 0.4, 0.6, 0.8)])
    assert bootstrap_mean(apart).high - bootstrap_mean(apart).low > bootstrap_mean(even).high - bootstrap_mean(even).low > 0


def test_pairs_share_their_examples():
    """One side is right wherever the other is, and on five more of 100: paired, that is no accident."""
    first, second = ((np.arange(100) < share).astype(float)[None] for share in (60, 55))
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(0.05)
    assert found.low > 0
    turned = paired_difference(second, first)
    np.testing.assert_allclose((turned.mean, turned.low, turned.high), (-found.mean, -found.high, -found.low), atol=0.011)
    unpaired = paired_difference(first, second[:, ::-1])
    assert unpaired.low < 0 < unpaired.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Runs of 0.7 and 0.6 on examples of their own: 95% intervals of 100 studies hold 0.1 in 88 to 100 of them."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        first, second = (rng.random((3, 80)) < share for share in (0.7, 0.6))
        found = paired_difference(first, second)
        held += found.low <= 0.1 <= found.high
    assert 88 <= held <= 100


def test_other_examples_cannot_be_paired():
    with pytest.raises(ValueError, match='same examples'):
        paired_difference(np.ones((2, 3)), np.ones((2, 4)))
