"""Telling classes: the loss against its formula, blind to rows without a label, and what is reported."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.classifiers import ROWS, network_part, with_row_classifier
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives import classification
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs

LENGTHS, LABELS = (3, 2, 4, 0), (2, 0, 1, -1)
CONFIGS = {
    'encoder': TransformerConfig(causal=False, width=8, depth=1, heads=2),
    'pooler': TransformerConfig(causal=False, width=8, depth=1, heads=2, pooler=True),
    'lstm': RecurrentConfig(embedding=6, hidden=8, depth=1),
}


def network(kind='encoder', pooling='mean'):
    return with_row_classifier(build(CONFIGS[kind], vocab_size=11, seq_len=4), outputs=3, pooling=pooling)


def batch(labels=LABELS, lengths=LENGTHS):
    ids = np.random.default_rng(1).integers(0, 11, (4, 4)).astype(np.int32)
    segments = (np.arange(4)[None] < np.array(lengths)[:, None]).astype(np.int32)
    weights = (np.array(lengths)[:, None] > 0).astype(np.float32)
    return Batch(Inputs(ids, segments=segments), np.zeros((4, 1), np.int32), weights, labels=np.array(labels, np.int32))


@pytest.mark.parametrize(
    ('kind', 'pooling'), [('encoder', 'mean'), ('encoder', 'first'), ('pooler', 'pooler'), ('lstm', 'last')]
)
def test_the_loss_is_the_cross_entropy_of_the_labels(kind, pooling):
    model = network(kind, pooling)
    params = jax.tree.map(lambda x: 3 * x, model.init(jax.random.key(0), {}))
    total, (weight, sums, _) = classification.loss(model, params, batch(), {'label_smoothing': 0.1}, None)
    logits = np.asarray(model.apply(params, batch().inputs).row_logits, np.float64)
    logprob = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = [logprob[row, label] for row, label in enumerate(LABELS[:3])]
    assert weight == 3
    np.testing.assert_allclose(sums['nll'], -sum(own), rtol=1e-5)
    np.testing.assert_allclose(total, -0.9 * sum(own) - 0.1 * logprob[:3].mean(axis=1).sum(), rtol=1e-5)
    assert float(sums['confusion'].sum()) == 3
    assert all(sums['confusion'][label, logits[row].argmax()] >= 1 for row, label in enumerate(LABELS[:3]))


@pytest.mark.parametrize(('kind', 'pooling'), [('encoder', 'mean'), ('lstm', 'last')])
def test_padding_and_rows_without_a_label_change_nothing(kind, pooling):
    model = network(kind, pooling)
    params = model.init(jax.random.key(0), {})
    gradient = jax.jit(jax.grad(lambda params, rows: classification.loss(model, params, rows, {}, None)[0]))
    rows, strange = batch(), batch()
    strange.inputs.ids[np.asarray(strange.inputs.segments) == 0] = 5
    jax.tree.map(np.testing.assert_array_equal, gradient(params, rows), gradient(params, strange))
    assert float(jnp.abs(gradient(params, rows)[ROWS]['w']).max()) > 0
    none = classification.loss(model, params, batch(labels=(-1,) * 4), {}, None)
    assert float(none[0]) == float(none[1][0]) == 0


def test_the_network_below_is_as_it_was():
    bare, model = build(CONFIGS['encoder'], vocab_size=11, seq_len=4), network()
    params = model.init(jax.random.key(0), {})
    jax.tree.map(np.testing.assert_array_equal, network_part(params), bare.init(jax.random.key(0), {}))
    hidden = model.apply(params, batch().inputs).hidden
    np.testing.assert_array_equal(hidden, bare.apply(network_part(params), batch().inputs).hidden)
    ids = np.zeros((4, 4), np.int32)
    np.testing.assert_array_equal(
        model.score(params, hidden, ids).logprob, bare.score(network_part(params), hidden, ids).logprob
    )
    assert jax.tree.structure(model.axes, is_leaf=lambda x: isinstance(x, tuple)) == jax.tree.structure(params)


def test_dropout_of_a_row_depends_on_its_key_alone():
    model, rows = network(), batch()
    params, keys = model.init(jax.random.key(0), {}), jax.random.split(jax.random.key(1), 4)
    logits = model.apply(params, rows.inputs, key=keys, hparams={'dropout': 0.5}).row_logits
    order = np.array([1, 2, 0, 3])
    moved = Inputs(rows.inputs.ids[order], segments=rows.inputs.segments[order])
    again = model.apply(params, moved, key=keys[order], hparams={'dropout': 0.5}).row_logits
    np.testing.assert_allclose(again[:3], logits[order][:3], rtol=1e-5, atol=1e-6)
    assert not np.allclose(logits, model.apply(params, rows.inputs).row_logits)


def test_the_report_counts_over_all_batches():
    model, objective = network(), objective_of(ObjectiveConfig(kind='classify'))
    params = jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {}))
    parts = [batch(), batch(labels=(0, 1, -1, 2), lengths=(4, 1, 2, 3))]
    found = evaluate(make_eval_step(model, objective, {}), params, parts, tokenizer=Words, objective=objective)
    told = [int(np.argmax(model.apply(params, part.inputs).row_logits[row])) for part in parts for row in range(4)]
    pairs = [(label, guess) for label, guess in zip([*LABELS, 0, 1, -1, 2], told, strict=True) if label >= 0]
    assert found['texts'] == len(pairs) == 6
    assert found['accuracy'] == pytest.approx(sum(a == b for a, b in pairs) / 6)
    assert found['confusion'] == [[sum(pair == (i, j) for pair in pairs) for j in range(3)] for i in range(3)]


def test_weighted_classes_are_a_weighted_mean_in_training_alone():
    model, rows = network(), batch()
    params, keys = model.init(jax.random.key(0), {}), jax.random.split(jax.random.key(1), 4)
    lone = [classification.loss(model, params, batch(labels=labels), {}, keys) for labels in lone_labels()]
    total, (weight, _, _) = classification.loss(model, params, rows, {}, keys, class_weights=(0.5, 2.0, 3.0))
    shares = [(0.5, 2.0, 3.0)[label] for label in LABELS if label >= 0]
    np.testing.assert_allclose(weight, sum(shares))
    np.testing.assert_allclose(total, sum(share * one[0] for share, one in zip(shares, lone, strict=True)), rtol=1e-5)
    scored = [classification.loss(model, params, rows, {}, None, class_weights=w)[0] for w in ((), (0.5, 2.0, 3.0))]
    assert scored[0] == scored[1]


def lone_labels():
    """The labels of the batch, one at a time."""
    return [tuple(x if i == row else -1 for i, x in enumerate(LABELS)) for row, label in enumerate(LABELS) if label >= 0]


class Words:
    lossless, unknown_id = True, None


BINS = np.zeros((10, 3))


def test_scores_of_a_confusion():
    # Two classes: precision 2/3 and 3/4, recall 2/3 and 3/4 (f1 alike); MCC = (TP TN - FP FN) / sqrt of the product of sums.
    found = classification.report(
        {'weight': 7.0, 'nll': 3.5, 'confusion': np.array([[2.0, 1.0], [1.0, 3.0]]), 'bins': BINS}, {}
    )
    assert found['loss_nats'] == 0.5
    assert found['accuracy'] == pytest.approx(5 / 7)
    assert found['f1'] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert found['mcc'] == pytest.approx((2 * 3 - 1 * 1) / math.sqrt(3 * 3 * 4 * 4))
    alike = classification.report(
        {'weight': 4.0, 'nll': 1.0, 'confusion': np.array([[4.0, 0.0], [0.0, 0.0]]), 'bins': BINS}, {}
    )
    assert (alike['accuracy'], alike['mcc']) == (1.0, 0.0)
    assert math.isnan(classification.report({'weight': 0.0, 'nll': 0.0, 'confusion': np.zeros((2, 2))}, {})['accuracy'])


def test_calibration_is_the_share_that_is_right_by_what_was_told():
    told, right, counted = np.array([0.55, 0.58, 0.91, 1.0, 0.97]), np.array([1.0, 0, 1, 1, 1]), np.array([1.0, 1, 1, 1, 0])
    bins = np.asarray(classification.binned(told, right, counted))
    found = classification.report({'weight': 4.0, 'nll': 1.0, 'confusion': np.eye(2), 'bins': bins}, {})
    np.testing.assert_allclose(found['calibration'], [[2, 0.565, 0.5], [2, 0.955, 1.0]], rtol=1e-5)
    assert found['calibration_error'] == pytest.approx((2 * 0.065 + 2 * 0.045) / 4, rel=1e-4)


def test_evaluation_bins_what_the_network_tells():
    model, rows = network(), batch()
    params = jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {}))
    _, (_, sums, _) = classification.loss(model, params, rows, {}, None)
    probs = np.asarray(jax.nn.softmax(model.apply(params, rows.inputs).row_logits))
    own = [(row.max(), float(row.argmax() == label)) for row, label in zip(probs, LABELS, strict=True) if label >= 0]
    expected = np.zeros((10, 3))
    for probability, is_right in own:
        expected[int(probability * 10)] += [1, probability, is_right]
    np.testing.assert_allclose(sums['bins'], expected, rtol=1e-5)
