"""Dropout with one key per row, so that a row's noise does not depend on the batch that it travels in.

Accumulation, padding and sharding then change nothing, and the rate may be a traced scalar, which replicas need.
The noise is a keyed hash of the entry's index: it fuses with what it multiplies, where JAX's own generator takes most of a
second to compile for each new shape and more time to run than the layer whose output it drops.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lmjax.types import Array


def mix(x: Array) -> Any:
    """A bijection of uint32 in which each input bit flips each output bit half of the time (MurmurHash3's finalizer)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def words(keys_B: Array) -> Any:
    """Two uint32 of each key, B x 2; what `fold_name` returns is taken as it is."""
    if not jnp.issubdtype(keys_B.dtype, jax.dtypes.prng_key):
        return keys_B
    data = jax.random.key_data(keys_B)
    return jnp.stack([data[:, 0], data[:, -1]], axis=-1)


def fold_name(keys_B: Array, name: str | int | Array) -> Any:
    """Independent keys for a named (or numbered) place in the network, one per row; as words, for `dropout`."""
    number = zlib.crc32(name.encode()) if isinstance(name, str) else name
    number = jnp.asarray(number, jnp.uint32)
    pair = words(keys_B)
    first = mix(pair[:, 0] ^ mix(number + np.uint32(0x9E3779B9)))
    return jnp.stack([first, mix(pair[:, 1] ^ first)], axis=-1)


def dropout(x: Array, keys_B: Array, rate: Any) -> Any:
    """Zeroes entries of x (B x ...) with probability `rate` in [0, 1) and divides the others by 1 - rate."""
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    return jnp.where(uniform(x.shape, keys_B) < keep, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


def uniform(shape: tuple[int, ...], keys_B: Array) -> Any:
    """Numbers in [0, 1), float32, of a shape B x ..., each row from its key."""
    pair = words(keys_B)[(...,) + (None,) * (len(shape) - 1)]
    if math.prod(shape[1:]) >= 2**32:
        raise ValueError(f'a row of shape {shape[1:]} has more entries than the hash can number')
    index = jnp.zeros((1, *shape[1:]), jnp.uint32)
    for axis in range(1, len(shape)):
        index = index * np.uint32(shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, index.shape, axis)
    noise = mix(mix(index ^ pair[:, 0]) + pair[:, 1])
    return (noise >> 8).astype(jnp.float32) * np.float32(2.0**-24)
