"""Causal attention by blocks of queries, each over the keys that it can see and no others; for CPUs.

Three things make it several times faster there than what XLA makes of the formula. Keys after a block's last query and
before its window are never multiplied. The unnormalised weights are kept for the backward pass and the division by their
sum is moved to the outputs and their gradients, which have K columns rather than S. Heads are copied once to where each is
a matrix of its own, so that every product runs over two plain matrices.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from lmjax.ops.products import row_sums, sum_over_rows

if TYPE_CHECKING:
    from lmjax.types import Array

BLOCK = 128  # queries of a block: at 64 more is skipped, but the products are too small to run at full speed
BLOCKS = 8  # at most, since each is compiled
HIDDEN = -1e30


def blocked_attention(q_BxTxHxK: Array, k_BxTxGxK: Array, v_BxTxGxV: Array, *, scale: float, window: int = 0) -> Any:
    """softmax(q k^T * scale) v, each query over itself and what is before it (within the window); B x T x H x V."""
    repeats = q_BxTxHxK.shape[2] // k_BxTxGxK.shape[2]
    k_BxTxHxK, v_BxTxHxV = (jnp.repeat(x, repeats, axis=2) if repeats > 1 else x for x in (k_BxTxGxK, v_BxTxGxV))
    q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_BxTxHxK * scale, k_BxTxHxK, v_BxTxHxV))
    return jnp.swapaxes(_attend(window, q, k, v), 1, 2)


def spans(length: int, window: int) -> list[tuple[int, int, int]]:
    """First query, end of queries (and of keys), first key of each block."""
    block = max(BLOCK, -(-length // BLOCKS))
    starts = range(0, length, block)
    return [(s, min(length, s + block), max(0, s - window + 1) if window else 0) for s in starts]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(window: int, q_BxHxTxK: Any, k_BxHxTxK: Any, v_BxHxTxV: Any) -> Any:
    return _forward(window, q_BxHxTxK, k_BxHxTxK, v_BxHxTxV)[0]


def _forward(window: int, q: Any, k: Any, v: Any) -> tuple[Any, tuple]:
    """The output, and for the backward pass the unnormalised weights of each block and the inverse of their sums."""
    outputs, weights, inverses = [], [], []
    for start, end, first in spans(q.shape[2], window):
        logits = _product(q[:, :, start:end], k[:, :, first:end], 3, 3)
        logits = jnp.where(_mask(start, end, first, window), logits, HIDDEN)
        weight = jnp.exp(logits - logits.max(-1, keepdims=True))
        inverse = 1.0 / row_sums(weight)
        outputs.append(_product(weight.astype(v.dtype), v[:, :, first:end], 3, 2) * inverse)
        weights.append(weight)
        inverses.append(inverse)
    out = jnp.concatenate(outputs, axis=2).astype(v.dtype)
    return out, (q, k, v, out, weights, inverses)


def _backward(window: int, kept: tuple, dout: Any) -> tuple[Any, Any, Any]:
    """With p = w r the weights, dp = dout v^T and ds = p (dp - sum(dout * out)): dq = ds k, dk = ds^T q, dv = p^T dout."""
    q, k, v, out, weights, inverses = kept
    dq, dk, dv = [], jnp.zeros_like(k), jnp.zeros_like(v)
    for (start, end, first), weight, inverse in zip(spans(q.shape[2], window), weights, inverses, strict=True):
        here, seen = (slice(None), slice(None), slice(start, end)), (slice(None), slice(None), slice(first, end))
        scaled = dout[here] * inverse.astype(dout.dtype)  # r times dout
        within = row_sums(scaled * out[here])
        ds = (weight * (_product(scaled, v[seen], 3, 3) - within)).astype(q.dtype)
        dq.append(_product(ds, k[seen], 3, 2))
        dk += _spread(sum_over_rows(ds, q[here], batch=2), first, dk)
        dv += _spread(sum_over_rows(weight.astype(v.dtype), scaled, batch=2), first, dv)
    return jnp.concatenate(dq, axis=2).astype(q.dtype), dk, dv


_attend.defvjp(_forward, _backward)


def _mask(start: int, end: int, first: int, window: int) -> Any:
    distance = jnp.arange(start, end)[:, None] - jnp.arange(first, end)[None]
    seen = (distance >= 0) & (distance < window) if window else distance >= 0
    return seen[None, None]


def _product(a: Any, b: Any, a_axis: int, b_axis: int) -> Any:
    """Of each row's and head's two matrices, summed over one axis of each; float32."""
    return lax.dot_general(a, b, (((a_axis,), (b_axis,)), ((0, 1), (0, 1))), preferred_element_type=jnp.float32)


def _spread(part: Any, first: int, whole: Any) -> Any:
    """A gradient of keys first.. with zeros for the others."""
    after = whole.shape[2] - first - part.shape[2]
    return jnp.pad(part.astype(whole.dtype), ((0, 0), (0, 0), (first, after), (0, 0)))
