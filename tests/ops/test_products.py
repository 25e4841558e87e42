"""Products in the forms that run fast are the same products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.products import product, repeat_rows, row_sums, sum_over_rows


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('inner', [3, 9])
def test_product_and_its_gradients(transposed, inner):
    x, w, weigh = draw(2, 4, 5), draw(5, inner, seed=1), draw(2, 4, inner, seed=2)
    stored = w.T if transposed else w

    def fast(x, stored):
        return (product(x, stored, transposed=transposed) * weigh).sum()

    def plain(x, w):
        return (jnp.einsum('btd,df->btf', x, w) * weigh).sum()

    np.testing.assert_allclose(fast(x, stored), plain(x, w), rtol=1e-5)
    dx, dstored = jax.grad(fast, (0, 1))(x, stored)
    expected_dx, expected_dw = jax.grad(plain, (0, 1))(x, w)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dstored.T if transposed else dstored, expected_dw, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('inner', [6, 7])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_one_row_is_a_row_of_many(inner, dtype):
    x, w = draw(4, inner).astype(dtype), draw(inner, 5, seed=1).astype(dtype)
    alone = product(x[2:3], w)
    assert alone.dtype == dtype
    np.testing.assert_allclose(
        *(y.astype('float32') for y in (alone[0], product(x, w)[2])), rtol=1e-5 if dtype == 'float32' else 2e-2
    )


@pytest.mark.parametrize('widths', [(3, 5), (5, 3)])
@pytest.mark.parametrize('batch', [0, 2])
def test_sum_over_rows(widths, batch):
    lead = (2, 3)[:batch]
    a, b = draw(*lead, 7, widths[0]), draw(*lead, 7, widths[1], seed=1)
    np.testing.assert_allclose(sum_over_rows(a, b, batch), jnp.einsum('...cm,...cn->...mn', a, b), rtol=1e-5, atol=1e-6)


def test_repeated_rows_and_their_gradient():
    x, weigh = draw(3, 2), draw(4, 3, 2, seed=1)
    np.testing.assert_array_equal(repeat_rows(x, 4), jnp.stack([x] * 4))
    np.testing.assert_allclose(jax.grad(lambda x: (repeat_rows(x, 4) * weigh).sum())(x), weigh.sum(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('width', [1, 7, 100])
def test_row_sums_and_their_gradient(width):
    x, weigh = draw(2, 3, width) + 10, draw(2, 3, 1, seed=1)
    np.testing.assert_allclose(row_sums(x), x.sum(-1, keepdims=True), rtol=1e-6)
    assert row_sums(x.astype(jnp.bfloat16)).dtype == jnp.float32
    grad = jax.grad(lambda x: (row_sums(x) * weigh).sum())(x)
    np.testing.assert_allclose(grad, jnp.broadcast_to(weigh, x.shape), rtol=1e-6)
