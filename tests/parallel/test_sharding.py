"""The rules, and the law that a mesh changes nothing: one step of a tiny model on every mesh equals one device's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from lmjax.optim import build_optimizer
from lmjax.optim.config import OptimConfig
from lmjax.parallel.config import MeshConfig
from lmjax.parallel.mesh import make_mesh
from lmjax.parallel.sharding import batch_sharding, shard_batch, sharding_of, shardings, spec_of, state_shardings
from lmjax.types import Batch, Inputs

MESH = MeshConfig(data=2, fsdp=2, tensor=2)


@pytest.mark.parametrize(
    ('axes', 'shape', 'spec'),
    [
        (('batch', 'time'), (8, 5), P(('data', 'fsdp'), None)),
        (('batch', 'time'), (6, 5), P('data', None)),  # divides by 2, not by 4
        (('batch',), (3,), P(None)),
        (('embed', 'mlp'), (4, 6), P('fsdp', 'tensor')),
        (('embed', 'mlp'), (3, 6), P(None, 'tensor')),
        (('vocab', 'embed'), (7, 4), P(None, 'fsdp')),
        (('embed', 'embed'), (4, 4), P('fsdp', None)),  # a mesh axis splits one dimension only
        (('heads', 'mlp'), (3, 4), P(None, 'tensor')),  # ... the first that it divides
        (('batch', 'embed'), (4, 4), P(('data', 'fsdp'), None)),
        (('layers', 'embed', 'heads', 'head_width'), (2, 4, 2, 8), P(None, 'fsdp', 'tensor', None)),
        (('hidden', 'gates'), (4, 16), P(None, 'tensor')),
        ((None,), (4,), P(None)),
        ((), (), P()),
    ],
    ids=str,
)
def test_the_rules(axes, shape, spec):
    mesh = make_mesh(MESH)
    assert spec_of(axes, mesh, shape) == spec
    x = jax.device_put(np.zeros(shape, np.float32), sharding_of(axes, mesh, shape))  # and JAX accepts it
    assert x.sharding.spec == spec


def test_axes_of_another_rank_are_an_error():
    with pytest.raises(ValueError, match='name 2 dimensions'):
        spec_of(('embed', 'mlp'), make_mesh(MESH), (4,))


def test_a_batch_lies_in_rows():
    mesh = make_mesh(MESH)
    ids = np.arange(8 * 3, dtype=np.int32).reshape(8, 3)
    batch = shard_batch(Batch(Inputs(ids), targets=ids + 1, weights=np.ones((8, 3), np.float32)), mesh)
    np.testing.assert_array_equal(batch.inputs.ids, ids)
    assert batch.inputs.positions is None
    assert {leaf.sharding for leaf in jax.tree.leaves(batch)} == {batch_sharding(mesh)}
    assert {shard.data.shape for shard in batch.targets.addressable_shards} == {(2, 3)}


V, D, F = 16, 8, 16
AXES = {
    'embed': ('vocab', 'embed'),
    'layers': {'w_in': ('layers', 'embed', 'mlp'), 'b': ('layers', 'mlp'), 'w_out': ('layers', 'mlp', 'embed')},
    'head': ('embed', 'vocab'),
}
SHAPES = {'embed': (V, D), 'layers': {'w_in': (2, D, F), 'b': (2, F), 'w_out': (2, F, D)}, 'head': (D, V)}
HPARAMS = {'learning_rate': 0.01, 'beta1': 0.9, 'beta2': 0.99, 'momentum': 0.9, 'weight_decay': 0.1}


def parameters():
    rng = np.random.default_rng(0)
    draw = lambda shape: (rng.normal(size=shape) * 0.5).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, SHAPES, is_leaf=lambda node: isinstance(node, tuple))


def batch_of(rows=8, length=5):
    ids = np.random.default_rng(1).integers(0, V, (rows, length + 1), dtype=np.int32)
    weights = np.ones((rows, length), np.float32)
    weights[:3, 2:] = 0  # ragged: rows of unlike weight on every mesh
    return Batch(Inputs(ids[:, :-1]), targets=ids[:, 1:], weights=weights)


def loss_of(params, batch):
    x = params['embed'][batch.inputs.ids]
    x, _ = jax.lax.scan(
        lambda x, w: (x + jax.nn.relu(x @ w['w_in'] + w['b'][None, None]) @ w['w_out'], None), x, params['layers']
    )
    logprobs = jax.nn.log_softmax(x @ params['head'])
    nll = -jnp.take_along_axis(logprobs, batch.targets[..., None], axis=-1)[..., 0]
    return (nll * batch.weights).sum() / batch.weights.sum()


@functools.cache
def stepped(name, mesh_config):
    """(params, state, loss, gradients) after one step on a mesh, parameters and state laid out by the rules."""
    mesh = make_mesh(MeshConfig(*mesh_config))
    # eps: Adam's first step is the gradient's sign, which rounding turns where a gradient is nearly zero
    config = OptimConfig(optimizer=name, clip_norm=1.0, eps=1e-3)
    tx = build_optimizer(config, AXES, steps=10)(HPARAMS)
    params = parameters()
    where = shardings(mesh, AXES, params)
    shapes = jax.eval_shape(tx.init, params)
    where_state = state_shardings(mesh, AXES, params, shapes)

    @functools.partial(jax.jit, out_shardings=(where, where_state, None, where))
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(loss_of)(params, batch)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss, grads

    placed = jax.device_put(params, where)
    state = jax.jit(tx.init, out_shardings=where_state)(placed)
    return step(placed, state, shard_batch(batch_of(), mesh))


MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 4, 1), (2, 1, 4), (2, 2, 2)]


def close(left, right, rtol, atol):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), left, right)


@pytest.mark.parametrize(
    ('name', 'mesh'),
    [('adamw', mesh) for mesh in MESHES]
    + [('muon', MESHES[-1]), ('adafactor', MESHES[-1])]
    + [pytest.param(name, MESHES[-1], marks=pytest.mark.slow) for name in ('lion', 'sgd')]
    + [
        pytest.param(name, mesh, marks=pytest.mark.full)
        for name in ('muon', 'adafactor', 'lion', 'sgd')
        for mesh in MESHES[:-1]
    ],
    ids=str,
)
def test_one_step_equals_one_device_s(name, mesh):
    params, state, loss, grads = stepped(name, mesh)
    params_1, state_1, loss_1, grads_1 = stepped(name, (1, 1, 1))
    np.testing.assert_allclose(loss, loss_1, rtol=1e-6)
    largest = max(abs(np.asarray(leaf)).max() for leaf in jax.tree.leaves(grads_1))
    close(grads, grads_1, rtol=2e-6, atol=2e-6 * largest)
    close(params, params_1, rtol=1e-5, atol=1e-6)
    close(state, state_1, rtol=1e-5, atol=1e-6)


def test_parameters_and_moments_lie_as_declared():
    params, state, _, _ = stepped('adamw', (2, 1, 4))
    moments = state[1]
    for tree in (params, moments.mu, moments.nu):
        assert tree['embed'].sharding.spec == P('tensor', None)
        assert {shard.data.shape for shard in tree['embed'].addressable_shards} == {(V // 4, D)}
        assert {shard.data.shape for shard in tree['layers']['w_in'].addressable_shards} == {(2, D, F // 4)}
        assert {shard.data.shape for shard in tree['layers']['w_out'].addressable_shards} == {(2, F // 4, D)}
    assert moments.count.sharding.is_fully_replicated
    params, _, _, _ = stepped('adamw', (2, 4, 1))
    assert {shard.data.shape for shard in params['layers']['w_in'].addressable_shards} == {(2, D // 4, F)}
    params, _, _, _ = stepped('adamw', (2, 2, 2))
    assert {shard.data.shape for shard in params['layers']['w_in'].addressable_shards} == {(2, D // 2, F // 2)}
    assert {shard.data.shape for shard in params['head'].addressable_shards} == {(D // 2, V // 2)}


def test_masked_and_factored_states_find_their_parameters():
    mesh = make_mesh(MESH)
    axes = {'w': ('layers', 'embed', 'mlp'), 'b': ('embed',)}
    params = {'w': jax.ShapeDtypeStruct((2, 128, 130), np.float32), 'b': jax.ShapeDtypeStruct((128,), np.float32)}
    for name, sharded in {'muon': {'w': 1, 'b': 2}, 'adafactor': {'w': 0, 'b': 1}}.items():
        state = jax.eval_shape(build_optimizer(OptimConfig(optimizer=name), axes, steps=1)(HPARAMS).init, params)
        specs = [leaf.spec for leaf in jax.tree.leaves(state_shardings(mesh, axes, params, state))]
        assert specs.count(P(None, 'fsdp', 'tensor')) == sharded['w']
        assert specs.count(P('fsdp')) == sharded['b']
        assert specs.count(P()) == len(specs) - sharded['w'] - sharded['b']


def test_a_whole_train_state_is_placed_by_the_ends_of_its_paths():
    mesh = make_mesh(MESH)
    params = parameters()
    state = {'step': np.int32(0), 'params': params, 'ema': params, 'carry': np.zeros((V, D))}
    where = state_shardings(mesh, AXES, params, state)
    assert where['params'] == where['ema'] == shardings(mesh, AXES, params)
    assert where['step'].spec == where['carry'].spec == P()
