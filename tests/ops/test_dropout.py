"""Dropout: the right rate, no bias, independent of the batch, and noise without pattern."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.dropout import dropout, fold_name


def kept(keys, shape, rate=0.5):
    return np.asarray(dropout(jnp.ones((len(keys), *shape)), keys, rate)) > 0


def test_rate_and_scale():
    out = np.asarray(dropout(jnp.ones((4, 100, 100)), jax.random.split(jax.random.key(0), 4), 0.3))
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.7)}
    sigma = (0.3 * 0.7 / out.size) ** 0.5
    assert abs((out == 0).mean() - 0.3) < 5 * sigma


def test_rate_zero_changes_nothing_and_the_rate_may_be_traced():
    x, keys = jnp.arange(12.0).reshape(2, 6), jax.random.split(jax.random.key(0), 2)
    traced = jax.jit(dropout)
    np.testing.assert_array_equal(traced(x, keys, 0.0), x)
    np.testing.assert_array_equal(traced(x, keys, 0.5), dropout(x, keys, 0.5))


@pytest.mark.parametrize('other', ['row', 'name', 'number'])
def test_noise_of_rows_names_and_layers_is_uncorrelated(other):
    """Agreement of two masks of n fair coins is n/2 give or take sqrt(n)/2."""
    first, second = (jax.random.key(i)[None] for i in range(2))
    keys = {
        'row': (first, second),
        'name': (fold_name(first, 'attention'), fold_name(first, 'feed_forward')),
        'number': (fold_name(first, 0), fold_name(first, 1)),
    }[other]
    a, b = (kept(k, (200, 200)) for k in keys)
    assert abs((a == b).mean() - 0.5) < 5 * 0.5 / 200


def test_neighbours_within_a_mask_are_uncorrelated():
    mask = kept(jax.random.key(0)[None], (512, 512))[0].astype(float) - 0.5
    for shift in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 16), (16, 0), (0, 256), (256, 0)):
        correlation = (mask * np.roll(mask, shift, (0, 1))).mean() * 4
        assert abs(correlation) < 5 / 512, shift
    rows, columns = mask.mean(1), mask.mean(0)
    assert max(abs(rows).max(), abs(columns).max()) < 5 * 0.5 / 512**0.5


def test_a_rows_noise_does_not_depend_on_its_batch():
    keys = jax.random.split(jax.random.key(0), 4)
    np.testing.assert_array_equal(kept(keys, (7,))[2:], kept(keys[2:], (7,)))
