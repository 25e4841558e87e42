"""Sampled distributions against exact probabilities, and each filter against its definition."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.generate import sampling as s
from lmjax.generate.config import SamplingConfig

PROB = np.array([0.05, 0.4, 0.02, 0.25, 0.08, 0.2])
V = len(PROB)
UNSEEN = jnp.zeros((1, V), bool)
process, draw = jax.jit(s.process), jax.jit(s.sample)


def distribution(seen=UNSEEN, prob=PROB, **settings):
    """The distribution that a config samples from, by the compiled path."""
    logits = process(jnp.log(jnp.asarray(prob, jnp.float32))[None], seen, s.knobs_of(SamplingConfig(**settings)))
    return np.asarray(jax.nn.softmax(logits))[0]


def renormalised(keep, prob=PROB):
    kept = np.where(np.isin(np.arange(len(prob)), keep), prob, 0)
    return kept / kept.sum()


def test_by_default_the_model_is_sampled_as_it_is():
    np.testing.assert_allclose(distribution(), PROB, rtol=1e-6)


@pytest.mark.parametrize(
    ('settings', 'keep'),
    [
        ({'top_k': 1}, [1]),
        ({'top_k': 3}, [1, 3, 5]),
        ({'top_k': 100}, range(V)),
        ({'top_p': 0.01}, [1]),
        ({'top_p': 0.64}, [1, 3]),
        ({'top_p': 0.66}, [1, 3, 5]),
        ({'top_p': 0.99}, range(V)),
        ({'min_p': 1.0}, [1]),
        ({'min_p': 0.24}, [1, 3, 5]),
        ({'min_p': 0.1}, [0, 1, 3, 4, 5]),
        ({'top_k': 3, 'top_p': 0.7}, [1, 3]),  # of the three that top-k left, 0.4 and 0.25 of 0.85 reach 0.7
        ({'top_k': 5, 'top_p': 0.9, 'min_p': 0.6}, [1, 3]),
    ],
)
def test_filters_keep_what_they_are_defined_to_keep(settings, keep):
    np.testing.assert_allclose(distribution(**settings), renormalised(list(keep)), rtol=1e-5)


@pytest.mark.parametrize('value', [0.5, 2.0])
def test_temperature_is_a_power(value):
    want = PROB ** (1 / value)
    np.testing.assert_allclose(distribution(temperature=value), want / want.sum(), rtol=1e-5)


def test_temperature_comes_before_the_filters():
    want = PROB**2 / (PROB**2).sum()  # 0.4 -> 0.589, 0.25 -> 0.230
    assert distribution(top_p=0.8).astype(bool).sum() == 3
    np.testing.assert_allclose(distribution(temperature=0.5, top_p=0.8), renormalised([1, 3], want), rtol=1e-5)


def test_equals_are_cut_exactly_and_in_order_of_ids():
    flat = np.full(V, 1 / V)
    np.testing.assert_allclose(distribution(prob=flat, top_k=2), renormalised([0, 1], flat), rtol=1e-6)
    np.testing.assert_allclose(distribution(prob=flat, top_p=0.5), renormalised([0, 1, 2], flat), rtol=1e-6)


@pytest.mark.parametrize('settings', [{'top_k': 7}, {'top_p': 0.8}, {'top_k': 40, 'top_p': 0.6}])
def test_bisection_keeps_what_sorting_would(settings):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 100)).astype(np.float32) * 4
    logits[1] = np.round(logits[1])  # many equals
    logits[2, ::3], logits[3], logits[4] = -np.inf, -np.abs(logits[3]), 1e30 * logits[4]
    config = SamplingConfig(**settings)
    kept = np.isfinite(process(logits, np.zeros(logits.shape, bool), s.knobs_of(config)))
    for row, got in zip(logits.astype(np.float64), kept, strict=True):
        order = np.argsort(-row, kind='stable')[: config.top_k or len(row)]
        prob = np.exp(row[order] - row.max())
        prob /= prob.sum()
        needed = (np.cumsum(prob) - prob < config.top_p) | (config.top_p == 1)
        want = order[needed & (row[order] > -np.inf)]
        assert np.flatnonzero(got).tolist() == sorted(want)


def test_repetition_penalty_divides_what_is_positive_and_multiplies_what_is_not():
    logits, seen = jnp.array([[2.0, -2.0, 2.0, -2.0]]), jnp.array([[True, True, False, False]])
    np.testing.assert_allclose(s.repetition_penalty(logits, seen, 1.25), [[1.6, -2.5, 2.0, -2.0]], rtol=1e-6)
    want = np.where(np.arange(V) == 1, PROB**2, PROB)
    np.testing.assert_allclose(distribution(UNSEEN.at[0, 1].set(True), repetition_penalty=2.0), want / want.sum(), rtol=1e-5)


@pytest.mark.parametrize('settings', [{}, {'temperature': 0.7, 'top_k': 5, 'top_p': 0.9}, {'min_p': 0.15, 'temperature': 1.5}])
def test_what_is_drawn_follows_the_distribution(settings):
    rows = 20_000
    keys = jax.random.split(jax.random.key(0), rows)
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(PROB, jnp.float32)), (rows, V))
    seen = jnp.zeros((rows, V), bool)
    drawn = np.asarray(draw(logits, seen, s.knobs_of(SamplingConfig(**settings)), keys))
    counts, want = np.bincount(drawn, minlength=V), distribution(**settings)
    assert (counts[want == 0] == 0).all()
    likely = want > 0
    chi_square = ((counts - rows * want)[likely] ** 2 / (rows * want)[likely]).sum()
    # 99.9th percentile of chi-square with 2 to 5 degrees of freedom; the seed is fixed, so this passes always or never.
    assert chi_square < {2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}[likely.sum() - 1]


@pytest.mark.parametrize('settings', [{'greedy': True}, {'temperature': 0.0}, {'greedy': True, 'top_p': 0.3}])
def test_greedy_takes_the_most_likely_token_after_the_penalty(settings):
    keys, logits = jax.random.split(jax.random.key(1), 1), jnp.log(jnp.asarray(PROB, jnp.float32))[None]
    assert draw(logits, UNSEEN, s.knobs_of(SamplingConfig(**settings)), keys) == 1
    knobs = s.knobs_of(SamplingConfig(repetition_penalty=4.0, **settings))
    assert draw(logits, UNSEEN.at[0, 1].set(True), knobs, keys) == 3


def test_no_setting_compiles_again():
    traced = []

    @jax.jit
    def counted(logits, knobs, keys):
        traced.append(1)
        return s.sample(logits, UNSEEN, knobs, keys)

    logits, keys = jnp.zeros((1, V)), jax.random.split(jax.random.key(1), 1)
    for config in (SamplingConfig(), SamplingConfig(top_k=3, top_p=0.5), SamplingConfig(greedy=True, min_p=0.1, temperature=2)):
        counted(logits, s.knobs_of(config), keys)
    assert len(traced) == 1


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('temperature', -0.1),
        ('temperature', math.nan),
        ('top_k', -1),
        ('top_p', 0.0),
        ('top_p', 1.1),
        ('min_p', -0.1),
        ('min_p', 1.1),
        ('repetition_penalty', 0.0),
        ('repetition_penalty', math.inf),
        ('max_new_tokens', 0),
        ('num_samples', 0),
        ('seed', -1),
        ('seed', 2**31),
        ('stop', ('', 'a')),
    ],
)
def test_settings_outside_their_ranges_are_refused(field, value):
    s.validate(SamplingConfig())
    with pytest.raises(UsageError, match=rf'^sample\.{field}='):
        s.validate(dataclasses.replace(SamplingConfig(), **{field: value}))
