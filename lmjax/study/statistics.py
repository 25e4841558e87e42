"""Means over runs and examples, and paired differences of them, with intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CELLS = 1 << 22  # numbers held at once


class Interval(NamedTuple):
    mean: float
    low: float
    high: float


def mean_interval(values: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The mean of runs and Student's interval of it (Student 1908); of one run nothing is known but its value: nan."""
    values = np.asarray(values, np.float64)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, np.nan, np.nan)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def bootstrap_mean(scores_SxN: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of S runs over N examples, both drawn again with replacement: what other runs on other examples would give.

    The percentile interval of Efron (1979). Of one run the examples alone are drawn, so that chance in training is not counted.
    """
    return paired_difference(scores_SxN, np.zeros((1, np.shape(scores_SxN)[1])), confidence=confidence, seed=seed)


def paired_difference(first_SxN: np.ndarray, second_RxN: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """How much the mean of the first runs is above that of the second ones, over the same N examples.

    A resample draws the examples once for both, which pairs them, and the runs of each side by themselves.

    Raises:
      ValueError: the two have other examples, or none.
    """
    first, second = (np.asarray(scores, np.float64) for scores in (first_SxN, second_RxN))
    if first.shape[1] != second.shape[1] or not first.size or not second.size:
        raise ValueError(f'shapes {first.shape} and {second.shape}: give runs x examples, of the same examples')
    rng, count = np.random.default_rng(seed), first.shape[1]
    found: list[np.ndarray] = []
    for begin in range(0, RESAMPLES, max(1, CELLS // count)):
        size = min(max(1, CELLS // count), RESAMPLES - begin)
        examples_KxN = rng.multinomial(count, np.full(count, 1 / count), size) / count
        sides = []
        for scores in (first, second):
            runs_KxS = rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size) / len(scores)
            sides.append(((runs_KxS @ scores) * examples_KxN).sum(axis=1))
        found.append(sides[0] - sides[1])
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return Interval(float(first.mean() - second.mean()), float(low), float(high))
