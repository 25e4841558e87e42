"""One optimizer step, whole on one screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lmjax.optim.optimizers import global_norm
from lmjax.training.state import TrainState, row_keys, stream
from lmjax.types import Batch, HParams, Inputs, Model, Tree

Loss = Callable[..., tuple[Any, Any]]
Gradient = Callable[[Tree, tuple], tuple[Tree, tuple]]  # params, rows (batch, keys, carry) -> gradients, (sums, carry)


def train_step(
    model: Model,
    loss: Loss,
    make_tx: Callable[[HParams], optax.GradientTransformation],
    state: TrainState,
    batch: Batch,
    hparams: HParams,
    *,
    accumulate: int = 1,
    gradient: Callable[[Callable], Gradient] = partial(jax.grad, has_aux=True),
    noise: Callable[[Any, Tree], Tree] = lambda key, params: params,
) -> tuple[TrainState, dict[str, Any]]:
    """Sums over the whole batch, one division by its weight, one update.

    `gradient` makes the gradient of a mean loss; `noise` says, with a key of the step, which parameters the loss sees.

    Returns the next state and scalars: `loss` (the objective) and `loss_nats` (cross-entropy), both per scored token, `tokens`
    (that were read, padding not counted) and `grad_norm`.
    """
    weight = batch.weights.sum()
    keys_B = row_keys(stream(state.root, 'dropout', state.step), batch.targets.shape[0])

    noise_key = stream(state.root, 'parameters', state.step)

    def mean_loss(params: Tree, rows: tuple) -> tuple[Any, tuple]:
        micro, keys, carry = rows
        total, (_, sums, cache) = loss(model, noise(noise_key, params), micro, hparams, keys, carry)
        return total / weight, (sums, cache if state.carry is not None else None)

    rows = (batch, keys_B, state.carry)
    grads, (sums, carry) = sum_gradients(gradient(mean_loss), state.params, rows, accumulate)
    updates, opt_state = make_tx(hparams).update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        ema = jax.tree.map(lambda old, new: old + (1 - hparams['ema']) * (new - old), ema, params)
    metrics = {
        'loss': sums['loss'] / weight,
        'loss_nats': sums['nll'] / weight,
        'tokens': count_tokens(batch.inputs),
        'grad_norm': global_norm(grads),
    }
    return TrainState(state.step + 1, state.root, params, opt_state, ema, carry), metrics


def count_tokens(inputs: Inputs) -> Any:
    """How many tokens a network reads, those of sources as well, float32."""
    own = jnp.float32(inputs.ids.size) if inputs.segments is None else (inputs.segments > 0).sum(dtype=jnp.float32)
    if inputs.source_ids is None:
        return own
    mask = inputs.source_mask
    return own + (jnp.float32(inputs.source_ids.size) if mask is None else mask.sum(dtype=jnp.float32))


def sum_gradients(grad: Gradient, params: Tree, rows: Tree, accumulate: int) -> tuple[Tree, tuple]:
    """Gradients and sums over all rows, taken `accumulate` microbatches at a time.

    Row r goes to microbatch r mod `accumulate`: on a sharded batch that split moves no data between devices.
    """
    if accumulate == 1:
        return grad(params, rows)

    split = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1), rows)

    def add(total: tuple, micro: Tree) -> tuple[tuple, Tree]:
        grads, (sums, carry) = grad(params, micro)
        return jax.tree.map(jnp.add, total, (grads, sums)), carry

    shapes = jax.eval_shape(grad, params, jax.tree.map(lambda x: x[0], split))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0], shapes[1][0]))
    (grads, sums), carry = jax.lax.scan(add, zeros, split)
    merged = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), carry)
    return grads, (sums, merged)
