"""Harder batches: where they go by hand, that they change training alone, and what is refused."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax import (
    AdversaryConfig,
    Config,
    DataConfig,
    NgramConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.models import build
from lmjax.training.adversary import first_shift, freelb, validate_adversary
from lmjax.training.network import network_of
from lmjax.training.program import assemble
from lmjax.types import Batch, Inputs

V, T, B, D = 11, 6, 4, 8
NETWORKS = {
    'transformer': TransformerConfig(width=D, heads=2, depth=1, embed_scale=True, dropout=0.2),
    'lstm': RecurrentConfig(hidden=6, embedding=D, depth=1, dropout=0.2),
}


def config_of(name, *, accumulate=1, **adversary):
    return Config(
        data=DataConfig(seq_len=T),
        model=NETWORKS[name],
        optim=OptimConfig(optimizer='sgd', schedule='constant', learning_rate=1.0, momentum=0.0),
        adversary=AdversaryConfig(**adversary),
        train=TrainConfig(steps=4, batch_size=B, accumulate=accumulate),
    )


def batch():
    ids = np.random.default_rng(0).integers(0, V, (B, T + 1)).astype(np.int32)
    segments = (np.arange(T)[None] < np.array([[6], [3], [6], [5]])).astype(np.int32)
    return Batch(Inputs(ids[:, :-1], segments=segments), ids[:, 1:], segments.astype(np.float32))


@lru_cache
def stepped(name, **given):
    """What one step of gradient descent with rate 1 takes from the parameters, and its metrics."""
    program = assemble(config_of(name, **given), V)
    before = jax.device_get(program.init().params)
    state, metrics = program.step(program.init(), program.place(batch()))
    return jax.tree.map(np.subtract, before, jax.device_get(state.params)), metrics


def distance(one, two):
    pairs = zip(*(jax.tree.leaves(tree[0]) for tree in (one, two)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize('name', NETWORKS)
def test_a_shift_makes_of_a_token_another_one(name):
    model = build(dataclasses.replace(NETWORKS[name], dropout=0.0), vocab_size=V, seq_len=T)
    params = jax.jit(model.init)(jax.random.key(0), {})
    table, (one, two) = params['embedding']['tokens'], np.random.default_rng(1).integers(0, V, (2, 2, T)).astype(np.int32)
    shifted = model.apply(params, Inputs(one, shift=table[two] - table[one])).hidden
    np.testing.assert_allclose(shifted, model.apply(params, Inputs(two)).hidden, rtol=1e-4, atol=1e-5)


def test_it_climbs_along_the_gradient_and_no_further_than_its_size():
    """Where the loss is a sum of products with c, the way up is c, and a long step ends at `size` from nothing along c."""
    c_BxTxD = jnp.asarray(np.random.default_rng(2).normal(size=(B, T, D)), jnp.float32)
    real_BxTx1 = jnp.asarray(batch().inputs.segments[:, :, None], jnp.float32)
    keys = jax.random.split(jax.random.key(0), B)
    rows = (batch(), keys, None)

    def mean_loss(w, rows):
        each_B = (c_BxTxD * rows[0].inputs.shift).sum(axis=(1, 2))
        return w * each_B.sum(), ({'loss': each_B.sum()}, None)

    config = AdversaryConfig(kind='freelb', steps=3, size=0.5, rate=1e6)
    found, (sums, carry) = freelb(mean_loss, config, D)(jnp.float32(1.0), rows)
    begin = float((c_BxTxD * first_shift(keys, real_BxTx1, 0.5, D)).sum())
    top = 0.5 * float(jnp.sqrt(jnp.square(c_BxTxD * real_BxTx1).sum(axis=(1, 2))).sum())
    assert found == pytest.approx((begin + 2 * top) / 3, rel=1e-5)
    assert (sums['loss'], carry) == (pytest.approx(float(found)), None)
    short = dataclasses.replace(config, rate=1e-3)
    slope = float(jnp.sqrt(jnp.square(c_BxTxD * real_BxTx1).sum(axis=(1, 2))).sum())
    assert freelb(mean_loss, short, D)(jnp.float32(1.0), rows)[0] == pytest.approx(begin + 1e-3 * slope, rel=1e-4)


def test_it_begins_evenly_within_its_size_and_not_where_it_is_padding():
    real_BxTx1 = jnp.asarray(batch().inputs.segments[:, :, None], jnp.float32)
    found = np.asarray(first_shift(jax.random.split(jax.random.key(0), B), real_BxTx1, 0.5, 500))
    assert not found[1, 3:].any()
    for row, count in zip(found, (6, 3, 6, 5), strict=True):
        edge = 0.5 / np.sqrt(count * 500)
        assert 0.99 * edge < np.abs(row).max() <= edge
        assert np.square(row).sum() == pytest.approx(0.25 / 3, rel=0.1)  # the mean square of what is even
    assert len({float(row[0, 0]) for row in found}) == B


@pytest.mark.parametrize('name', NETWORKS)
def test_a_batch_is_harder_and_of_size_0_as_it_was(name):
    plain = stepped(name)
    nothing = stepped(name, kind='freelb', size=1e-7, rate=1e-7)
    assert distance(plain, nothing) < 1e-5
    harder = stepped(name, kind='freelb', steps=3, size=1.0, rate=0.5)
    assert distance(plain, harder) > 1e-3
    assert harder[1]['loss'] > plain[1]['loss'] + 0.01


@pytest.mark.parametrize('name', NETWORKS)
def test_accumulation_equals_one_batch(name):
    given = {'kind': 'freelb', 'steps': 2, 'size': 1.0, 'rate': 0.5}
    one, parts = (stepped(name, accumulate=accumulate, **given) for accumulate in (1, 2))
    assert distance(one, parts) < 2e-6
    assert one[1]['loss'] == pytest.approx(float(parts[1]['loss']), rel=1e-6)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'adversary': AdversaryConfig(steps=3)}, r'adversary\.steps=3: is read only with adversary\.kind'),
        ({'adversary': AdversaryConfig(kind='fgm')}, r"adversary\.kind='fgm': no such choice; choose one of: freelb"),
        ({'adversary': AdversaryConfig(kind='freelb', steps=0)}, r'adversary\.steps=0: use 1 or more'),
        ({'adversary': AdversaryConfig(kind='freelb', rate=0.0)}, r'adversary\.rate=0\.0: must be above 0'),
        ({'model': NgramConfig()}, r"adversary\.kind='freelb': moves vectors of tokens, and this network has none"),
        ({'objective': ObjectiveConfig(kind='contrastive')}, r"objective\.kind='contrastive' has two networks or two views"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    config = dataclasses.replace(config_of('transformer', kind='freelb'), **changes)
    with pytest.raises(UsageError, match=message):
        validate_adversary(config, network_of(config, V))
