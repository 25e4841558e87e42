"""How a network is told where a token stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lmjax.types import Array


def sinusoidal(positions_BxT: Array, width: int) -> Any:
    """Sine on even and cosine on odd channels, B x T x width float32 (Vaswani et al. 2017, section 3.5)."""
    channels = np.arange(width)
    rates_D = 10000.0 ** -(2 * (channels // 2) / width)
    angles = positions_BxT[..., None].astype(jnp.float32) * jnp.asarray(rates_D, jnp.float32)[None, None]
    return jnp.where(jnp.asarray(channels % 2 == 0)[None, None], jnp.sin(angles), jnp.cos(angles))


def rotate(x_BxTxHxK: Array, positions_BxT: Array, *, base: float) -> Any:
    """Rotary position embedding (Su et al. 2021, eq. 34), with channel i paired with channel i + K/2.

    The paper pairs neighbours; halves are the same up to a permutation of channels and need no interleaving copy.
    """
    half = x_BxTxHxK.shape[-1] // 2
    rates_J = jnp.asarray(base ** -(np.arange(half) / half), jnp.float32)
    angles = positions_BxT[..., None, None].astype(jnp.float32) * rates_J[None, None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x_BxTxHxK.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BxTxHxK.dtype)


def alibi_slopes(heads: int) -> np.ndarray:
    """Penalty per token of distance for each head (Press et al. 2022, section 3).

    A geometric series for a power of two; otherwise that of the power below, then every second one of the power above.
    """
    below = 2 ** math.floor(math.log2(heads))
    series = [2.0 ** (-8.0 * (i + 1) / below) for i in range(below)]
    series += [2.0 ** (-4.0 * (i + 1) / below) for i in range(0, 2 * (heads - below), 2)]
    return np.asarray(series, np.float32)


class Position(NamedTuple):
    """Where a scheme acts; one of the three, or none of them."""

    added: Callable[..., Any] | None = None  # (positions_BxT, width) -> B x T x D, to the embedding
    learned: bool = False  # to the embedding too, from a table of parameters
    rotated: Callable[..., Any] | None = None  # (x_BxTxHxK, positions_BxT, base=) -> like x, on queries and keys
    slopes: Callable[[int], np.ndarray] | None = None  # heads -> H, times the distance, off the attention logits


POSITIONS = {
    'sinusoidal': Position(added=sinusoidal),
    'learned': Position(learned=True),
    'rotary': Position(rotated=rotate),
    'alibi': Position(slopes=alibi_slopes),
    'none': Position(),
}
