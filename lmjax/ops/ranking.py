"""Where the right answers of a query stand among all candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def realistic(own: Any, scores: Any, others: Any) -> Any:
    """The rank of `own` among `others` of the scores, ... x C both, `own` ... x 1 or a number: 1 is the first.

    Ties stand before it by half (Berrendorf et al. 2020, the realistic rank), and whatever is no number, also if it is its own.
    """
    before, ties = (others & ~(scores <= own)).sum(-1), (others & (scores == own)).sum(-1)
    return 1.0 + before + ties / 2


def ranks(scores_QxC: np.ndarray, right: Sequence[Sequence[int]]) -> np.ndarray:
    """The rank of each query's best right candidate among it and the wrong ones, Q float64, 1 the best.

    Raises:
      ValueError: a query without a right candidate.
    """
    found = []
    for scores_C, places in zip(np.asarray(scores_QxC), right, strict=True):
        if not len(places):
            raise ValueError('right: a query has no right candidate')
        best, is_wrong = scores_C[list(places)].max(), np.ones(len(scores_C), bool)
        is_wrong[list(places)] = False
        found.append(realistic(best, scores_C, is_wrong))
    return np.array(found, np.float64)


# name -> ranks -> the score of each query, whose mean is the figure
RANK_SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'recall@1': lambda ranks_Q: (ranks_Q <= 1).astype(np.float64),
    'recall@10': lambda ranks_Q: (ranks_Q <= 10).astype(np.float64),
    'mrr': lambda ranks_Q: 1.0 / ranks_Q,
}
