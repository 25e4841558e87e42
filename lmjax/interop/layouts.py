"""How a tensor of another library becomes parameters of ours, and back: pairs of inverse reshapings, bit for bit.

Theirs are matrices (outputs, inputs), as PyTorch keeps them, unless a name says otherwise. The functions take NumPy or JAX
arrays, so that shapes can be worked out without any data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """unpack(theirs, head_width) -> tuple of ours; pack(tuple of ours) -> theirs."""

    unpack: Callable[[Any, int], tuple[Any, ...]]
    pack: Callable[[tuple[Any, ...]], Any]


def stack(parts: tuple[Any, ...], axis: int) -> Any:
    return parts[0].__array_namespace__().stack(parts, axis=axis)


def concat(parts: list[Any], axis: int) -> Any:
    return parts[0].__array_namespace__().concat(parts, axis=axis)


def flat_heads(ours: Any) -> Any:
    """(D, H, K) -> (D, H K)."""
    return ours.reshape(ours.shape[0], -1)


def _thirds(theirs: Any, head_width: int) -> tuple[Any, ...]:
    third = theirs.shape[-1] // 3
    parts = [theirs[..., i * third : (i + 1) * third] for i in range(3)]
    return tuple(part.reshape(*part.shape[:-1], -1, head_width) for part in parts)


def _by_head(theirs: Any, head_width: int) -> tuple[Any, ...]:
    parts = theirs.reshape(-1, 3, head_width, theirs.shape[-1])
    return tuple(parts[:, i].transpose(2, 0, 1) for i in range(3))


SAME = Layout(lambda x, K: (x,), lambda ours: ours[0])
TRANSPOSED = Layout(lambda x, K: (x.T,), lambda ours: ours[0].T)
# (H K, D) <-> D x H x K, and its bias (H K) <-> H x K
TO_HEADS = Layout(lambda x, K: (x.T.reshape(x.shape[1], -1, K),), lambda ours: flat_heads(ours[0]).T)
HEADS_BIAS = Layout(lambda x, K: (x.reshape(-1, K),), lambda ours: ours[0].reshape(-1))
# (D, H K) <-> H x K x D
FROM_HEADS = Layout(lambda x, K: (x.T.reshape(-1, K, x.shape[0]),), lambda ours: ours[0].reshape(-1, ours[0].shape[-1]).T)
# The same, kept as (inputs, outputs): GPT-2's
FROM_HEADS_PLAIN = Layout(lambda x, K: (x.reshape(-1, K, x.shape[-1]),), lambda ours: ours[0].reshape(-1, ours[0].shape[-1]))
# Queries, keys and values one after the other, (D, 3 H K): GPT-2's; and its bias (3 H K)
QKV_THIRDS = Layout(_thirds, lambda ours: concat([flat_heads(x) for x in ours], axis=1))
QKV_THIRDS_BIAS = Layout(_thirds, lambda ours: concat([x.reshape(-1) for x in ours], axis=0))
# Head by head, each its query, key and value, (H 3 K, D): GPT-NeoX's; and its bias (H 3 K)
QKV_BY_HEAD = Layout(
    _by_head, lambda ours: stack(tuple(x.transpose(1, 2, 0) for x in ours), axis=1).reshape(-1, ours[0].shape[0])
)
QKV_BY_HEAD_BIAS = Layout(
    lambda x, K: tuple(x.reshape(-1, 3, K)[:, i] for i in range(3)), lambda ours: stack(ours, axis=1).reshape(-1)
)
