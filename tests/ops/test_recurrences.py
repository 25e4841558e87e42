"""The cells against their formulas in NumPy, and the scan's own backward pass against plain autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.recurrences import CELLS, Weights, recur

T, B, H = 6, 3, 4
every_cell = pytest.mark.parametrize('name', CELLS)
VARIANTS = {
    'plain': (False, False),
    'restarts': (True, False),
    'restarts_learned': (True, True),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    'rnn': lambda x, h, s: (np.tanh(x + h),),
    'lstm': lambda x, h, s: lstm(*np.split(x + h, 4, -1), s[1]),
    'gru': lambda x, h, s: gru(np.split(x, 3, -1), np.split(h, 3, -1), s[0]),
}


def lstm(i, f, g, o, c):
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, h, state):
    r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
    return ((1 - z) * np.tanh(x[2] + r * h[2]) + z * state,)


def example(name, restarts=False, learned=False):
    cell, keys = CELLS[name], iter(jax.random.split(jax.random.key(1), 9))
    normal = lambda *shape: jax.random.normal(next(keys), shape)  # noqa: E731
    x = normal(T, B, cell.gates * H)
    bias = None if cell.additive else normal(cell.gates * H)
    initial = tuple(normal(H) for _ in cell.carries) if learned else None
    state = tuple(normal(B, H) for _ in cell.carries)
    restart = jnp.asarray(np.random.default_rng(0).random((T, B)) < 0.3) if restarts else None
    return cell, x, Weights(normal(H, cell.gates * H), bias, initial), state, restart


def one_by_one(name, x, weights, state, restart):
    """The textbook's loop, in float64."""
    x, weights, state, restart = jax.tree.map(np.asarray, (x, weights, state, restart))
    out = []
    for t in range(T):
        if restart is not None:
            start = weights.initial or (np.zeros(H),) * len(state)
            state = tuple(np.where(restart[t][:, None], s, old) for s, old in zip(start, state, strict=True))
        h = state[0].astype(np.float64) @ weights.hidden + (0 if weights.bias is None else weights.bias)
        state = FORMULAS[name](x[t].astype(np.float64), h, state)
        out.append(state[0])
    return np.stack(out), state


def by_autodiff(cell, x, weights, state, restart):
    """The same loop for JAX to differentiate."""
    out = []
    for t in range(T):
        if restart is not None:
            start = weights.initial or (jnp.zeros(H),) * len(state)
            state = tuple(jnp.where(restart[t][:, None], s[None], old) for s, old in zip(start, state, strict=True))
        h = state[0] @ weights.hidden
        state = cell.step(x[t], h if weights.bias is None else h + weights.bias[None], state)
        out.append(state[0])
    return jnp.stack(out), state


@every_cell
@pytest.mark.parametrize('variant', VARIANTS)
def test_a_cell_follows_its_formula(name, variant):
    cell, x, weights, state, restart = example(name, *VARIANTS[variant])
    hidden, last = jax.jit(lambda *a: recur(cell, *a[:3], restart_TxB=a[3]))(x, weights, state, restart)
    expected_hidden, expected_last = one_by_one(name, x, weights, state, restart)
    np.testing.assert_allclose(hidden, expected_hidden, rtol=2e-5, atol=2e-6)
    for one, other in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@every_cell
@pytest.mark.parametrize('variant', VARIANTS)
def test_gradients_are_those_of_autodiff(name, variant):
    """With respect to inputs, weights, bias, first state and learned initial state; the last state counts too."""
    cell, x, weights, state, restart = example(name, *VARIANTS[variant])
    cotangent = jax.random.normal(jax.random.key(9), (1 + len(state), T, B, H))

    def weighed(run):
        def total(x, weights, state):
            hidden, last = run(x, weights, state)
            return (hidden * cotangent[0]).sum() + sum((a * b[0]).sum() for a, b in zip(last, cotangent[1:], strict=True))

        return jax.jit(jax.grad(total, (0, 1, 2)))(x, weights, state)

    actual = weighed(lambda *a: recur(cell, *a, restart_TxB=restart))
    expected = weighed(lambda *a: by_autodiff(cell, *a, restart))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), actual, expected)
    assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(actual))


def loops(jaxpr):
    """The bodies of all scans in a jaxpr."""
    for equation in jaxpr.eqns:
        for param in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr')):
            inner = getattr(param, 'jaxpr', param)
            if hasattr(inner, 'eqns'):
                if equation.primitive.name == 'scan':
                    yield inner
                yield from loops(inner)


def shapes_made(jaxpr):
    return {out.aval.shape for equation in jaxpr.eqns for out in equation.outvars}


@every_cell
def test_no_loop_makes_a_gradient_of_the_weights(name):
    """It is one product after the loop; plain autodiff would make and add one at every step."""
    cell, x, weights, state, _ = example(name)

    def bodies(run):
        return list(loops(jax.make_jaxpr(jax.grad(lambda w: run(w)[0].sum()))(weights).jaxpr))

    def scanned(w):
        step = lambda s, x: ((new := cell.step(x, s[0] @ w.hidden, s)), new[0])  # noqa: E731
        return jax.lax.scan(step, state, x)[::-1]

    ours = bodies(lambda w: recur(cell, x, w, state))
    assert len(ours) == 2
    assert not any({weights.hidden.shape, weights.hidden.shape[::-1]} & shapes_made(body) for body in ours)
    assert any(weights.hidden.shape in shapes_made(body) for body in bodies(scanned))


def test_half_precision_weights_keep_the_state_in_float32():
    cell, x, weights, state, _ = example('lstm')
    half = weights._replace(hidden=weights.hidden.astype(jnp.bfloat16))
    (hidden, last), pull = jax.vjp(lambda w: recur(cell, x, w, state), half)
    assert hidden.dtype == last[1].dtype == jnp.float32
    expected, _ = recur(cell, x, weights, state)
    np.testing.assert_allclose(hidden, expected, atol=0.05)
    (grads,) = pull((jnp.ones_like(hidden), jax.tree.map(jnp.zeros_like, last)))
    assert grads.hidden.dtype == jnp.bfloat16
