"""Means over runs and examples, and paired differences of them, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CELLS = 1 << 22  # numbers held at once


Finish = Callable[[np.ndarray], float]  # a run's statistics, summed over examples, C -> its score


class Interval(NamedTuple):
    mean: float
    low: float
    high: float

    def said(self, spec: str = '.4f') -> str:
        """'0.9170 (0.9080 to 0.9250)', or with signs by spec='+.4f'."""
        return f'{self.mean:{spec}} ({self.low:{spec}} to {self.high:{spec}})'


def mean_interval(values: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The mean of runs and Student's interval of it (Student 1908); of one run nothing is known but its value: nan."""
    values = np.asarray(values, np.float64)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, np.nan, np.nan)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def bootstrap_mean(
    scores_SxN: np.ndarray, *, finish: Finish | None = None, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of S runs over N examples, both drawn again with replacement: what other runs on other examples would give.

    The percentile interval of Efron (1979). Of one run the examples alone are drawn, so that chance in training is not counted.
    A score that is no mean over examples (BLEU) comes as statistics, S x N x C, and `finish`, which makes it of their sums.
    """
    (runs,) = resampled([scores_SxN], finish, seed=seed)
    return interval(run_scores(scores_SxN, finish).mean(), runs, confidence)


def paired_difference(
    first_SxN: np.ndarray,
    second_RxN: np.ndarray,
    *,
    finish: Finish | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """How much the mean of the first runs is above that of the second ones, over the same N examples.

    A resample draws the examples once for both, which pairs them, and the runs of each side by themselves. `finish` is as in
    `bootstrap_mean`: statistics are summed again over the examples of each resample (Koehn 2004, section 4).

    Raises:
      ValueError: the two have other examples, or none.
    """
    first, second = np.asarray(first_SxN), np.asarray(second_RxN)
    if first.shape[1] != second.shape[1] or not first.size or not second.size:
        raise ValueError(f'shapes {first.shape} and {second.shape}: give runs x examples, of the same examples')
    drawn = resampled([first, second], finish, seed=seed)
    found = run_scores(first, finish).mean() - run_scores(second, finish).mean()
    return interval(found, drawn[0] - drawn[1], confidence)


def run_scores(scores_SxN: np.ndarray, finish: Finish | None = None) -> np.ndarray:
    """The score of each run over all examples, S."""
    scores = np.asarray(scores_SxN, np.float64)
    return scores.mean(axis=1) if finish is None else np.array([finish(sums) for sums in scores.sum(axis=1)])


def resampled(sides: Sequence[np.ndarray], finish: Finish | None, *, seed: int) -> list[np.ndarray]:
    """The mean over runs of each side in RESAMPLES resamples of examples, which the sides share, and of runs."""
    rng, count = np.random.default_rng(seed), np.shape(sides[0])[1]
    scores = [np.asarray(side, np.float64) for side in sides]
    means: list[list[np.ndarray]] = [[] for _ in sides]
    at_once = max(1, CELLS // count)
    for begin in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - begin)
        times_KxN = rng.multinomial(count, np.full(count, 1 / count), size)
        for found, side in zip(means, scores, strict=True):
            runs_KxS = rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size) / len(side)
            found.append((runs_KxS * scores_of(times_KxN, side, finish)).sum(axis=1))
    return [np.concatenate(found) for found in means]


def scores_of(times_KxN: np.ndarray, scores_SxN: np.ndarray, finish: Finish | None) -> np.ndarray:
    """The score of each run over examples that are taken so many times, K x S."""
    if finish is None:
        return times_KxN @ scores_SxN.T / times_KxN.shape[1]
    return np.stack([[finish(sums) for sums in times_KxN @ run_NxC] for run_NxC in scores_SxN], axis=1)


def interval(mean: float, resamples: np.ndarray, confidence: float) -> Interval:
    """A figure with the percentiles between which resamples of it lie."""
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(resamples, [tail, 100 - tail])
    return Interval(float(mean), float(low), float(high))
