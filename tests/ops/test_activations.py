"""Activations and their derivatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.activations import ACTIVATIONS

X = np.linspace(-6.0, 6.0, 97)
FORMULAS = {
    'relu': lambda x: max(x, 0.0),
    'gelu': lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    'gelu_tanh': lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    'silu': lambda x: x / (1 + math.exp(-x)),
    'squared_relu': lambda x: max(x, 0.0) ** 2,
    'identity': lambda x: x,
}


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_value_and_slope(name):
    f, formula = ACTIVATIONS[name], np.vectorize(FORMULAS[name])
    np.testing.assert_allclose(f(jnp.asarray(X, jnp.float32)), formula(X), rtol=1e-5, atol=2e-6)
    inner = X[np.abs(X) > 0.05]  # ReLU has no slope at 0
    slopes = jax.vmap(jax.grad(f))(jnp.asarray(inner, jnp.float32))
    np.testing.assert_allclose(slopes, (formula(inner + 1e-5) - formula(inner - 1e-5)) / 2e-5, rtol=1e-4, atol=1e-5)


def test_gelu_has_a_second_derivative():
    second = jax.grad(jax.grad(ACTIVATIONS['gelu']))(0.5)
    pdf = math.exp(-0.125) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(second, pdf * (2 - 0.25), rtol=1e-5)
