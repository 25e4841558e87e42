"""Normalisation of the last axis. Statistics are float32 whatever the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.ops.products import row_sums

if TYPE_CHECKING:
    from lmjax.types import Array


def layer_norm(x: Array, scale: Array | None, bias: Array | None, *, eps: float) -> Any:
    """(x - mean) / sqrt(variance + eps) * scale + bias (Ba et al. 2016)."""
    wide = x.astype(jnp.float32)
    centred = wide - row_sums(wide) / x.shape[-1]
    return _affine(centred * jax.lax.rsqrt(row_sums(jnp.square(centred)) / x.shape[-1] + eps), scale, bias, x.dtype)


def rms_norm(x: Array, scale: Array | None, bias: Array | None = None, *, eps: float) -> Any:
    """x / sqrt(mean of squares + eps) * scale (Zhang and Sennrich 2019, eq. 4)."""
    wide = x.astype(jnp.float32)
    return _affine(wide * jax.lax.rsqrt(row_sums(jnp.square(wide)) / x.shape[-1] + eps), scale, bias, x.dtype)


def rms_norm_plus_one(x: Array, scale: Array | None, bias: Array | None = None, *, eps: float) -> Any:
    """RMS norm whose gain is 1 + scale, so that weight decay pulls it to 1 (Gemma, Riviere et al. 2024)."""
    return rms_norm(x, None if scale is None else 1.0 + scale, bias, eps=eps)


def no_norm(x: Array, scale: Array | None = None, bias: Array | None = None, *, eps: float = 0.0) -> Any:
    """x itself."""
    return x


def _affine(unit: Array, scale: Array | None, bias: Array | None, dtype: Any) -> Any:
    shape = (1,) * (unit.ndim - 1) + (-1,)
    if scale is not None:
        unit = unit * scale.reshape(shape)
    if bias is not None:
        unit = unit + bias.reshape(shape)
    return unit.astype(dtype)


class Norm(NamedTuple):
    """A norm and which parameters it has, each as wide as its input."""

    function: Callable[..., Any]  # (x, scale, bias, *, eps) -> like x
    has_scale: bool = True
    has_bias: bool = False  # only made where the config asks for biases
    first_scale: float = 1.0  # what the scale starts from


NORMS = {
    'layer': Norm(layer_norm, has_bias=True),
    'rms': Norm(rms_norm),
    'rms_plus_one': Norm(rms_norm_plus_one, first_scale=0.0),
    'none': Norm(no_norm, has_scale=False),
}
