"""The laws of a training step: accumulation, meshes, replicas and one compilation, for attention and recurrence."""

import dataclasses
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lmjax import Config, DataConfig, MeshConfig, ObjectiveConfig, OptimConfig, RecurrentConfig, TrainConfig, TransformerConfig
from lmjax.models import build
from lmjax.objectives.table import OBJECTIVES
from lmjax.optim import build_optimizer
from lmjax.training.program import assemble
from lmjax.training.state import hparams_of, init_state
from lmjax.training.step import train_step
from lmjax.types import Batch, Inputs

VOCAB, TIME, ROWS = 16, 8, 8
MODELS = {
    'transformer': TransformerConfig(width=16, depth=1, heads=8, ff_width=32, dropout=0.2),
    'transformer_scanned': TransformerConfig(width=16, depth=2, heads=8, ff_width=32, scan_layers=True, remat='full'),
    'lstm': RecurrentConfig(cell='lstm', embedding=8, hidden=16, depth=2, dropout=0.2),
}
every_model = pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[] if name == 'transformer' else [pytest.mark.slow]) for name in MODELS]
)


def config_of(name, **mesh):
    return Config(
        seed=3,
        data=DataConfig(seq_len=TIME),
        model=MODELS[name],
        objective=ObjectiveConfig(label_smoothing=0.1, z_loss=1e-3),
        optim=OptimConfig(optimizer='adamw', learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0, ema=0.9, eps=1e-3),
        train=TrainConfig(steps=10, batch_size=ROWS),
        mesh=MeshConfig(**mesh),
    )


def batch_of(seed=0):
    """Rows with ragged weights, one of them all padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, VOCAB, (ROWS, TIME + 1)).astype(np.int32)
    lengths = np.array([8, 3, 0, 7, 8, 1, 5, 8])
    weights = (np.arange(TIME)[None] < lengths[:, None]).astype(np.float32)
    return Batch(Inputs(ids[:, :-1]), ids[:, 1:], weights)


def lone_step(name, accumulate=1):
    config = config_of(name)
    model = build(config.model, vocab_size=VOCAB, seq_len=TIME)
    make_tx = build_optimizer(config.optim, model.axes, steps=config.train.steps)
    step = partial(train_step, model, OBJECTIVES['causal'].loss, make_tx, accumulate=accumulate)
    init = partial(init_state, model, make_tx)
    return init, step, hparams_of(config)


@lru_cache
def after_one_step(name):
    """State and metrics of one step on one device, from the seed of `config_of`; made once for all laws."""
    init, step, hparams = lone_step(name)
    return jax.jit(step)(jax.jit(init)(jax.random.key(3), hparams), batch_of(), hparams)


def assert_close(actual, expected, rtol):
    def check(path, a, b):
        if jnp.issubdtype(b.dtype, jax.dtypes.prng_key):
            return
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(check, actual, expected)


@every_model
def test_accumulation_equals_one_batch(name):
    init, _, hparams = lone_step(name)
    state = jax.jit(init)(jax.random.key(3), hparams)
    for accumulate in (2, 4):
        _, step, _ = lone_step(name, accumulate)
        assert_close(jax.jit(step)(state, batch_of(), hparams), after_one_step(name), 2e-6)


MESHES = ({'data': 8}, {'fsdp': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 4}, {'data': 2, 'tensor': 4})
COVER = {('transformer', 1), ('transformer', 4)}
SLOW_COVER = {
    ('transformer', 0),
    ('lstm', 3),
    ('transformer', 2),
    ('transformer_scanned', 0),
    ('transformer_scanned', 2),
    ('lstm', 4),
}
GRID = [
    pytest.param(
        name,
        mesh,
        id=f'{name}-{mesh}',
        marks=[] if (name, i) in COVER else [pytest.mark.slow if (name, i) in SLOW_COVER else pytest.mark.full],
    )
    for name in MODELS
    for i, mesh in enumerate(MESHES)
]


@pytest.mark.parametrize(('name', 'mesh'), GRID)
def test_every_mesh_gives_the_same_step(name, mesh):
    state, metrics = after_one_step(name)
    program = assemble(config_of(name, **mesh), VOCAB)
    sharded, sharded_metrics = program.step(program.init(), program.place(batch_of()))
    np.testing.assert_allclose(sharded_metrics['loss'], metrics['loss'], rtol=1e-6)
    assert_close(sharded_metrics, metrics, 2e-6)
    assert_close(sharded.params, state.params, 2e-6)
    assert_close(sharded.ema, state.ema, 2e-6)


def test_what_is_compiled_ahead_is_what_runs():
    program = assemble(config_of('transformer', data=8), VOCAB)
    program.compile([TIME])
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **_: compiled.append(event))
    try:
        program.step(program.init(), program.place(batch_of()))
    finally:
        jax.monitoring.clear_event_listeners()
    assert not [event for event in compiled if 'backend_compile' in event]


@pytest.mark.parametrize('name', ['transformer', pytest.param('lstm', marks=pytest.mark.slow)])
def test_parameters_lie_as_declared(name):
    program = assemble(config_of(name, fsdp=2, tensor=4), VOCAB)
    state, _ = program.step(program.init(), program.place(batch_of()))
    split = 0
    for leaf, like in zip(jax.tree.leaves(state), jax.tree.leaves(program.like), strict=True):
        assert leaf.sharding.is_equivalent_to(like.sharding, leaf.ndim)
        split += not leaf.sharding.is_fully_replicated
    assert split > len(jax.tree.leaves(state.params))  # parameters, moments and averages


def test_data_parallel_by_shard_map_equals_the_sharded_step():
    """What pmap was for: the same step written per device, gradients summed by hand."""
    config = config_of('transformer', data=8)
    config.model = dataclasses.replace(config.model, dropout=0.0)
    program = assemble(config, VOCAB)
    batch = program.place(batch_of())
    params = program.init().params
    hparams = hparams_of(config)

    def total(params, batch):
        return OBJECTIVES['causal'].loss(program.model, params, batch, hparams, None)[0]

    def mean_grads(params, batch):
        return jax.value_and_grad(lambda p: total(p, batch) / batch.weights.sum())(params)

    def per_device(params, batch):
        weight = jax.lax.psum(batch.weights.sum(), 'data')
        local = jax.value_and_grad(lambda p: total(p, batch) / weight)(params)
        return jax.lax.psum(local, 'data')

    rows, everywhere = PartitionSpec('data'), PartitionSpec()
    mapped = jax.shard_map(per_device, mesh=program.mesh, in_specs=(everywhere, rows), out_specs=everywhere, check_vma=False)
    by_compiler = jax.jit(mean_grads, out_shardings=NamedSharding(program.mesh, everywhere))(params, batch)
    assert_close(jax.jit(mapped)(params, batch), by_compiler, 2e-6)


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow if name == 'transformer' else pytest.mark.full) for name in MODELS]
)  # the laws of networks have a fast one
def test_replicas_equal_their_lone_runs(name):
    init, step, hparams = lone_step(name)
    many = {**{key: jnp.full(3, value) for key, value in hparams.items()}, 'learning_rate': jnp.array([1e-2, 3e-3, 1e-3])}
    roots = jax.vmap(jax.random.key)(jnp.arange(3))
    states = jax.jit(jax.vmap(init))(roots, many)
    steps = jax.jit(jax.vmap(step, in_axes=(0, None, 0)))
    for seed in range(2):
        states, metrics = steps(states, batch_of(seed), many)
    for replica in range(3):
        own = {key: value[replica] for key, value in many.items()}
        state = jax.jit(init)(jax.random.key(replica), own)
        for seed in range(2):
            state, lone = jax.jit(step)(state, batch_of(seed), own)
        np.testing.assert_allclose(metrics['loss'][replica], lone['loss'], rtol=2e-6)
        assert_close(jax.tree.map(lambda x, i=replica: x[i], states.params), state.params, 5e-6)


def test_steps_compile_once():
    init, step, hparams = lone_step('transformer')
    traced = []

    def counted(*args):
        traced.append(1)
        return step(*args)

    compiled = jax.jit(counted)
    state = jax.jit(init)(jax.random.key(0), hparams)
    for seed in range(3):
        state, _ = compiled(state, batch_of(seed), {**hparams, 'learning_rate': 1e-3 * (seed + 1)})
    assert len(traced) == 1


def test_the_carry_goes_on_where_the_last_window_ended():
    """Two windows with a carry score as one window of twice the length; accumulation keeps each row's own carry."""
    config = config_of('lstm')
    config.model = dataclasses.replace(config.model, dropout=0.0, depth=1)
    config.objective = ObjectiveConfig()
    model = build(config.model, vocab_size=VOCAB, seq_len=TIME)
    make_tx = build_optimizer(OptimConfig(optimizer='sgd', learning_rate=1e-9, schedule='constant'), model.axes, steps=10)
    hparams = {**hparams_of(config), 'learning_rate': 1e-9}
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCAB, (ROWS, 2 * TIME + 1)).astype(np.int32)

    def window(start, stop):
        return Batch(Inputs(ids[:, start:stop]), ids[:, start + 1 : stop + 1], np.ones((ROWS, stop - start), np.float32))

    whole_state = jax.jit(partial(init_state, model, make_tx))(jax.random.key(0), hparams)
    whole = OBJECTIVES['causal'].loss(model, whole_state.params, window(0, 2 * TIME), hparams, None)[0] / (2 * TIME * ROWS)
    for accumulate in (1, 4):
        step = jax.jit(partial(train_step, model, OBJECTIVES['causal'].loss, make_tx, accumulate=accumulate))
        state = jax.jit(partial(init_state, model, make_tx, carry_rows=ROWS))(jax.random.key(0), hparams)
        state, first = step(state, window(0, TIME), hparams)
        state, second = step(state, window(TIME, 2 * TIME), hparams)
        np.testing.assert_allclose((first['loss_nats'] + second['loss_nats']) / 2, whole, rtol=1e-6)
