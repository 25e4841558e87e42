"""The tests of a study against scipy and by hand, and what they promise over many simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from lmjax.study.paired import (
    BOOTSTRAP_FROM,
    bca_interval,
    difference_interval,
    effect_size,
    equivalence_test,
    holm,
    permutation_test,
    power,
    seeds_for,
    seeds_needed,
    smallest_p,
    smallest_shown,
    student_test,
    wilcoxon_test,
)

VALUES = np.array([0.31, -0.12, 0.45, 0.27, 0.06, 0.38])


def within(hits, of, share):
    """Whether a count lies in the 99.9% band of a binomial."""
    low, high = stats.binom.interval(0.999, of, share)
    return low <= hits <= high


def test_students_test_and_interval_are_scipys():
    found = stats.ttest_1samp(VALUES, 0)
    assert student_test(VALUES) == pytest.approx(found.pvalue)
    low, high = found.confidence_interval(0.95)
    np.testing.assert_allclose(difference_interval(VALUES), (VALUES.mean(), low, high))
    assert student_test([0.0, 0.0, 0.0]) == 1.0
    assert student_test([0.2, 0.2, 0.2]) == 0.0


def test_the_permutation_test_is_scipys_exact_one():
    found = stats.permutation_test((VALUES,), np.sum, permutation_type='samples', n_resamples=np.inf)
    assert permutation_test(VALUES) == pytest.approx(found.pvalue)
    assert permutation_test([1.0, 2.0, 3.0, 4.0, 5.0]) == 2 / 32
    whole = permutation_test([3, -1, -2, 5, 4, -7])
    assert permutation_test([0.3, -0.1, -0.2, 0.5, 0.4, -0.7]) == whole  # equal sums that rounding sets apart


def test_of_many_differences_signs_are_drawn():
    many = np.random.default_rng(0).normal(0.4, 1.0, 24)
    assert permutation_test(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)
    assert permutation_test(np.ones(30)) == pytest.approx(1 / 100_001)  # never 0


def test_wilcoxons_test_is_scipys_and_exact_with_ties():
    assert wilcoxon_test(VALUES) == pytest.approx(stats.wilcoxon(VALUES, method='exact').pvalue)
    assert wilcoxon_test([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == 2 / 64
    assert wilcoxon_test([-1.0, -2.0, 3.0, 4.0, 0.0]) == 10 / 16  # ranks 1 to 4: the zero is left out
    assert wilcoxon_test([0.0, 0.0]) == 1.0


@pytest.mark.parametrize('count', [2, 5, 6, 9])
def test_the_smallest_p_is_that_of_one_sign(count):
    values = np.arange(1.0, count + 1)
    assert permutation_test(values) == smallest_p('permutation', count) == 2.0 ** (1 - count)
    assert wilcoxon_test(values) == smallest_p('wilcoxon', count)
    assert seeds_for('wilcoxon', smallest_p('wilcoxon', count)) == count


def test_holm_by_hand():
    """0.01 x 4; then 0.02 x 3; 0.03 x 2 is the same; 0.04 x 1 may not be smaller than what came before."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    """By hand: t = (mean -+ margin) / (sd / sqrt n) on n - 1 degrees of freedom."""
    mean, error = VALUES.mean(), VALUES.std(ddof=1) / 6**0.5
    for margin in (0.3, 0.6):
        sides = stats.t.sf((mean + margin) / error, 5), stats.t.cdf((mean - margin) / error, 5)
        assert equivalence_test(VALUES, margin) == pytest.approx(max(sides))
        assert equivalence_test(-VALUES, margin) == equivalence_test(VALUES, margin)
    assert equivalence_test([0.1, 0.1], 0.2) == 0.0
    assert equivalence_test([0.3, 0.3], 0.2) == 1.0


def test_bca_is_scipys():
    values = np.random.default_rng(5).lognormal(0.0, 1.5, 12)
    ours = bca_interval(values, resamples=100_000)
    theirs = stats.bootstrap((values,), np.mean, method='BCa', n_resamples=100_000, rng=1).confidence_interval
    np.testing.assert_allclose((ours.low, ours.high), theirs, rtol=0.01)
    assert bca_interval([2.0] * 25) == (2.0, 2.0, 2.0)
    many = np.random.default_rng(0).exponential(1.0, BOOTSTRAP_FROM)
    assert difference_interval(many) == bca_interval(many)
    assert difference_interval(many[1:]) != bca_interval(many[1:])


def test_planted_effects_are_found_as_often_as_power_says():
    rng = np.random.default_rng(1)
    for count, effect in ((5, 1.5), (8, 0.8)):
        found = sum(student_test(rng.normal(effect, 1.0, count)) <= 0.05 for _ in range(1000))
        assert within(found, 1000, power(effect, 1.0, count))


@pytest.mark.parametrize(('count', 'shift'), [(2, 0.5), (5, 1.3), (12, 0.7)])
def test_power_is_that_of_the_noncentral_t(count, shift):
    edge = stats.t.ppf(0.975, count - 1)
    nct = stats.nct(count - 1, shift * count**0.5)
    assert power(shift, 1.0, count) == pytest.approx(nct.sf(edge) + nct.cdf(-edge), rel=1e-6)
    assert power(50.0, 1.0, count) > 0.99
    assert power(0.0, 1.0, count, level=0.1) == pytest.approx(0.1)


def test_what_is_shown_and_what_is_needed_undo_power():
    shown = smallest_shown(0.3, 6)
    assert power(shown, 0.3, 6) == pytest.approx(0.8)
    assert seeds_needed(shown * 0.999, 0.3) == 7  # a little less takes one more
    assert seeds_needed(shown * 1.001, 0.3) == 6
    assert seeds_needed(1.0, 1.0) == 10  # Cohen 1988: d_z = 1 at 80% and 5%
    assert seeds_needed(1e-6, 1.0, most=500) == 500


def test_students_promises_over_studies_of_nothing():
    """1,000 studies of two alike arms: 5% are called different, and 95% of the intervals hold 0."""
    rng = np.random.default_rng(0)
    studies = rng.normal(0.0, 1.0, (1000, 5))
    assert within(sum(student_test(values) <= 0.05 for values in studies), 1000, 0.05)
    held = [difference_interval(values) for values in studies]
    assert within(sum(found.low <= 0 <= found.high for found in held), 1000, 0.95)


@pytest.mark.parametrize('test', [permutation_test, wilcoxon_test])
def test_exact_tests_never_exceed_their_level(test):
    rng = np.random.default_rng(2)
    found = np.array([test(values) for values in rng.standard_t(2, (1000, 7))])
    for level in (1 / 64, 0.05, 0.25):
        assert (found <= level).sum() <= stats.binom.ppf(0.999, 1000, level)


def test_the_size_of_an_effect():
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert effect_size([-1.0, -2.0, -3.0]) == pytest.approx(-2.0)
    assert effect_size([0.5, 0.5]) == math.inf
    assert effect_size([0.0, 0.0]) == 0.0
