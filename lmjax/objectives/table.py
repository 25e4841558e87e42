"""The table of objectives: how a batch is scored, and whether its rows are scored one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lmjax.objectives import likelihood


class Objective(NamedTuple):
    """loss(model, params, batch, hparams, key, cache=None) -> (loss sum, (weight sum, metrics' sums, cache))."""

    loss: Callable[..., tuple[Any, tuple[Any, dict[str, Any], Any]]]
    separable: bool  # the loss of a batch is the sum over its rows, so that accumulation equals one batch


OBJECTIVES = {'causal': Objective(likelihood.loss, separable=True)}
