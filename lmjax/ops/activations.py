"""Elementwise nonlinearities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from lmjax.types import Array


def identity(x: Array) -> Any:
    return x


def gelu(x: Array) -> Any:
    """x times the standard normal distribution function of x (Hendrycks and Gimpel 2016); exact, not the tanh form."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Any:
    """The tanh approximation of GELU that GPT-2 uses."""
    return jax.nn.gelu(x, approximate=True)


def squared_relu(x: Array) -> Any:
    """max(x, 0)^2 (So et al. 2021)."""
    return jnp.square(jax.nn.relu(x))


ACTIVATIONS = {
    'relu': jax.nn.relu,
    'gelu': gelu,
    'gelu_tanh': gelu_tanh,
    'silu': jax.nn.silu,
    'squared_relu': squared_relu,
    'identity': identity,
}
