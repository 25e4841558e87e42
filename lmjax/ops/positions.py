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


def rotary_rates(width: int, *, base: float) -> np.ndarray:
    """Radians a token of each of the width/2 pairs of channels (Su et al. 2021, section 3.2.2), float64."""
    return base ** -(np.arange(0, width, 2) / width)


def stretch_all(rates_J: np.ndarray, *, factor: float, low: float, high: float, original: int) -> np.ndarray:
    """Positions divided by the factor (Chen et al. 2023, position interpolation)."""
    return rates_J / factor


def stretch_slow(rates_J: np.ndarray, *, factor: float, low: float, high: float, original: int) -> np.ndarray:
    """Llama 3.1's: slow channels are stretched, fast ones left, those between blended (Grattafiori et al. 2024, section 3.4).

    A channel is slow if it turns fewer than `low` times within the original context, and fast if more than `high` times.
    """
    turns_J = original * rates_J / (2 * np.pi)
    kept_J = np.clip((turns_J - low) / (high - low), 0.0, 1.0)
    return rates_J * (kept_J + (1 - kept_J) / factor)


# name -> (rates_J, *, factor, low, high, original) -> rates_J, for contexts longer than the network was trained on
ROTARY_SCALINGS: dict[str, Callable[..., np.ndarray]] = {
    'none': lambda rates_J, **_: rates_J,
    'linear': stretch_all,
    'llama3': stretch_slow,
}


def rotate(x_BxTxHxK: Array, positions_BxT: Array, *, rates_J: np.ndarray) -> Any:
    """Rotary position embedding (Su et al. 2021, eq. 34) of the first 2J channels, channel i paired with channel i + J.

    The paper pairs neighbours; halves are the same up to a permutation of channels and need no interleaving copy.
    """
    J = len(rates_J)
    angles = positions_BxT[..., None, None].astype(jnp.float32) * jnp.asarray(rates_J, jnp.float32)[None, None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    wide = x_BxTxHxK.astype(jnp.float32)
    first, second, rest = wide[..., :J], wide[..., J : 2 * J], wide[..., 2 * J :]
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)
    return turned.astype(x_BxTxHxK.dtype)


def alibi_slopes(heads: int) -> np.ndarray:
    """Penalty per token of distance for each head (Press et al. 2022, section 3).

    A geometric series for a power of two; otherwise that of the power below, then every second one of the power above.
    """
    below = 2 ** math.floor(math.log2(heads))
    series = [2.0 ** (-8.0 * (i + 1) / below) for i in range(below)]
    series += [2.0 ** (-4.0 * (i + 1) / below) for i in range(0, 2 * (heads - below), 2)]
    return np.asarray(series, np.float32)


def relative_buckets(distances: Array, *, buckets: int, farthest: int, both_sides: bool) -> Any:
    """Which bucket each distance (of a query after a key, any shape) is in, int32 (Raffel et al. 2020, section 2.1).

    Half of the buckets are for one distance each, 0 first; the others are as wide, in logarithms, up to the distance
    `farthest`, from which on all share the last one. On both sides, half of all buckets is for keys after the query; else
    these are at distance 0.
    """
    side = buckets // 2 if both_sides else buckets
    exact = side // 2
    apart = np.arange(farthest + 1, dtype=np.float32)
    # In the float32 steps of the published networks: where a logarithm meets a border, its rounding decides.
    ratio = np.log(np.maximum(apart, 1) / np.float32(exact)) / np.float32(math.log(farthest / exact))
    wide = exact + (ratio * np.float32(side - exact)).astype(np.int32)
    of_distance = np.where(apart < exact, apart.astype(np.int32), np.minimum(wide, side - 1))
    size = jnp.abs(distances) if both_sides else jnp.maximum(distances, 0)
    found = jnp.asarray(of_distance, jnp.int32)[jnp.minimum(size, farthest)]
    return found + side * (distances < 0) if both_sides else found


class Position(NamedTuple):
    """Where a scheme acts; one of these, or none of them."""

    added: Callable[..., Any] | None = None  # (positions_BxT, width) -> B x T x D, to the embedding
    learned: bool = False  # to the embedding too, from a table of parameters
    rotated: Callable[..., Any] | None = None  # (x_BxTxHxK, positions_BxT, rates_J=) -> like x, on queries and keys
    slopes: Callable[[int], np.ndarray] | None = None  # heads -> H, times the distance, off the attention logits
    bucketed: bool = False  # to the attention logits, a parameter for each head and bucket of distances


POSITIONS = {
    'sinusoidal': Position(added=sinusoidal),
    'learned': Position(learned=True),
    'rotary': Position(rotated=rotate),
    'alibi': Position(slopes=alibi_slopes),
    'relative': Position(bucketed=True),
    'none': Position(),
}
