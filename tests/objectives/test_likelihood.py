"""Maximum likelihood: sums and weights, label smoothing, z-loss and auxiliary losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.config import RecurrentConfig
from lmjax.objectives.table import OBJECTIVES
from lmjax.types import Batch, Inputs

VOCAB, B, T = 11, 3, 5
MODEL = build(RecurrentConfig(cell='rnn', embedding=0, hidden=4, depth=1), vocab_size=VOCAB, seq_len=T)
PARAMS = jax.jit(lambda key: jax.tree.map(lambda x: 3 * x, MODEL.init(key, {})))(jax.random.key(0))
KEYS = jax.random.split(jax.random.key(5), B)
OBJECTIVE = OBJECTIVES['causal']


def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCAB, (B, T + 1)).astype(np.int32)
    return Batch(Inputs(ids[:, :-1]), ids[:, 1:], rng.integers(0, 3, (B, T)).astype(np.float32))


@jax.jit
def logits(params, rows):
    return MODEL.score(params, MODEL.apply(params, rows.inputs).hidden)


def run(hparams, key=KEYS, rows=None, model=MODEL):
    rows = rows or batch()
    return jax.jit(lambda p: OBJECTIVE.loss(model, p, rows, hparams, key))(PARAMS)


def test_the_loss_is_the_weighted_sum_of_cross_entropies():
    rows = batch()
    total, (weight, sums, cache) = run({})
    logprobs = jax.nn.log_softmax(logits(PARAMS, rows))
    nll = -jnp.take_along_axis(logprobs, rows.targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(total, (nll * rows.weights).sum(), rtol=1e-5)
    np.testing.assert_allclose([sums['loss'], sums['nll'], weight], [total, total, rows.weights.sum()], rtol=1e-6)
    assert cache is None
    assert set(sums) == {'loss', 'nll'}


def test_hits_are_counted_in_evaluation_only():
    rows = batch()
    best = jnp.argmax(logits(PARAMS, rows), axis=-1)
    rows = rows._replace(targets=jnp.where(jnp.arange(T)[None] < 3, best, rows.targets))
    sums = run({}, key=None, rows=rows)[1][1]
    expected = ((best == rows.targets) * rows.weights).sum()
    assert 0 < expected < rows.weights.sum()
    np.testing.assert_allclose(sums['correct'], expected)


def test_label_smoothing_is_the_cross_entropy_against_a_softened_target():
    rows = batch()
    total, (_, sums, _) = run({'label_smoothing': 0.2})
    target = 0.8 * jax.nn.one_hot(rows.targets, VOCAB) + 0.2 / VOCAB
    each = -(target * jax.nn.log_softmax(logits(PARAMS, rows))).sum(-1)
    np.testing.assert_allclose(total, (each * rows.weights).sum(), rtol=1e-5)
    np.testing.assert_allclose(sums['nll'], run({})[0], rtol=1e-6)  # the metric is not smoothed


def test_z_loss_adds_the_squared_log_normalizer():
    rows = batch()
    normalizer = jax.nn.logsumexp(logits(PARAMS, rows), axis=-1)
    extra = run({'z_loss': 0.1})[0] - run({})[0]
    np.testing.assert_allclose(extra, 0.1 * (normalizer**2 * rows.weights).sum(), rtol=1e-4)


@pytest.mark.parametrize('hparams', [{}, {'label_smoothing': 0.1}, {'z_loss': 0.1}, {'label_smoothing': 0.3, 'z_loss': 0.2}])
def test_gradients_of_each_objective_against_plain_autodiff(hparams):
    rows = batch()

    def expected(params):
        z = logits(params, rows)
        smooth = hparams.get('label_smoothing', 0.0)
        target = (1 - smooth) * jax.nn.one_hot(rows.targets, VOCAB) + smooth / VOCAB
        each = -(target * jax.nn.log_softmax(z)).sum(-1) + hparams.get('z_loss', 0.0) * jax.nn.logsumexp(z, axis=-1) ** 2
        return (each * rows.weights).sum()

    actual = jax.jit(jax.grad(lambda p: OBJECTIVE.loss(MODEL, p, rows, hparams, KEYS)[0]))(PARAMS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), actual, jax.jit(jax.grad(expected))(PARAMS)
    )


def test_auxiliary_sums_join_the_loss_with_their_weights():
    def apply(*args, **kwargs):
        return MODEL.apply(*args, **kwargs)._replace(aux={'balance': (jnp.float32(7.0), 0.25)})

    total, (_, sums, _) = run({}, model=MODEL._replace(apply=apply))
    np.testing.assert_allclose(total, run({})[0] + 0.25 * 7.0, rtol=1e-6)
    np.testing.assert_allclose(sums['balance'], 7.0)
    np.testing.assert_allclose(sums['loss'], total, rtol=1e-6)


def test_a_batch_is_the_sum_of_its_rows():
    """What `separable` promises, with ragged weights."""
    assert OBJECTIVE.separable
    rows = batch()
    total, (weight, sums, _) = run({'z_loss': 0.1, 'label_smoothing': 0.1})
    parts = [
        run({'z_loss': 0.1, 'label_smoothing': 0.1}, key=KEYS[part], rows=jax.tree.map(lambda x, part=part: x[part], rows))
        for part in (slice(0, 1), slice(1, 3))
    ]
    np.testing.assert_allclose(sum(p[0] for p in parts), total, rtol=1e-5)
    np.testing.assert_allclose(sum(p[1][0] for p in parts), weight)
    np.testing.assert_allclose(sum(p[1][1]['nll'] for p in parts), sums['nll'], rtol=1e-5)


def test_an_absent_hyperparameter_leaves_no_trace_in_the_program():
    def program(hparams):
        return str(jax.make_jaxpr(lambda p: OBJECTIVE.loss(MODEL, p, batch(), hparams, KEYS)[0])(PARAMS))

    assert ' square ' not in program({})
    assert ' square ' in program({'z_loss': 0.0})


def test_the_state_passes_through():
    cache = MODEL.init_cache(PARAMS, B, 0)
    rows = batch()
    _, (_, _, after) = jax.jit(lambda p: OBJECTIVE.loss(MODEL, p, rows, {}, KEYS, cache))(PARAMS)
    expected = jax.jit(MODEL.apply)(PARAMS, rows.inputs, cache).cache
    np.testing.assert_allclose(after['h'], expected['h'], rtol=1e-6)
    assert np.abs(after['h']).max() > 0.1


@pytest.mark.parametrize('kind', [kind for kind, row in OBJECTIVES.items() if row.report is None])
def test_no_gradient_reaches_what_is_not_scored(kind):
    """Neither hidden states whose target is padding or not asked for, nor padded tokens themselves."""
    rows = batch()
    weights = np.array([[1, 1, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    at = np.array([[0, 2, 3, 4], [1, 2, 4, 0], [0, 1, 2, 3]], np.int32) if kind == 'masked' else None
    if at is None:
        weights = np.pad(weights, ((0, 0), (0, 1)))
    targets = rows.targets if at is None else np.take_along_axis(rows.targets, at, axis=1)
    rows = Batch(rows.inputs, targets, weights, at)

    def total(nudge):
        nudged = MODEL._replace(apply=lambda *args, **kwargs: MODEL.apply(*args, **kwargs)._replace(hidden=hidden + nudge))
        return OBJECTIVES[kind].loss(nudged, PARAMS, rows, {}, None)[0]

    hidden = jax.jit(MODEL.apply)(PARAMS, rows.inputs).hidden
    reached = np.abs(jax.jit(jax.grad(total))(jnp.zeros_like(hidden))).max(axis=-1) > 0
    expected = np.zeros((B, T), bool)
    np.put_along_axis(expected, np.broadcast_to(np.arange(T), (B, T)) if at is None else at, weights > 0, axis=1)
    np.testing.assert_array_equal(reached, expected)


def test_scoring_some_positions_is_scoring_all_with_weights_elsewhere_zero():
    rows = batch()
    at = np.array([[0, 3], [1, 2], [4, 0]], np.int32)
    some = Batch(rows.inputs, np.take_along_axis(rows.targets, at, 1), np.array([[1, 2], [0, 1], [3, 1]], np.float32), at)
    spread = np.zeros((B, T), np.float32)
    np.put_along_axis(spread, at, some.weights, axis=1)
    one, (weight, sums, _) = run({'label_smoothing': 0.1}, key=None, rows=some)
    other, (_, whole, _) = run({'label_smoothing': 0.1}, key=None, rows=rows._replace(weights=spread))
    np.testing.assert_allclose([one, weight, sums['correct']], [other, spread.sum(), whole['correct']], rtol=1e-6)


def test_rows_with_a_label_are_classified():
    """A row's class weighs as much as all that is scored in it; a label of -1 counts for nothing."""
    rows = batch()
    logits = jnp.asarray([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    model = MODEL._replace(apply=lambda *args, **kwargs: MODEL.apply(*args, **kwargs)._replace(row_logits=logits))
    plain, (weight, _, _) = run({}, key=None, rows=rows)
    total, (same, sums, _) = run({}, key=None, rows=rows._replace(labels=jnp.asarray([0, 0, -1])), model=model)
    nll = [np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(1.0))]
    np.testing.assert_allclose(sums['row_nll'], sum(nll), rtol=1e-5)
    np.testing.assert_allclose([sums['rows'], sums['row_correct'], same], [2, 1, weight])
    np.testing.assert_allclose(total, plain + T * sum(nll), rtol=1e-5)
    np.testing.assert_allclose(sums['loss'], total)
