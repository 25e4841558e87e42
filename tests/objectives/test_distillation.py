"""Distillation: divergences against NumPy, nothing learned by the teacher, plain training where its weights are absent."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives import distillation, likelihood
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import OBJECTIVES, READINGS, objective_of
from lmjax.types import Batch, Inputs, Teacher

VOCAB, B, T = 11, 3, 5
STUDENT = build(RecurrentConfig(cell='rnn', embedding=4, hidden=6, depth=1), vocab_size=VOCAB, seq_len=T)
TEACHER = build(TransformerConfig(width=8, depth=1, heads=2, init='fan_in'), vocab_size=VOCAB, seq_len=T)
PARAMS, TAUGHT = (jax.jit(model.init)(jax.random.key(i), {}) for i, model in enumerate((STUDENT, TEACHER)))
KEYS = jax.random.split(jax.random.key(5), B)
SEGMENTS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 2, 2], [1, 1, 0, 0, 0]], np.int32)
AT = np.array([[0, 3], [1, 4], [1, 2]], np.int32)


def batch(some=False):
    """Ragged weights; with `some`, two positions of each row are scored."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCAB, (B, T + 1)).astype(np.int32)
    weights = rng.integers(1, 3, (B, T)).astype(np.float32) * (SEGMENTS > 0)
    rows = Batch(Inputs(ids[:, :-1], segments=SEGMENTS), ids[:, 1:], weights)
    return (
        rows._replace(**{n: np.take_along_axis(getattr(rows, n), AT, 1) for n in ('targets', 'weights')}, at=AT)
        if some
        else rows
    )


@lru_cache
def states():
    """In float64, of student and teacher: hidden states, and logits at the scored positions."""
    found = []
    for model, params in ((STUDENT, PARAMS), (TEACHER, TAUGHT)):
        hidden = jax.jit(model.apply)(params, batch().inputs).hidden
        logits = np.asarray(jax.jit(model.score)(params, hidden), np.float64)
        found.append((np.asarray(hidden, np.float64), np.take_along_axis(logits, AT[:, :, None], axis=1)))
    return found


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergences(temperature):
    own, soft = (log_softmax(logits / temperature) for _, logits in states())
    return (np.exp(soft) * (soft - own)).sum(-1)


def logprobs():
    """Of the targets, and the mean over the vocabulary."""
    own = log_softmax(states()[0][1])
    return np.take_along_axis(own, batch(some=True).targets[:, :, None], 2)[:, :, 0], own.mean(-1)


@jax.jit
def run(params, taught, hparams):
    """((loss, (weight, sums, cache)), gradients of both networks' parameters); every term is there, some weights are 0."""

    def total(params, taught):
        teacher = Teacher(TEACHER, taught)
        return distillation.loss(STUDENT, params, batch(some=True), hparams, KEYS, teacher=teacher, hidden='relation')

    return jax.value_and_grad(total, (0, 1), has_aux=True)(params, taught)


def hparams_of(soft_weight, soft_temperature, hidden_weight=0.0, label_smoothing=0.0):
    names = ('soft_weight', 'soft_temperature', 'hidden_weight', 'label_smoothing')
    return dict(zip(names, (soft_weight, soft_temperature, hidden_weight, label_smoothing), strict=True))


def test_at_temperature_one_it_is_the_divergence():
    weights = batch(some=True).weights
    (total, (weight, sums, _)), _ = run(PARAMS, TAUGHT, hparams_of(1.0, 1.0))
    expected = (divergences(1.0) * weights).sum()
    assert expected > 1.0
    np.testing.assert_allclose([total, sums['loss'], sums['divergence']], expected, rtol=1e-5)
    np.testing.assert_allclose([sums['nll'], weight], [-(logprobs()[0] * weights).sum(), weights.sum()], rtol=1e-5)


def test_hard_and_soft_targets_are_mixed():
    (total, _), _ = run(PARAMS, TAUGHT, hparams_of(0.3, 2.5, label_smoothing=0.1))
    target, mean = logprobs()
    each = 0.7 * -(0.9 * target + 0.1 * mean) + 0.3 * 2.5**2 * divergences(2.5)
    np.testing.assert_allclose(total, (each * batch(some=True).weights).sum(), rtol=1e-5)


def test_relations_of_hidden_states_are_compared_within_a_document():
    weights = batch(some=True).weights
    (plain, _), _ = run(PARAMS, TAUGHT, hparams_of(0.3, 2.0))
    (total, (_, sums, _)), _ = run(PARAMS, TAUGHT, hparams_of(0.3, 2.0, 0.5))
    expected = 0.0
    for b, k in np.argwhere(weights > 0):
        at = AT[b, k]
        here = np.flatnonzero(SEGMENTS[b] == SEGMENTS[b, at])
        units = [x[b] / np.linalg.norm(x[b], axis=1, keepdims=True) for x, _ in states()]
        own, taught = (unit[here] @ unit[at] for unit in units)
        expected += weights[b, k] * np.square(own - taught).mean()
    assert expected > 0.1
    np.testing.assert_allclose(sums['hidden'], expected, rtol=1e-5)
    np.testing.assert_allclose(total - plain, 0.5 * expected, rtol=1e-4)


def test_hidden_states_of_one_width_are_compared_by_their_direction():
    rng = np.random.default_rng(1)
    own, taught = (rng.normal(size=(B, T, 4)) for _ in range(2))
    found = distillation.cosine(jnp.asarray(own), jnp.asarray(taught), batch(some=True))
    product = (own * taught).sum(-1) / np.linalg.norm(own, axis=-1) / np.linalg.norm(taught, axis=-1)
    np.testing.assert_allclose(found, np.take_along_axis(1 - product, AT, axis=1), rtol=1e-5)


def test_a_teacher_that_is_the_student_has_nothing_to_say():
    hparams = {'soft_weight': 1.0, 'soft_temperature': 2.0, 'hidden_weight': 1.0}
    same = Teacher(STUDENT, PARAMS)
    loss = jax.jit(lambda p: distillation.loss(STUDENT, p, batch(), hparams, KEYS, teacher=same, hidden='cosine')[0])
    np.testing.assert_allclose(loss(PARAMS), 0.0, atol=1e-5)
    moved = jax.tree.map(lambda x: 1.5 * x, PARAMS)
    assert loss(moved) > 0.01


def test_only_the_student_learns():
    _, (own, taught) = run(PARAMS, TAUGHT, hparams_of(0.5, 2.0, 1.0))
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(taught))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(own))


@pytest.mark.parametrize(('hparams', 'key'), [({'hidden_weight': 1.0}, KEYS), ({'soft_weight': 0.5}, None)])
def test_without_a_soft_weight_and_in_evaluation_it_is_plain_likelihood(hparams, key):
    """The very same program, so the same bits; and no teacher is asked for."""
    objective = objective_of(ObjectiveConfig(kind='distill'))
    plain = jax.make_jaxpr(lambda p: likelihood.loss(STUDENT, p, batch(), hparams, key))(PARAMS)
    distilled = jax.make_jaxpr(lambda p: objective.loss(STUDENT, p, batch(), hparams, key))(PARAMS)
    assert str(plain) == str(distilled)
    with pytest.raises(ValueError, match='distill: trains with a teacher'):
        objective.loss(STUDENT, PARAMS, batch(), {'soft_weight': 0.5, 'soft_temperature': 1.0}, KEYS)


def test_a_weight_of_zero_leaves_no_trace_in_the_program():
    """Which finds it absent: neither of the hidden states nor of the distributions."""

    def program(hidden, **hparams):
        args, teacher = (batch(), hparams, KEYS), Teacher(TEACHER, TAUGHT)
        return str(jax.make_jaxpr(lambda p: distillation.loss(STUDENT, p, *args, teacher=teacher, hidden=hidden)[0])(PARAMS))

    soft = {'soft_weight': 0.5, 'soft_temperature': 2.0}
    assert program('relation', **soft) == program('', **soft) != program('relation', **soft, hidden_weight=1.0)
    assert program('relation', hidden_weight=1.0) != program('relation', **soft, hidden_weight=1.0)


@pytest.mark.parametrize('reads', READINGS)
def test_a_student_is_scored_as_what_it_reads(reads):
    found, reading = objective_of(ObjectiveConfig(kind='distill', reads=reads)), OBJECTIVES[reads]
    assert (found.in_order, found.reader, found.taught) == (reading.in_order, reading.reader, True)
    assert set(found.needs) == {'trainable', *reading.needs}
    with pytest.raises(
        UsageError, match=r"objective\.reads='contrastive': no such choice; choose one of: causal, masked, prefix, spans"
    ):
        objective_of(dataclasses.replace(ObjectiveConfig(kind='distill'), reads='contrastive'))
