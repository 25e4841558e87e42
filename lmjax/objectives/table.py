"""The table of objectives: how a batch is scored, and whether its rows are scored one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lmjax.objectives import likelihood


class Objective(NamedTuple):
    """loss(model, params, batch, hparams, key, cache=None) -> (loss sum, (weight sum, metrics' sums, cache))."""

    loss: Callable[..., tuple[Any, tuple[Any, dict[str, Any], Any]]]
    separable: bool  # the loss of a batch is the sum over its rows, so that accumulation equals one batch
    in_order: bool  # every token is scored given those before alone: needs a causal network, and gives bits per byte


OBJECTIVES = {
    'causal': Objective(likelihood.loss, separable=True, in_order=True),
    'masked': Objective(likelihood.loss, separable=True, in_order=False),
}
