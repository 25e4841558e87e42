"""Whether texts entail hypotheses, as a classifier of two texts tells it, so that it can choose among classes it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.parallel_text import join_pair


def hypotheses(template: str, classes: Sequence[str]) -> list[str]:
    """The hypothesis of each class, in whose name `_` is a space. Raises UsageError for a template with no place for it."""
    require('{}' in template, 'hypothesis', template, "has no place for the class; write {} for it, as 'This is about {}.'")
    return [template.replace('{}', name.replace('_', ' ')) for name in classes]


def entailment(
    predict: Callable[[list[Any]], Sequence[Mapping[str, Any]]],
    texts: Sequence[str],
    asked: Sequence[str],
    *,
    entails: str = 'entailment',
) -> np.ndarray:
    """The probability that each text entails each hypothesis, N x C float64.

    Args:
      predict: `Run.predict` of a run that reads two texts, `FIRST<TAB>SECOND`, and tells their class.
      entails: the class of a hypothesis that is entailed.

    Raises:
      UsageError: as `predict`, or it has no such class.
    """
    pairs = [join_pair(text, hypothesis) for text in texts for hypothesis in asked]
    empty = next((text for text in texts if not text.strip()), None)
    require(empty is None, 'text', empty, 'is empty and entails nothing; leave it out')
    found = [one.get('probabilities', {}) for one in predict(pairs)]
    for probabilities in found[:1]:
        if entails not in probabilities:
            told = ', '.join(probabilities) or 'none'
            raise UsageError(f'entails={entails!r}: the network has no such class; choose one of: {told}')
    return np.array([one[entails] for one in found], np.float64).reshape(len(texts), len(asked))


def shares(found_NxC: np.ndarray) -> np.ndarray:
    """Each row over its sum: how much of what is entailed each class has."""
    return found_NxC / np.maximum(found_NxC.sum(axis=1, keepdims=True), 1e-300)
