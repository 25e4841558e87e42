"""What is particular to recurrent networks; what holds for every network is in tests/test_laws.py."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import RecurrentConfig
from lmjax.models.params import count_params
from lmjax.types import Inputs

VOCAB, TIME = 11, 6
TINY = RecurrentConfig(cell='lstm', embedding=6, hidden=8, depth=2)


@lru_cache
def model_and_params(**changes):
    """TINY with some fields changed; made once for all tests."""
    model = build(dataclasses.replace(TINY, **changes), vocab_size=VOCAB, seq_len=TIME)
    return model, jax.jit(lambda key: model.init(key, {}))(jax.random.key(0))


def made(**changes):
    model, params = model_and_params(**changes)
    return model, jax.tree.map(lambda x: x, params)  # tests may replace leaves


def hidden_of(model, params, ids):
    return jax.jit(lambda p: model.apply(p, Inputs(ids)).hidden)(params)


def tokens(rows=2, time=TIME):
    return jax.random.randint(jax.random.key(3), (rows, time), 0, VOCAB)


def shapes_of(config, vocab_size):
    model = build(config, vocab_size=vocab_size, seq_len=TIME)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), {}))


def test_parameter_counts_are_the_published_ones():
    assert count_params(shapes_of(RecurrentConfig(cell='lstm', embedding=256, hidden=512, depth=2), 10_000)) == 11_364_112
    assert count_params(shapes_of(RecurrentConfig(cell='lstm', embedding=0, hidden=128, depth=1), 85)) == 120_533
    # three gates, and one bias more inside the candidate's reset gate
    gru = RecurrentConfig(cell='gru', embedding=6, hidden=8, depth=1, head_bias=False)
    assert count_params(shapes_of(gru, VOCAB)) == 11 * 6 + 3 * 8 * (6 + 8 + 1) + 8 + 8 * 11
    learned = dataclasses.replace(TINY, initial_state='learned')
    assert count_params(shapes_of(learned, VOCAB)) - count_params(shapes_of(TINY, VOCAB)) == 2 * 2 * 8


def test_one_hot_input_is_the_row_of_a_matrix():
    """W_xh x for a one-hot x, against the network whose embedding is the identity."""
    model, params = made(embedding=0, depth=1)
    wide = build(dataclasses.replace(TINY, embedding=VOCAB, depth=1), vocab_size=VOCAB, seq_len=TIME)
    expected = hidden_of(wide, params | {'embedding': {'tokens': jnp.eye(VOCAB)}}, tokens())
    np.testing.assert_allclose(hidden_of(model, params, tokens()), expected, rtol=1e-5, atol=1e-6)


def test_uniform_initialisation_is_within_the_inverse_root():
    _, params = made(hidden=64)
    for leaf in jax.tree.leaves([params['layers'], params['head']]):
        assert 0.95 / 8 < jnp.abs(leaf).max() <= 1 / 8


def test_orthogonal_initialisation_and_forget_bias():
    _, params = made(init='orthogonal', forget_bias=1.0)
    for layer in params['layers'].values():
        for gate in jnp.split(layer['w_h'], 4, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-5)
        np.testing.assert_array_equal(layer['b'], [0.0] * 8 + [1.0] * 8 + [0.0] * 16)
    gates = jnp.split(params['layers']['0']['w_h'], 4, axis=1)
    assert np.abs(gates[0] - gates[1]).max() > 0.1


def test_initial_scale_multiplies_matrices_only():
    model, params = made()
    half = jax.jit(lambda key: model.init(key, {'init_scale': 0.5}))(jax.random.key(0))
    for name in ('w_x', 'w_h', 'b'):
        expected = params['layers']['1'][name] * (1.0 if name == 'b' else 0.5)
        np.testing.assert_allclose(half['layers']['1'][name], expected, rtol=1e-6)


def test_two_windows_with_the_state_carried_are_one():
    model, params = made(cell='gru', initial_state='learned')
    params['layers']['0']['initial_h'] += 0.7
    ids = tokens(time=2 * TIME)
    apply = jax.jit(lambda ids, cache: model.apply(params, Inputs(ids), cache=cache))
    first = apply(ids[:, :TIME], model.init_cache(params, 2, 0))
    second = apply(ids[:, TIME:], first.cache)
    whole = hidden_of(model, params, ids)
    np.testing.assert_allclose(jnp.concatenate([first.hidden, second.hidden], axis=1), whole, rtol=1e-5, atol=1e-6)
    forgetful = apply(ids[:, TIME:], model.init_cache(params, 2, 0)).hidden
    assert np.abs(forgetful - second.hidden).max() > 1e-3
    assert jax.eval_shape(model.apply, params, Inputs(ids)).cache is None  # a state is handed out only where one came in


def test_a_row_restarts_where_its_segment_changes_also_across_windows():
    """The carried segment is compared with the window's first one; without segments nothing restarts."""
    model, params = made(initial_state='learned')
    params['layers']['1']['initial_c'] += 0.7
    ids = tokens()
    apply = jax.jit(lambda segments, cache: model.apply(params, Inputs(ids, segments=segments), cache=cache))
    cache = apply(jnp.full((2, TIME), 1), model.init_cache(params, 2, 0)).cache
    fresh = apply(None, model.init_cache(params, 2, 0)).hidden
    segments = jnp.stack([jnp.full(TIME, 1), jnp.full(TIME, 2)])
    carried = apply(segments, cache).hidden
    np.testing.assert_allclose(carried[1], fresh[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carried[0], apply(None, cache).hidden[0], rtol=1e-5, atol=1e-6)
    assert np.abs(carried[0] - fresh[0]).max() > 1e-3


def test_a_learned_initial_state_gets_gradients_from_every_start():
    model, params = made(initial_state='learned', depth=1)
    ids, segments = tokens(), jnp.asarray([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 1, 1]])

    @jax.jit
    def start(params, segments):
        def total(params):
            return model.apply(params, Inputs(ids, segments=segments)).hidden.sum()

        return jax.grad(total)(params)['layers']['0']['initial_h']

    assert np.abs(start(params, segments) - start(params, jnp.ones_like(segments))).max() > 1e-4


@pytest.mark.parametrize('cell', ['lstm', *(pytest.param(name, marks=pytest.mark.slow) for name in ('rnn', 'gru'))])
def test_gradients_against_finite_differences(cell):
    model, params = made(cell=cell, initial_state='learned', tied=True, embedding=8)
    ids, segments, keys = (
        tokens(),
        jnp.asarray([[0, 1, 1, 2, 2, 2], [1, 1, 1, 1, 2, 2]]),
        jax.random.split(jax.random.key(1), 2),
    )

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        output = model.apply(params, Inputs(ids, segments=segments), key=keys, hparams={'dropout': 0.3})
        return model.score(params, output.hidden, ids).logprob.sum()

    _, grads = loss(params)
    leaves, tree = jax.tree.flatten(params)
    directions = [
        jax.random.normal(jax.random.fold_in(jax.random.key(2), i), leaf.shape) for i, leaf in enumerate(leaves)
    ]  # each parameter in a direction of its own
    for i, (leaf, direction) in enumerate(zip(leaves, directions, strict=True)):
        step = 1e-2 * direction / jnp.linalg.norm(direction)
        moved = [jax.tree.unflatten(tree, [*leaves[:i], leaf + sign * step, *leaves[i + 1 :]]) for sign in (1, -1)]
        numeric = (loss(moved[0])[0] - loss(moved[1])[0]) / 2
        np.testing.assert_allclose((jax.tree.leaves(grads)[i] * step).sum(), numeric, rtol=2e-2, atol=2e-4)


def test_rematerialisation_changes_no_number():
    def grads(remat):
        model, params = made(remat=remat)

        def loss(params):
            return model.score(params, model.apply(params, Inputs(tokens())).hidden, tokens()).logprob.sum()

        jaxpr = jax.make_jaxpr(jax.grad(loss))(params)
        return jax.jit(jax.grad(loss))(params), str(jaxpr).count('scan[')

    (kept, scans), (again, more_scans) = grads('none'), grads('full')
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), again, kept)
    assert more_scans > scans


def test_half_precision_hidden_states_and_float32_logits():
    model, params = made(dtype='bfloat16')
    exact, _ = made()
    output = jax.jit(lambda p: model.apply(p, Inputs(tokens()), cache=model.init_cache(p, 2, 0)))(params)
    assert output.hidden.dtype == jnp.bfloat16
    assert output.cache['c'].dtype == jnp.float32
    assert jax.eval_shape(model.score, params, output.hidden).dtype == jnp.float32
    np.testing.assert_allclose(output.hidden.astype(jnp.float32), hidden_of(exact, params, tokens()), atol=0.02)


@pytest.mark.parametrize(
    ('changes', 'field'),
    [
        ({'cell': 'lstn'}, 'model.cell'),
        ({'init': 'xavier'}, 'model.init'),
        ({'initial_state': 'one'}, 'model.initial_state'),
        ({'remat': 'some'}, 'model.remat'),
        ({'dtype': 'float8'}, 'model.dtype'),
        ({'hidden': 0}, 'model.hidden'),
        ({'depth': 0}, 'model.depth'),
        ({'embedding': -1}, 'model.embedding'),
        ({'tied': True}, 'model.embedding'),
        ({'cell': 'gru', 'forget_bias': 1.0}, 'model.forget_bias'),
        ({'dropout': 1.0}, 'model.dropout'),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_by_name(changes, field):
    with pytest.raises(UsageError, match=f'^{field}=') as refusal:
        build(dataclasses.replace(TINY, **changes), vocab_size=VOCAB, seq_len=TIME)
    assert '\n' not in str(refusal.value)
