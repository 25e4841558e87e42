"""Dropout with one key per row, so that a row's noise does not depend on the batch that it travels in.

Accumulation, padding and sharding then change nothing, and the rate may be a traced scalar, which replicas need.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from lmjax.types import Array


def fold_name(keys_B: Array, name: str | int | Array) -> Any:
    """Independent keys for a named (or numbered) place in the network, one per row."""
    number = zlib.crc32(name.encode()) if isinstance(name, str) else name
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys_B)


def dropout(x: Array, keys_B: Array, rate: Any) -> Any:
    """Zeroes entries of x (B x ...) with probability `rate` in [0, 1) and divides the others by 1 - rate."""
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x.shape[1:]))(keys_B)
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))
