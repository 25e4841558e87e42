"""Muon's matrices: which dimensions they are made of, and what orthogonalisation does to them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lmjax.optim.orthogonal import ITERATIONS, NEWTON_SCHULZ, matrix_dims, muon, newton_schulz, orthogonalize


@pytest.mark.parametrize(
    ('axes', 'dims'),
    [
        (('embed', 'mlp'), ((0,), (1,))),
        (('layers', 'embed', 'mlp'), ((1,), (2,))),
        (('layers', 'embed', 'heads', 'head_width'), ((1,), (2, 3))),
        (('kv_heads', 'head_width', 'embed'), ((0, 1), (2,))),
        (('embed', None, 'heads', 'head_width'), ((0,), (2, 3))),
        (('layers', None, 'hidden', 'gates'), ((2,), (3,))),
        ((None, None), ((0,), (1,))),
        (('vocab', 'embed'), None),
        (('embed', 'vocab'), None),
        (('positions', 'embed'), None),
        (('layers', 'heads', 'head_width'), None),
        (('layers', 'embed'), None),
        ((), None),
    ],
    ids=str,
)
def test_the_dimensions_of_a_matrix(axes, dims):
    assert matrix_dims(axes) == dims


def random(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def singular(matrix):
    return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)


@pytest.mark.parametrize('shape', [(6, 6), (4, 16), (16, 4)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    x = random(0, (3, *shape))
    y = jax.jit(newton_schulz)(x)
    assert y.shape == x.shape
    for before, after in zip(x, y, strict=True):
        values = singular(after)
        assert values.max() < 1.3
        assert values.min() > 0.3
        left, _, right = np.linalg.svd(np.asarray(before, np.float64), full_matrices=False)
        rotated = left.T @ np.asarray(after, np.float64) @ right.T
        np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=2e-5)  # the same singular vectors
        assert (np.diag(rotated) > 0).all()


def literal(matrix):
    """The iteration as published, one matrix at a time."""
    a, b, c = NEWTON_SCHULZ
    x = np.asarray(matrix, np.float64)
    x = x / np.linalg.norm(x)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x * 0.2 * np.sqrt(max(x.shape))


def test_heads_of_every_layer_are_one_matrix():
    x = random(1, (2, 3, 5, 2))  # layers, heads, head width, embed
    y = jax.jit(lambda x: orthogonalize(x, (1, 2), (3,)))(x)
    wanted = np.stack([literal(layer.reshape(15, 2)).reshape(3, 5, 2) for layer in np.asarray(x)])
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('batch', [0, 1, 2])
def test_other_dimensions_count_separate_matrices(batch):
    x = random(2, (4, 3, 6))
    rows, columns = (dim for dim in range(3) if dim != batch)
    y = jax.jit(lambda x: orthogonalize(x, (rows,), (columns,)))(x)
    wanted = np.stack([literal(matrix) for matrix in np.moveaxis(x, batch, 0)], axis=batch)
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-6)


def test_momentum_is_nesterov_s():
    grads = random(5, (3, 5, 8))
    tx = muon({'w': ('embed', 'mlp')}, momentum=0.7, others=optax.identity())
    update, state = jax.jit(tx.update), tx.init({'w': jnp.zeros((5, 8))})
    trace = np.zeros((5, 8))
    for grad in grads:
        updates, state = update({'w': grad}, state)
        trace = 0.7 * trace + grad
        np.testing.assert_allclose(updates['w'], literal(0.7 * trace + grad), rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(not hasattr(optax.contrib, 'MuonDimensionNumbers'), reason='this optax has no consistent_rms')
def test_equals_the_muon_of_optax_where_that_sees_a_matrix():
    params = {'w': random(3, (5, 8))}
    mine = optax.chain(muon({'w': ('embed', 'mlp')}, momentum=0.9, others=optax.identity()), optax.scale(-0.1))
    theirs = optax.contrib.muon(0.1, beta=0.9, consistent_rms=0.2)
    grads = {'w': random(4, (5, 8))}
    # the first step alone: optax corrects momentum for its start, which the scale of orthogonalisation makes void then
    updates = [jax.jit(lambda tx=tx: tx.update(grads, tx.init(params), params)[0])() for tx in (mine, theirs)]
    np.testing.assert_allclose(updates[0]['w'], updates[1]['w'], atol=1e-6)


def test_a_zero_matrix_stays_zero():
    assert not np.asarray(jax.jit(newton_schulz)(jnp.zeros((1, 3, 4)))).any()
