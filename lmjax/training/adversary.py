"""Gradients on harder batches: the vectors of tokens are moved a little to where the loss is larger, in training alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lmjax.config import choose, require
from lmjax.models.frames import embedding_width
from lmjax.objectives.table import objective_of
from lmjax.ops.dropout import fold_name, uniform
from lmjax.optim.config import AdversaryConfig
from lmjax.training.config import Config
from lmjax.training.step import Gradient
from lmjax.types import Inputs, Model, Tree

TINY = 1e-12  # so that a gradient of 0 moves nothing


def freelb(mean_loss: Callable[..., tuple[Any, tuple]], config: AdversaryConfig, width: int) -> Gradient:
    """The mean of the gradients at each of `steps` places (Zhu et al. 2020, algorithm 1).

    The first is drawn evenly, up to `size` over the root of a row's numbers each; each next one is `rate` further along the
    gradient of the row's loss, of length 1, and no further than `size` from nothing. Every ascent has the same dropout (section
    3.3). Sums are means over the ascents; a carried state is that of the last.
    """

    def gradient(params: Tree, rows: tuple) -> tuple[Tree, tuple]:
        batch, keys_B, carry = rows
        real_BxTx1 = real_tokens(batch.inputs)[:, :, None]

        def moved_loss(params: Tree, shift_BxTxD: Any) -> tuple[Any, tuple]:
            inputs = batch.inputs._replace(shift=shift_BxTxD)
            return mean_loss(params, (batch._replace(inputs=inputs), keys_B, carry))

        both = jax.grad(moved_loss, argnums=(0, 1), has_aux=True)

        def ascend(state: tuple, _: None) -> tuple[tuple, None]:
            shift_BxTxD, total, _ = state
            (grads, uphill_BxTxD), (sums, after) = both(params, shift_BxTxD)
            total = jax.tree.map(lambda old, new: old + new / config.steps, total, (grads, sums))
            return (climbed(shift_BxTxD, uphill_BxTxD * real_BxTx1, config), total, after), None

        begin = first_shift(keys_B, real_BxTx1, config.size, width)
        (grads, _), aux = jax.eval_shape(both, params, begin)
        total, after = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), ((grads, aux[0]), aux[1]))
        (_, (grads, sums), after), _ = jax.lax.scan(ascend, (begin, total, after), length=config.steps)
        return grads, (sums, after)

    return gradient


def real_tokens(inputs: Inputs) -> Any:
    """1.0 where a token is no padding, B x T."""
    return jnp.ones(inputs.ids.shape) if inputs.segments is None else (inputs.segments > 0).astype(jnp.float32)


def first_shift(keys_B: Any, real_BxTx1: Any, size: float, width: int) -> Any:
    """B x T x D, between -size and size over the root of how many numbers a row has; 0 where it is padding."""
    T = real_BxTx1.shape[1]
    even_BxTxD = 2.0 * uniform((len(real_BxTx1), T, width), fold_name(keys_B, 'adversary')) - 1.0
    count_Bx1x1 = jnp.maximum(real_BxTx1.sum(axis=(1, 2), keepdims=True), 1.0) * width
    return even_BxTxD * real_BxTx1 * size / jnp.sqrt(count_Bx1x1)


def climbed(shift_BxTxD: Any, uphill_BxTxD: Any, config: AdversaryConfig) -> Any:
    """Each row `rate` further uphill, and shortened to `size` where it is longer."""
    moved_BxTxD = shift_BxTxD + config.rate * uphill_BxTxD / (lengths(uphill_BxTxD) + TINY)
    return moved_BxTxD * jnp.minimum(1.0, config.size / (lengths(moved_BxTxD) + TINY))


def lengths(shift_BxTxD: Any) -> Any:
    """The norm of each row over its tokens, B x 1 x 1."""
    return jnp.sqrt(jnp.square(shift_BxTxD).sum(axis=(1, 2), keepdims=True))


ADVERSARIES: dict[str, Callable[..., Gradient]] = {'freelb': freelb}


def gradient_of(config: AdversaryConfig, model: Model) -> Callable[[Callable], Gradient]:
    """A function: mean loss -> its gradient as the config wants it."""
    if not config.kind:
        return partial(jax.grad, has_aux=True)
    make, width = choose(ADVERSARIES, config.kind, 'adversary.kind'), embedding_width(model)
    return lambda mean_loss: make(mean_loss, config, width)


def validate_adversary(config: Config, model: Model) -> None:
    """Raises UsageError for a choice that does not exist, a value out of range, or what it cannot be used with."""
    c = config.adversary
    if not c.kind:
        for name in ('steps', 'size', 'rate'):
            value = getattr(c, name)
            remedy = 'is read only with adversary.kind; set that, or leave it out'
            require(value == getattr(AdversaryConfig(), name), f'adversary.{name}', value, remedy)
        return
    choose(ADVERSARIES, c.kind, 'adversary.kind')
    require(c.steps >= 1, 'adversary.steps', c.steps, 'use 1 or more, as 2')
    for name in ('size', 'rate'):
        require(0 < getattr(c, name) < float('inf'), f'adversary.{name}', getattr(c, name), 'must be above 0; try 0.1')
    remedy = 'moves vectors of tokens, and this network has none; take a transformer, or set model.embedding above 0'
    require(model.traits.prefixed and not model.traits.sourced, 'adversary.kind', c.kind, remedy)
    row, kind = objective_of(config.objective), config.objective.kind
    remedy = f'objective.kind={kind!r} has two networks or two views read each row; leave one of the two out'
    require(not row.taught and kind != 'contrastive', 'adversary.kind', c.kind, remedy)
