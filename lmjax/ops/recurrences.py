"""Recurrent cells and the scan over time that runs them.

Only h W, which needs the last state, stays in the loop. The inputs' product is made for all steps at once before it, and
the weights' gradient for all steps at once after it (Appleyard et al. 2016, section 3): the backward loop hands out the
gradients of the gates and nothing else. Autodiff alone would add a matrix of H x G to another at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from lmjax.types import Array

State = tuple[Any, ...]  # one B x H array for each name in Cell.carries, the hidden state first


class Cell(NamedTuple):
    """A row of CELLS. `step(x_BxG, h_BxG, state) -> state` is elementwise; G is `gates` times H."""

    gates: int
    carries: tuple[str, ...]
    additive: bool  # x and h enter as their sum alone, so that both have the same gradient
    step: Callable[[Any, Any, State], State]


def rnn_step(x_BxG: Any, h_BxG: Any, state: State) -> State:
    """h' = tanh(x + h) (Elman 1990)."""
    return (jnp.tanh(x_BxG + h_BxG),)


def lstm_step(x_BxG: Any, h_BxG: Any, state: State) -> State:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; gates: input, forget, cell, output."""
    i, f, g, o = jnp.split(x_BxG + h_BxG, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_step(x_BxG: Any, h_BxG: Any, state: State) -> State:
    """Cho et al. 2014 with the reset gate after the product, as cuDNN and PyTorch have it; gates: reset, update, candidate."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = jnp.split(x_BxG, 3, axis=-1), jnp.split(h_BxG, 3, axis=-1)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    return ((1.0 - z) * n + z * state[0],)


CELLS = {
    'rnn': Cell(1, ('h',), True, rnn_step),
    'lstm': Cell(4, ('h', 'c'), True, lstm_step),
    'gru': Cell(3, ('h',), False, gru_step),
}


class Weights(NamedTuple):
    """What a recurrence multiplies the last state with."""

    hidden: Any  # H x G
    bias: Any = None  # G, added to h W only (needed where x and h do not enter as a sum)
    initial: Any = None  # a tuple like State of H vectors: where a row starts again; None: zeros


def recur(
    cell: Cell, x_TxBxG: Array, weights: Weights, state: State, *, restart_TxB: Array | None = None
) -> tuple[Array, State]:
    """Runs a cell over time: (hidden_TxBxH, last state).

    `x_TxBxG` are the inputs' shares of the gates, bias included. Where `restart_TxB` is true a row forgets its state and
    goes on from `weights.initial` before it reads that step. All float32, but for products in the weights' dtype.
    """
    return _recur(cell, x_TxBxG, weights, state, restart_TxB)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(cell: Cell, x_TxBxG: Any, weights: Weights, state: State, restart_TxB: Any) -> tuple[Any, State]:
    return _forward(cell, x_TxBxG, weights, state, restart_TxB)[0]


def _forward(cell: Cell, x_TxBxG: Any, weights: Weights, state: State, restart_TxB: Any) -> tuple:
    w_GxH = lax.optimization_barrier(weights.hidden.T)  # laid out once, not at every step

    def step(state: State, at: tuple) -> tuple[State, tuple]:
        x_BxG, restart_B = at
        state = _restarted(state, restart_B, weights.initial)
        h_BxG = _few_rows(state[0], w_GxH)
        h_BxG = h_BxG if weights.bias is None else h_BxG + weights.bias[None]
        state = cell.step(x_BxG, h_BxG, state)
        return state, (state, h_BxG)

    last, (states, h_TxBxG) = lax.scan(step, state, (x_TxBxG, restart_TxB))
    return (states[0], last), (x_TxBxG, h_TxBxG, weights, state, states, restart_TxB)


def _backward(cell: Cell, kept: tuple, grads: tuple) -> tuple:
    x_TxBxG, h_TxBxG, weights, first, states, restart_TxB = kept
    grad_hidden_TxBxH, grad_last = grads
    before = jax.tree.map(lambda one, all_: jnp.concatenate([one[None], all_[:-1]]), first, states)

    def step(carry: tuple, at: tuple) -> tuple[tuple, tuple]:
        grad_state, grad_initial = carry
        x_BxG, h_BxG, state, restart_B, grad_hidden_BxH = at
        state = _restarted(state, restart_B, weights.initial)
        _, pull = jax.vjp(cell.step, x_BxG, h_BxG, state)
        grad_x, grad_h, grad_state = pull((grad_state[0] + grad_hidden_BxH, *grad_state[1:]))
        back_BxH = _few_rows(grad_h, weights.hidden)
        grad_state = (grad_state[0] + back_BxH, *grad_state[1:])
        if restart_B is not None:
            if grad_initial is not None:
                grad_initial = jax.tree.map(lambda a, g: a + _where(restart_B, g, 0.0), grad_initial, grad_state)
            grad_state = jax.tree.map(lambda g: _where(restart_B, 0.0, g), grad_state)
        return (grad_state, grad_initial), (grad_x, None if cell.additive else grad_h)

    grad_initial = None if weights.initial is None else jax.tree.map(jnp.zeros_like, first)
    xs = (x_TxBxG, h_TxBxG, before, restart_TxB, grad_hidden_TxBxH)
    (grad_first, grad_initial), (grad_x, grad_h) = lax.scan(step, (grad_last, grad_initial), xs, reverse=True)
    grad_h = grad_x if cell.additive else grad_h

    if restart_TxB is not None:
        before = jax.vmap(lambda state, restart_B: _restarted(state, restart_B, weights.initial))(before, restart_TxB)
    rows = before[0].reshape(-1, before[0].shape[-1])
    grad_weights = Weights(
        hidden=_product(rows.T, grad_h.reshape(-1, grad_h.shape[-1]), weights.hidden.dtype).astype(weights.hidden.dtype),
        bias=None if weights.bias is None else grad_h.sum((0, 1)),
        initial=jax.tree.map(lambda g: g.sum(0), grad_initial),
    )
    return grad_x, grad_weights, grad_first, None


_recur.defvjp(_forward, _backward)


def _product(a: Any, b: Any, dtype: Any = None) -> Any:
    """a b with both in the dtype of the computation, summed in float32."""
    dtype = dtype or b.dtype
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


def _few_rows(a_BxI: Any, w_OxI: Any) -> Any:
    """a W^T for the few rows of one step, B x O, as the transpose of W a^T.

    XLA on CPU packs the left operand in one piece, and so runs this order at up to twice the speed of the other, which
    the barrier keeps it from going back to.
    """
    product_OxB = lax.dot_general(
        w_OxI, a_BxI.astype(w_OxI.dtype), (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    return lax.optimization_barrier(product_OxB).T


def _where(mask_B: Any, a: Any, b: Any) -> Any:
    return jnp.where(mask_B[:, None], a, b)


def _restarted(state: State, restart_B: Any, initial: State | None) -> State:
    if restart_B is None:
        return state
    if initial is None:
        return tuple(_where(restart_B, 0.0, x) for x in state)
    return tuple(_where(restart_B, start[None], x) for x, start in zip(state, initial, strict=True))
