"""Position schemes against their defining equations."""

import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.positions import ROTARY_SCALINGS, alibi_slopes, rotary_rates, rotate, sinusoidal


@pytest.mark.parametrize('width', [6, 7])
def test_sinusoidal_is_the_papers_formula(width):
    actual = sinusoidal(jnp.asarray([[0, 1, 9]]), width)[0]
    for t, position in enumerate([0, 1, 9]):
        for i in range(width):
            angle = position / 10000 ** (2 * (i // 2) / width)
            np.testing.assert_allclose(actual[t, i], np.cos(angle) if i % 2 else np.sin(angle), rtol=1e-5, atol=1e-6)


def test_rotation_turns_pairs_by_the_papers_angles():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 3, 2, 6)), jnp.float32)
    actual = rotate(x, jnp.asarray([[0, 1, 5]]), rates_J=rotary_rates(6, base=100.0))
    for t, position in enumerate([0, 1, 5]):
        for i in range(3):
            z = (x[0, t, :, i] + 1j * x[0, t, :, i + 3]) * np.exp(1j * position * 100.0 ** (-2 * i / 6))
            np.testing.assert_allclose(actual[0, t, :, i], z.real, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(actual[0, t, :, i + 3], z.imag, rtol=1e-5, atol=1e-6)


def test_rotated_products_depend_on_distance_alone():
    q, k = (jnp.asarray(np.random.default_rng(i).standard_normal((1, 1, 1, 8)), jnp.float32) for i in range(2))

    def product(t, s):
        rates_J = rotary_rates(8, base=1e4)
        return (rotate(q, jnp.asarray([[t]]), rates_J=rates_J) * rotate(k, jnp.asarray([[s]]), rates_J=rates_J)).sum()

    np.testing.assert_allclose(product(7, 4), product(103, 100), rtol=1e-4)
    assert abs(product(7, 4) - product(7, 5)) > 1e-3


def test_a_part_of_the_channels_is_rotated_and_the_rest_passes():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 3, 2, 10)), jnp.float32)
    positions, rates_J = jnp.asarray([[0, 1, 5]]), rotary_rates(4, base=100.0)
    actual = rotate(x, positions, rates_J=rates_J)
    np.testing.assert_array_equal(actual[..., 4:], x[..., 4:])
    np.testing.assert_array_equal(actual[..., :4], rotate(x[..., :4], positions, rates_J=rates_J))


def test_scalings_stretch_what_they_say():
    rates_J = rotary_rates(128, base=500_000.0)
    settings = {'factor': 8.0, 'low': 1.0, 'high': 4.0, 'original': 8192}
    np.testing.assert_array_equal(ROTARY_SCALINGS['none'](rates_J, **settings), rates_J)
    np.testing.assert_array_equal(ROTARY_SCALINGS['linear'](rates_J, **settings), rates_J / 8)
    ratio_J = ROTARY_SCALINGS['llama3'](rates_J, **settings) / rates_J
    turns_J = 8192 * rates_J / (2 * np.pi)
    np.testing.assert_array_equal(ratio_J[turns_J > 4], 1.0)
    np.testing.assert_allclose(ratio_J[turns_J < 1], 1 / 8)
    between_J = ratio_J[(turns_J > 1) & (turns_J < 4)]
    assert len(between_J) > 2
    assert (np.diff(between_J) < 0).all()
    middle = ROTARY_SCALINGS['llama3'](np.array([2.5 * 2 * np.pi / 8192]), **settings) * 8192 / (2 * np.pi)
    np.testing.assert_allclose(middle, 2.5 * (0.5 + 0.5 / 8))


def test_alibi_slopes_of_a_power_of_two_and_between():
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    np.testing.assert_allclose(alibi_slopes(3), [2.0**-4, 2.0**-8, 2.0**-2])
    np.testing.assert_allclose(alibi_slopes(12)[8:], [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5])
