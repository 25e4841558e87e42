"""A network small enough to be worked out by hand: what it says depends on every token that it sees, and where each stands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.types import Model, Output, Traits

V = 11


@pytest.fixture(autouse=True, scope='module')
def _quick_compilation():
    """Small programs that run a few times: compiled in half of the time."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def summary(ids, positions):
    """What the network's hidden state is, after tokens at positions."""
    return sum((int(token) + 1) * (int(position) + 1) for token, position in zip(ids, positions, strict=True)) % V


def _apply(params, inputs, cache=None, key=None, hparams=None):
    batch, length = inputs.ids.shape
    segments = jnp.ones((batch, length), jnp.int32) if inputs.segments is None else inputs.segments
    terms = jnp.where(segments > 0, (inputs.ids + 1) * (inputs.positions + 1), 0)
    slots = jax.lax.dynamic_update_slice_in_dim(cache['terms'], terms, cache['used'], axis=1)
    visible = jnp.arange(slots.shape[1])[None] <= (cache['used'] + jnp.arange(length))[:, None]
    hidden = jnp.where(visible[None], slots[:, None], 0).sum(-1) % V
    return Output(hidden[..., None], {'terms': slots, 'used': cache['used'] + length})


def _score(params, hidden, ids=None):
    return params['table'][hidden[..., 0]]


def _init_cache(params, batch, length, source=None):
    return {'terms': jnp.zeros((batch, length), jnp.int32), 'used': jnp.int32(0)}


class Recorder:
    """The network's `apply`, remembering the shapes that it was traced with."""

    def __init__(self):
        self.shapes = []

    def __call__(self, params, inputs, cache=None, key=None, hparams=None):
        self.shapes.append((inputs.ids.shape, cache['terms'].shape))
        return _apply(params, inputs, cache, key, hparams)


@pytest.fixture(scope='module')
def network():
    """(model, params)"""
    params = {'table': jnp.asarray(np.random.default_rng(0).normal(size=(V, V)), jnp.float32)}
    cache_axes = {'terms': ('batch', 'time'), 'used': ()}
    return Model(lambda key, hparams: params, Recorder(), _score, _init_cache, {}, cache_axes, Traits(), V), params
