"""Norms against their formulas in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.norms import NORMS, layer_norm, rms_norm, rms_norm_plus_one

X = np.random.default_rng(0).standard_normal((3, 5)) * 2 + 1
SCALE, BIAS = np.linspace(0.5, 1.5, 5), np.linspace(-1, 1, 5)


def f32(x):
    return jnp.asarray(x, jnp.float32)


def test_layer_norm():
    expected = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 0.1) * SCALE + BIAS
    np.testing.assert_allclose(layer_norm(f32(X), f32(SCALE), f32(BIAS), eps=0.1), expected, rtol=1e-5, atol=1e-6)


def test_rms_norm():
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1) * SCALE
    np.testing.assert_allclose(rms_norm(f32(X), f32(SCALE), eps=0.1), expected, rtol=1e-5, atol=1e-6)


def test_a_gain_of_one_plus_scale():
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1) * (1 + SCALE)
    np.testing.assert_allclose(rms_norm_plus_one(f32(X), f32(SCALE), eps=0.1), expected, rtol=1e-5, atol=1e-6)


def test_layer_norm_of_large_numbers_keeps_its_precision():
    """A variance by E[x^2] - E[x]^2 would be lost."""
    actual = layer_norm(f32(X[:, :2] + 3000.0), None, None, eps=0.0)
    np.testing.assert_allclose(jnp.abs(actual), np.ones((3, 2)), rtol=1e-3)


@pytest.mark.parametrize('name', NORMS)
def test_statistics_are_float32_and_the_result_is_as_the_input(name):
    row = NORMS[name]
    x = f32(X).astype(jnp.bfloat16)
    narrow, wide = (row.function(y, f32(SCALE) if row.has_scale else None, None, eps=1e-5) for y in (x, x.astype(jnp.float32)))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_array_equal(narrow, wide.astype(jnp.bfloat16))
