"""What a decoder does with a source; the laws of all networks hold for it too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import TransformerConfig
from lmjax.ops.positions import relative_buckets
from lmjax.types import Inputs

TINY = TransformerConfig(width=8, depth=2, encoder_depth=2, heads=2, init='fan_in')
IDS = np.random.default_rng(0).integers(0, 11, (2, 5))
SOURCE = np.random.default_rng(1).integers(0, 11, (2, 7))
MASK = np.arange(7)[None] < np.array([[4], [7]])


def make(**changes):
    model = build(dataclasses.replace(TINY, **changes), vocab_size=11, seq_len=8)
    return model, jax.jit(model.init)(jax.random.key(0), {}), jax.jit(model.apply)


@pytest.mark.parametrize('position', ['rotary', 'learned', 'relative'])
def test_every_token_sees_all_of_its_source_and_no_padding(position):
    model, params, apply = make(position=position)
    assert model.traits.sourced
    assert model.traits.causal
    hidden = apply(params, Inputs(IDS, source_ids=SOURCE, source_mask=MASK)).hidden
    for changed in (np.where(MASK, SOURCE, 3), np.pad(SOURCE, ((0, 0), (0, 2)))):
        mask = np.pad(MASK, ((0, 0), (0, changed.shape[1] - 7)))
        again = apply(params, Inputs(IDS, source_ids=changed, source_mask=mask)).hidden
        np.testing.assert_allclose(again, hidden, atol=1e-6)
    for place in (0, 3):
        changed = SOURCE.copy()
        changed[:, place] = (SOURCE[:, place] + 1) % 11
        other = apply(params, Inputs(IDS, source_ids=changed, source_mask=MASK)).hidden
        assert (np.abs(other - hidden).max(axis=-1) > 1e-6).all()


def test_no_gradient_reaches_a_padded_source():
    model, params, _ = make(position='none', tied=False)
    table = jnp.asarray(params['embedding']['tokens'])

    def loss(tokens):
        own = {**params, 'embedding': {'tokens': tokens}}
        inputs = Inputs(jnp.zeros((1, 3), int), source_ids=ids, source_mask=mask)
        return jnp.square(model.apply(own, inputs).hidden[0, -1]).sum()

    ids, mask = jnp.asarray([[1, 2, 3, 4]]), jnp.asarray([[True, True, False, False]])
    reached = np.abs(jax.jit(jax.grad(loss))(table)).sum(axis=1)
    assert (reached[[0, 1, 2]] > 0).all()
    assert (reached[[3, 4]] == 0).all()


def test_dropout_of_source_and_target_is_drawn_apart():
    """With the same tokens, keys and weights, were they to drop the same, both stacks would embed the same."""
    model, params, _ = make(position='none', dropout=0.5, depth=1, encoder_depth=1)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        from lmjax.models import body

        real = body.drop
        patch.setattr(body, 'drop', lambda x, context, name: seen.append(real(x, context, name)) or seen[-1])
        keys = jax.random.split(jax.random.key(1), 2)
        model.apply(params, Inputs(IDS, source_ids=IDS), key=keys, hparams={'dropout': 0.5})
    assert len(seen) == 2
    assert not np.array_equal(seen[0] == 0, seen[1] == 0)


def test_a_source_is_asked_for():
    model, params, _ = make()
    with pytest.raises(UsageError, match='source_ids=None: this network reads a source'):
        model.apply(params, Inputs(IDS))
    with pytest.raises(UsageError, match='source=None: a cache of this network is made for a source'):
        model.init_cache(params, 2, 8)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'causal': False}, r'model\.encoder_depth=2: goes with a decoder; set model\.causal=true'),
        ({'block': 'parallel'}, r"model\.block='parallel': must be 'sequential' beside an encoder"),
        ({'pooler': True}, r'model\.pooler=True: an encoder-decoder has none'),
        ({'encoder_depth': -1}, r'model\.encoder_depth=-1: must not be negative'),
        ({'position': 'relative', 'relative_buckets': 2}, r'model\.relative_buckets=2: must be at least 4'),
        ({'position': 'relative', 'relative_buckets': 7}, r'model\.relative_buckets=7: must be even'),
        ({'position': 'relative', 'relative_distance': 16}, r'model\.relative_distance=16: must be above half of'),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(changes, message):
    with pytest.raises(UsageError, match=message):
        make(**changes)


def test_buckets_of_distances():
    """32 of them to 128 tokens: one a distance to 7 (both sides) or 15, then by logarithms; on both sides later keys apart."""
    distances = np.array([-200, -128, -9, -8, -7, -1, 0, 1, 7, 8, 9, 16, 127, 128, 200])
    both = relative_buckets(distances, buckets=32, farthest=128, both_sides=True)
    assert both.tolist() == [31, 31, 24, 24, 23, 17, 0, 1, 7, 8, 8, 10, 15, 15, 15]
    before = relative_buckets(distances, buckets=32, farthest=128, both_sides=False)
    assert before.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 7, 8, 9, 16, 31, 31, 31]
    steps = np.diff(relative_buckets(np.arange(200), buckets=32, farthest=128, both_sides=False))
    assert set(steps.tolist()) == {0, 1}
