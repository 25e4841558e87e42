"""The table of objectives: how a batch is scored, what for, and what that asks of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp

from lmjax.objectives import likelihood

if TYPE_CHECKING:
    from lmjax.types import Inputs, Model, Output, Tree


class Objective(NamedTuple):
    """loss(model, params, batch, hparams, key, cache=None) -> (loss sum, (weight sum, metrics' sums, cache))."""

    loss: Callable[..., tuple[Any, tuple[Any, dict[str, Any], Any]]]
    separable: bool  # the loss of a batch is the sum over its rows, so that accumulation equals one batch
    in_order: bool  # every token is scored, given those before: bits per byte follow
    needs: tuple[str, ...] = ()  # traits that a network must have
    paired: bool = False  # reads documents that are pairs of a source and a target
    reader: Callable[[Model], Model] = lambda model: model  # the network as it reads the prompts that it goes on with


def open_prompts(model: Model) -> Model:
    """The network with all tokens of a call open: what it reads at once is a prefix."""

    def apply(params: Tree, inputs: Inputs, *args: Any, **kwargs: Any) -> Output:
        return model.apply(params, inputs._replace(open=jnp.ones(inputs.ids.shape, bool)), *args, **kwargs)

    return model._replace(apply=apply)


OBJECTIVES = {
    'causal': Objective(likelihood.loss, separable=True, in_order=True, needs=('causal',)),
    'masked': Objective(likelihood.loss, separable=True, in_order=False),
    'prefix': Objective(likelihood.loss, separable=True, in_order=False, needs=('causal', 'opens'), reader=open_prompts),
    'spans': Objective(likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal')),
    'denoise': Objective(likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal')),
    'seq2seq': Objective(likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal'), paired=True),
}
