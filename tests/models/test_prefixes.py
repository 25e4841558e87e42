"""Vectors in place of the first tokens: the laws of a row of tokens hold for them too, in a transformer and in an LSTM."""

from functools import lru_cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax import RecurrentConfig, TransformerConfig
from lmjax.models import build
from lmjax.models.classifiers import has_additions, network_part
from lmjax.models.frames import FRAMES, with_frame_encoder
from lmjax.models.params import count_params
from lmjax.ops.prefixes import with_prefix
from lmjax.types import Inputs

V, T, P, F = 11, 8, 3, 5
NETWORKS = {
    'learned': TransformerConfig(width=16, depth=2, heads=2, position='learned'),
    'rotary': TransformerConfig(width=16, depth=2, heads=2, scan_layers=True),
    'lstm': RecurrentConfig(cell='lstm', embedding=6, hidden=8, depth=2),
}


def quick_jit(f):
    """jit for small programs that run a few times: compiled in half of the time."""
    return jax.jit(f, compiler_options={'xla_backend_optimization_level': 0})


every_network = pytest.mark.parametrize('name', NETWORKS)


@lru_cache
def network(name):
    bare = build(NETWORKS[name], vocab_size=V, seq_len=T)
    model = with_frame_encoder(bare, count=P, width=F)
    params = quick_jit(lambda key, hparams: model.init(key, hparams))(jax.random.key(0), {'init_scale': 5.0})
    params[FRAMES] = jax.tree.map(lambda leaf: 5 * leaf, params[FRAMES])

    @quick_jit
    def logits(params, inputs, cache=None):
        output = model.apply(params, inputs, cache=cache)
        return model.score(params, output.hidden), output.cache

    return SimpleNamespace(bare=bare, model=model, params=params, logits=logits)


def rows(count=2, seed=0):
    draw = np.random.default_rng(seed)
    ids_BxT = jnp.asarray(draw.integers(0, V, (count, T)), jnp.int32)
    return ids_BxT, jnp.asarray(draw.normal(size=(count, P, F)), jnp.float32)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_the_first_real_tokens_of_each_row_give_way():
    x = jnp.arange(2 * 5 * 1.0).reshape(2, 5, 1)
    prefix = -jnp.ones((2, 2, 1)) * jnp.asarray([1.0, 2.0])[None, :, None]
    found = with_prefix(x, prefix, jnp.asarray([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]]))
    np.testing.assert_array_equal(found[..., 0], [[0, 1, -1, -2, 4], [-1, -2, 7, 8, 9]])
    np.testing.assert_array_equal(with_prefix(x, prefix)[..., 0], [[-1, -2, 2, 3, 4], [-1, -2, 7, 8, 9]])


@every_network
def test_a_prefix_of_the_tokens_own_vectors_changes_nothing(name):
    net = network(name)
    ids, _ = rows()
    own = net.params['embedding']['tokens'][ids[:, :P]]
    params = network_part(net.params)
    hidden = quick_jit(lambda inputs: net.bare.apply(params, inputs).hidden)
    close(hidden(Inputs(ids.at[:, :P].set(0), prefix=own)), hidden(Inputs(ids)))


@every_network
def test_frames_decide_and_what_stood_in_their_place_does_not(name):
    net = network(name)
    ids, frames = rows()
    expected, _ = net.logits(net.params, Inputs(ids, prefix=frames))
    other, _ = net.logits(net.params, Inputs(ids.at[:, :P].set(7), prefix=frames))
    np.testing.assert_array_equal(other, expected)
    changed, _ = net.logits(net.params, Inputs(ids, prefix=frames.at[1].add(1.0)))
    np.testing.assert_array_equal(changed[0], expected[0])
    assert np.abs(changed[1] - expected[1]).min() > 0
    last, _ = net.logits(net.params, Inputs(ids, prefix=frames.at[:, P - 1].add(1.0)))
    np.testing.assert_array_equal(last[:, : P - 1], expected[:, : P - 1])
    assert np.abs(last[:, P - 1 :] - expected[:, P - 1 :]).min() > 0
    later, _ = net.logits(net.params, Inputs(ids.at[:, 5].add(1) % V, prefix=frames))
    np.testing.assert_array_equal(later[:, :5], expected[:, :5])


@every_network
def test_each_frame_has_a_vector_of_its_place(name):
    net = network(name)
    ids, frames = rows()
    same = jnp.broadcast_to(frames[:, :1], frames.shape)
    positions = net.params[FRAMES]['positions']
    without = {**net.params, FRAMES: {**net.params[FRAMES], 'positions': jnp.broadcast_to(positions[:1], positions.shape)}}
    one, other = (net.logits(params, Inputs(ids, prefix=same))[0] for params in (net.params, without))
    assert np.abs(one[:, 1:] - other[:, 1:]).min() > 0


@every_network
def test_padding_on_either_side_and_the_cache_change_nothing(name):
    net = network(name)
    ids, frames = rows()
    expected, _ = net.logits(net.params, Inputs(ids[:, :6], prefix=frames))
    right = jnp.asarray([[1] * 6 + [0] * 2] * 2)
    for shift in (0, 2):
        moved = Inputs(jnp.roll(ids, shift, axis=1), segments=jnp.roll(right, shift, axis=1), prefix=frames)
        close(net.logits(net.params, moved)[0][:, shift : shift + 6], expected)

    cache = net.model.init_cache(net.params, 2, T)
    begun = Inputs(jnp.pad(ids[:, :4], ((0, 0), (1, 0))), segments=jnp.asarray([[0, 1, 1, 1, 1]] * 2), prefix=frames)
    found, cache = net.logits(net.params, begun, cache)
    close(found[:, 1:], expected[:, :4])
    for t in (4, 5):
        found, cache = net.logits(net.params, Inputs(ids[:, t : t + 1], segments=right[:, :1]), cache)
        close(found[:, 0], expected[:, t])


@every_network
def test_without_frames_it_is_the_network_as_it_was(name):
    net = network(name)
    ids, _ = rows()
    assert has_additions(net.params)
    bare = network_part(net.params)
    assert not has_additions(bare)
    plain = quick_jit(lambda ids: net.bare.score(bare, net.bare.apply(bare, Inputs(ids)).hidden))(ids)
    close(net.logits(net.params, Inputs(ids))[0], plain)


@every_network
def test_parameters_are_counted_named_and_learned(name):
    net = network(name)
    D = net.params['embedding']['tokens'].shape[1]
    assert count_params(net.params[FRAMES]) == F * D + D + P * D + D * D + D
    ranks = jax.tree.map(len, net.model.axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert ranks == jax.tree.map(jnp.ndim, net.params)
    ids, frames = rows()

    def loss(params):
        hidden = net.model.apply(params, Inputs(ids, prefix=frames)).hidden
        return -net.model.score(params, hidden[:, P - 1 : -1], ids[:, P:]).logprob.sum()

    grads = quick_jit(jax.grad(loss))(net.params)[FRAMES]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))


def test_dropout_of_frames_is_keyed_by_row():
    net = network('lstm')
    ids, frames = rows(4)
    keys = jax.random.split(jax.random.key(1), 4)

    @quick_jit
    def hidden(ids, frames, keys):
        return net.model.apply(net.params, Inputs(ids, prefix=frames), key=keys, hparams={'dropout': 0.5}).hidden

    whole = hidden(ids, frames, keys)
    close(jnp.concatenate([hidden(ids[some], frames[some], keys[some]) for some in (slice(0, 2), slice(2, 4))]), whole)
    assert not np.allclose(whole, hidden(ids, frames, keys[::-1]))


def test_one_hot_networks_have_no_vectors_to_replace():
    assert not build(RecurrentConfig(embedding=0, hidden=8), vocab_size=V, seq_len=T).traits.prefixed
