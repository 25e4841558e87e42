"""Whether paired differences (one a seed) are more than chance, as large as matters, or as small as not to matter.

Everything takes differences in the unit of the score, at least two of them, and is two-sided unless it says otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from lmjax.study.statistics import Interval, mean_interval

EXACT = 16  # differences up to which all signs are tried; beyond, so many are drawn:
DRAWN = 100_000
BOOTSTRAP_FROM = 20  # differences from which the bootstrap holds what it promises


def difference_interval(differences: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The mean difference with Student's interval, and from BOOTSTRAP_FROM differences on with the bootstrap's (BCa)."""
    if len(differences) < BOOTSTRAP_FROM:
        return mean_interval(np.asarray(differences), confidence=confidence)
    return bca_interval(differences, confidence=confidence)


def bca_interval(values: Sequence[float], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean with its bias-corrected and accelerated bootstrap interval (Efron 1987, equations 2.3, 3.9 and 6.6)."""
    from scipy.stats import norm

    sample = np.asarray(values, np.float64)
    count, mean = len(sample), sample.mean()
    if alike(sample):
        return Interval(float(mean), float(mean), float(mean))
    drawn = np.random.default_rng(seed).choice(sample, (resamples, count)).mean(axis=1)
    bias = norm.ppf(((drawn < mean).sum() + 0.5 * (drawn == mean).sum()) / resamples)
    left_out = (sample.sum() - sample) / (count - 1)
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    tails = norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    shares = norm.cdf(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
    low, high = np.quantile(drawn, shares)
    return Interval(float(mean), float(low), float(high))


def student_test(differences: Sequence[float]) -> float:
    """The p-value of Student's paired test that the mean difference is 0 (Student 1908); 1 where all are 0."""
    values = np.asarray(differences, np.float64)
    if alike(values):
        return 0.0 if values.any() else 1.0
    from scipy.stats import t

    return float(2 * t.sf(abs(values.mean()) / _error(values), len(values) - 1))


def alike(values: np.ndarray) -> bool:
    """Whether rounding alone sets the values apart."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _error(values: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def permutation_test(differences: Sequence[float], *, seed: int = 0) -> float:
    """The p-value of the sign-flip test (Fisher 1935, section 21): the share of signs whose sum is as far from 0.

    Exact for up to EXACT differences; beyond, (1 + as far) / (1 + drawn), which never exceeds its level either
    (Phipson and Smyth 2010).
    """
    values = np.asarray(differences, np.float64)
    near = 1e-12 * np.abs(values).sum()  # sums that rounding alone sets apart count as equal
    far = abs(values.sum()) - near
    if len(values) <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= far).mean())
    signs = np.random.default_rng(seed).choice((1.0, -1.0), (DRAWN, len(values)))
    return float((1 + (np.abs(signs @ values) >= far).sum()) / (1 + DRAWN))


def wilcoxon_test(differences: Sequence[float]) -> float:
    """The p-value of the signed-rank test (Wilcoxon 1945), exact where no ties forbid it; 1 where all differences are 0."""
    values = np.asarray(differences, np.float64)
    if not values.any():
        return 1.0
    from scipy.stats import wilcoxon

    ties = len(set(np.abs(values))) < len(values) or 0.0 in values
    if not ties:
        return float(wilcoxon(values, method='exact').pvalue)
    return _tied_ranks(values)


def _tied_ranks(values: np.ndarray) -> float:
    """The same over all signs of the ranks, ties sharing theirs and zeros left out; by permutation_test's rule."""
    from scipy.stats import rankdata

    values = values[values != 0]
    return permutation_test(np.sign(values) * rankdata(np.abs(values)))


TESTS: dict[str, Callable[[Sequence[float]], float]] = {
    'student': student_test,
    'permutation': permutation_test,
    'wilcoxon': wilcoxon_test,
}


def smallest_p(test: str, count: int) -> float:
    """The smallest p-value that a test can give of so many differences; five cannot go below 0.0625 where signs are all."""
    return 0.0 if test == 'student' else 2.0 ** (1 - count)


def seeds_for(test: str, level: float) -> int:
    """The fewest seeds with which a test can reach a level."""
    return 2 if test == 'student' else math.ceil(1 - math.log2(level) - 1e-12)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false finding among them stays below the level (Holm 1979)."""
    order = np.argsort(values, kind='stable')
    adjusted, most = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        most = max(most, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = most
    return adjusted


def equivalence_test(differences: Sequence[float], margin: float) -> float:
    """The p-value of the mean difference being as large as `margin`: the larger of two one-sided ones (Schuirmann 1987)."""
    from scipy.stats import t

    values = np.asarray(differences, np.float64)
    if alike(values):
        return 0.0 if abs(values[0]) < margin else 1.0
    return float(t.sf((margin - abs(values.mean())) / _error(values), len(values) - 1))


def power(effect: float, spread: float, count: int, *, level: float = 0.05) -> float:
    """The chance that Student's paired test finds a mean of `effect`, of `count` differences of standard deviation `spread`."""
    from scipy.integrate import quad
    from scipy.stats import chi, norm, t

    free, shift = count - 1, abs(effect) / spread * math.sqrt(count)
    edge = t.ppf(1 - level / 2, free) / math.sqrt(free)

    def found(share: float) -> float:  # given the standard deviation that has this share of all below it
        beyond = edge * chi.ppf(share, free)
        return norm.cdf(shift - beyond) + norm.cdf(-shift - beyond)

    return float(quad(found, 0.0, 1.0, limit=200)[0])  # scipy's noncentral t is no number where shifts are large


def smallest_shown(spread: float, count: int, *, level: float = 0.05, chance: float = 0.8) -> float:
    """The mean difference that so many seeds would have shown with this chance (Cohen 1988, chapter 2, noncentral t)."""
    from scipy.optimize import brentq

    if spread == 0:
        return 0.0
    most = 1.0
    while power(most, 1.0, count, level=level) < chance:
        most *= 2
    return spread * float(brentq(lambda effect: power(effect, 1.0, count, level=level) - chance, 0.0, most))


def seeds_needed(effect: float, spread: float, *, level: float = 0.05, chance: float = 0.8, most: int = 10_000) -> int:
    """The fewest seeds with which a mean difference of `effect` is found with this chance; `most` where more are needed."""
    if spread == 0:
        return 2
    low, high = 1, 2
    while high < most and power(effect, spread, high, level=level) < chance:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, spread, middle, level=level) >= chance else (middle, high)
    return min(high, most)


def effect_size(differences: Sequence[float]) -> float:
    """The mean difference in standard deviations of the differences (Cohen 1988, d_z); infinite where these do not differ."""
    values = np.asarray(differences, np.float64)
    if alike(values):
        return math.copysign(math.inf, values[0]) if values.any() else 0.0
    return float(values.mean() / values.std(ddof=1))
