"""Position schemes against their defining equations."""

import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.positions import alibi_slopes, rotate, sinusoidal


@pytest.mark.parametrize('width', [6, 7])
def test_sinusoidal_is_the_papers_formula(width):
    actual = sinusoidal(jnp.asarray([[0, 1, 9]]), width)[0]
    for t, position in enumerate([0, 1, 9]):
        for i in range(width):
            angle = position / 10000 ** (2 * (i // 2) / width)
            np.testing.assert_allclose(actual[t, i], np.cos(angle) if i % 2 else np.sin(angle), rtol=1e-5, atol=1e-6)


def test_rotation_turns_pairs_by_the_papers_angles():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 3, 2, 6)), jnp.float32)
    actual = rotate(x, jnp.asarray([[0, 1, 5]]), base=100.0)
    for t, position in enumerate([0, 1, 5]):
        for i in range(3):
            z = (x[0, t, :, i] + 1j * x[0, t, :, i + 3]) * np.exp(1j * position * 100.0 ** (-2 * i / 6))
            np.testing.assert_allclose(actual[0, t, :, i], z.real, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(actual[0, t, :, i + 3], z.imag, rtol=1e-5, atol=1e-6)


def test_rotated_products_depend_on_distance_alone():
    q, k = (jnp.asarray(np.random.default_rng(i).standard_normal((1, 1, 1, 8)), jnp.float32) for i in range(2))

    def product(t, s):
        return (rotate(q, jnp.asarray([[t]]), base=1e4) * rotate(k, jnp.asarray([[s]]), base=1e4)).sum()

    np.testing.assert_allclose(product(7, 4), product(103, 100), rtol=1e-4)
    assert abs(product(7, 4) - product(7, 5)) > 1e-3


def test_alibi_slopes_of_a_power_of_two_and_between():
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    np.testing.assert_allclose(alibi_slopes(3), [2.0**-4, 2.0**-8, 2.0**-2])
    np.testing.assert_allclose(alibi_slopes(12)[8:], [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5])
