"""Counted operations against closed forms, loops multiplied out."""

import jax
import jax.numpy as jnp
import pytest

from lmjax.ops.flops import count_flops, flops_by_scope

A, B = jax.ShapeDtypeStruct((3, 4), jnp.float32), jax.ShapeDtypeStruct((4, 5), jnp.float32)
SQUARE = jax.ShapeDtypeStruct((4, 4), jnp.float32)


def test_a_product_is_two_operations_for_each_multiply_add():
    assert count_flops(jnp.matmul, A, B) == 2 * 3 * 4 * 5


def test_batches_count():
    x = jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)
    assert count_flops(lambda x: jnp.einsum('bik,bjk->bij', x, x), x) == 2 * 2 * 3 * 3 * 4


def test_gradients_of_a_product_cost_two_more():
    squared = jax.value_and_grad(lambda a, b: ((a @ b) ** 2).sum(), (0, 1))
    assert count_flops(squared, A, B) == 3 * (2 * 3 * 4 * 5)


def test_scanned_is_unrolled():
    def loop(a, w):
        for _ in range(6):
            a = jnp.tanh(a @ w)
        return a

    def scan(a, w):
        return jax.lax.scan(lambda a, _: (jnp.tanh(a @ w), None), a, None, length=6)[0]

    assert count_flops(scan, A, SQUARE) == count_flops(loop, A, SQUARE) == 6 * 2 * 3 * 4 * 4
    nested = jax.vmap(lambda a, w: scan(scan(a, w), w), (0, None))
    assert count_flops(nested, jax.ShapeDtypeStruct((5, 3, 4), jnp.float32), SQUARE) == 5 * 12 * 2 * 3 * 4 * 4


def test_inner_functions_are_entered():
    @jax.custom_vjp
    def product(a, w):
        return jax.jit(jnp.matmul)(a, w)

    product.defvjp(lambda a, w: (product(a, w), None), lambda _, g: (g, g))
    assert count_flops(jax.checkpoint(product), A, SQUARE) == 2 * 3 * 4 * 4


def test_rematerialisation_is_work():
    def deep(a, w):
        return jnp.sin(jnp.sin(a @ w) @ w).sum()

    kept, again = (count_flops(jax.grad(f), A, SQUARE) for f in (deep, jax.checkpoint(deep)))
    assert again > kept


def test_a_branch_costs_the_dearest():
    def either(a, w):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ w, lambda: a @ w @ w)

    assert count_flops(either, A, SQUARE) == 2 * (2 * 3 * 4 * 4)


@pytest.mark.parametrize('groups', [1, 2])
def test_convolutions_count(groups):
    def convolve(x, k):
        return jax.lax.conv_general_dilated(x, k, (1,), 'VALID', feature_group_count=groups)

    x, k = jax.ShapeDtypeStruct((2, 4, 9), jnp.float32), jax.ShapeDtypeStruct((6, 4 // groups, 3), jnp.float32)
    assert count_flops(convolve, x, k) == 2 * (2 * 6 * 7) * (4 // groups * 3)


def test_scopes_hold_what_stands_in_them_loops_included():
    def f(a, w):
        with jax.named_scope('outer'):
            a = jax.lax.scan(jax.named_scope('inner')(lambda a, _: (a @ w, None)), a, None, length=6)[0]
            a = jax.checkpoint(lambda a: a @ w)(a)
        return a @ w

    one = 2 * 3 * 4 * 4
    found = flops_by_scope(f, A, SQUARE)
    assert sum(found.values()) == 8 * one
    assert found['outer/inner'] == 6 * one
    assert sum(flops for scope, flops in found.items() if scope.startswith('outer')) == 7 * one
