"""Several classes of a text, a number of it, tags of its words: each loss against its formula, and what is reported."""

import math

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.classifiers import TOKENS, network_part, with_row_classifier, with_token_classifier
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives import multilabel, regression, tagging
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs

ENCODER = TransformerConfig(causal=False, width=8, depth=1, heads=2)
LSTM = RecurrentConfig(embedding=6, hidden=8, depth=1)
LENGTHS = (3, 2, 4, 0)
SETS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [-1, -1, -1]], np.float32)
NUMBERS = np.array([0.5, -2.0, 3.0, -1.0], np.float32)
TAGS = ((0, 1, 2, 0), (0, 2, 1, 0), (0, 0, 0, 2), (0, 0, 0, 0))
SCORED = ((1, 0, 1, 0), (1, 1, 0, 0), (1, 1, 0, 1), (0, 0, 0, 0))


class Words:
    lossless, unknown_id = True, None


def batch(labels=None):
    ids = np.random.default_rng(1).integers(0, 11, (4, 4)).astype(np.int32)
    inputs = Inputs(ids, segments=(np.arange(4)[None] < np.array(LENGTHS)[:, None]).astype(np.int32))
    if labels is None:
        return Batch(inputs, np.array(TAGS, np.int32), np.array(SCORED, np.float32))
    return Batch(inputs, np.zeros((4, 1), np.int32), (np.array(LENGTHS)[:, None] > 0).astype(np.float32), labels=labels)


def network(config=ENCODER, outputs=3):
    """A network, its parameters, large enough for answers that differ."""
    model = with_row_classifier(build(config, vocab_size=11, seq_len=4), outputs=outputs, pooling='last')
    return model, jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {}))


def tagger(config=ENCODER):
    model = with_token_classifier(build(config, vocab_size=11, seq_len=4), outputs=3)
    return model, jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {}))


@pytest.mark.parametrize('config', [ENCODER, LSTM], ids=['encoder', 'lstm'])
def test_classes_are_told_one_by_one(config):
    model, params = network(config)
    total, (weight, sums, _) = multilabel.loss(model, params, batch(SETS), {'label_smoothing': 0.2}, None)
    logits = np.asarray(model.apply(params, batch(SETS).inputs).row_logits, np.float64)[:3]
    p = 1 / (1 + np.exp(-logits))

    def entropy(wanted):
        return -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean(axis=1).sum()

    assert weight == 3
    np.testing.assert_allclose(sums['nll'], entropy(SETS[:3]), rtol=1e-5)
    np.testing.assert_allclose(total, entropy(0.8 * SETS[:3] + 0.1), rtol=1e-5)
    np.testing.assert_array_equal(sums['kept']['told'][:3], p > 0.5)


def test_scores_of_sets():
    """Class by class: one of two found; two of two, one too many; nothing to find, nothing found."""
    rows = {'label': [[1, 1, 0], [1, 0, 0], [0, 1, 0]], 'told': [[1, 1, 0], [0, 1, 0], [0, 1, 0]]}
    found = multilabel.report({'weight': 3.0, 'nll': 6.0}, {name: list(map(np.array, each)) for name, each in rows.items()})
    assert found['loss_nats'] == 2
    assert found['accuracy'] == pytest.approx(2 / 3)
    assert found['f1'] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert found['micro_f1'] == pytest.approx(2 * 3 / (4 + 4))
    assert math.isnan(multilabel.report({'weight': 0.0, 'nll': 0.0}, {})['f1'])


@pytest.mark.parametrize('config', [ENCODER, LSTM], ids=['encoder', 'lstm'])
def test_a_number_is_told_by_its_square(config):
    model, params = network(config, outputs=1)
    total, (weight, sums, _) = regression.loss(model, params, batch(NUMBERS), {}, None)
    told = np.asarray(model.apply(params, batch(NUMBERS).inputs).row_logits)[:3, 0]
    assert weight == 3
    np.testing.assert_allclose(total, ((told - NUMBERS[:3]) ** 2).sum(), rtol=1e-5)
    np.testing.assert_array_equal(sums['kept']['told'][:3], told)


def test_scores_of_numbers():
    """Ranks 1 2 3 4 against 1 3 2 4: Spearman's is 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1))."""
    rows = {'label': [1.0, 2.0, 3.0, 10.0], 'told': [0.0, 5.0, 4.0, 6.0]}
    found = regression.report({'weight': 4.0, 'nll': 8.0}, rows)
    assert found['squared_error'] == found['loss_nats'] == 2
    assert found['spearman'] == pytest.approx(0.8)
    assert found['pearson'] == pytest.approx(np.corrcoef(rows['label'], rows['told'])[0, 1])
    assert regression.report({'weight': 2.0, 'nll': 1.0}, {'label': [1.0, 1.0], 'told': [0.0, 5.0]})['pearson'] is None
    assert math.isnan(regression.report({'weight': 0.0, 'nll': 0.0}, {})['loss_nats'])


@pytest.mark.parametrize('config', [ENCODER, LSTM], ids=['encoder', 'lstm'])
def test_a_tag_is_told_where_it_is_asked_for(config):
    model, params = tagger(config)
    total, (weight, sums, _) = tagging.loss(model, params, batch(), {'label_smoothing': 0.1}, None)
    logits = np.asarray(model.apply(params, batch().inputs).token_logits, np.float64)
    logprob = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    places = [(b, t) for b in range(4) for t in range(4) if SCORED[b][t]]
    own = sum(logprob[b, t, TAGS[b][t]] for b, t in places)
    assert weight == len(places) == 7
    np.testing.assert_allclose(sums['nll'], -own, rtol=1e-5)
    np.testing.assert_allclose(total, -0.9 * own - 0.1 * sum(logprob[place].mean() for place in places), rtol=1e-5)
    assert sums['correct'] == sum(logits[b, t].argmax() == TAGS[b][t] for b, t in places)


def test_padding_and_words_that_are_not_asked_for_change_nothing():
    model, params = tagger()
    gradient = jax.jit(jax.grad(lambda params, rows: tagging.loss(model, params, rows, {}, None)[0]))
    rows, strange = batch(), batch()
    strange.inputs.ids[np.asarray(strange.inputs.segments) == 0] = 5
    strange.targets[np.array(SCORED) == 0] = 1
    jax.tree.map(np.testing.assert_array_equal, gradient(params, rows), gradient(params, strange))
    assert float(np.abs(gradient(params, rows)[TOKENS]['w']).max()) > 0
    assert TOKENS not in network_part(params)


def test_dropout_of_words_depends_on_the_row_alone():
    model, params = tagger()
    keys, rows = jax.random.split(jax.random.key(1), 4), batch()
    logits = model.apply(params, rows.inputs, key=keys, hparams={'dropout': 0.5}).token_logits
    order = np.array([1, 2, 0, 3])
    moved = Inputs(rows.inputs.ids[order], segments=rows.inputs.segments[order])
    again = model.apply(params, moved, key=keys[order], hparams={'dropout': 0.5}).token_logits
    np.testing.assert_allclose(again[:3], logits[order][:3], rtol=1e-5, atol=1e-5)
    assert not np.allclose(logits, model.apply(params, rows.inputs).token_logits)


def test_what_a_classifier_reads_is_dropped_too():
    """Below is a network that drops nothing itself."""
    bare = build(ENCODER, vocab_size=11, seq_len=4)
    silent = bare._replace(apply=lambda params, inputs, cache=None, key=None, hparams=None: bare.apply(params, inputs))
    keys = jax.random.split(jax.random.key(1), 4)
    for model, field in (
        (with_token_classifier(silent, outputs=3), 'token_logits'),
        (with_row_classifier(silent, outputs=3, pooling='mean'), 'row_logits'),
    ):
        params = model.init(jax.random.key(2), {})
        found = [getattr(model.apply(params, batch().inputs, key=key, hparams={'dropout': 0.5}), field) for key in (None, keys)]
        assert not np.allclose(*found)


def test_evaluation_keeps_rows_over_batches_of_any_width():
    """Tags of two batches, the second narrower: spans are those of whole rows, padding rows are none."""
    objective = objective_of(ObjectiveConfig(kind='tag', classes=('B-X', 'I-X', 'O')))
    model, params = tagger()
    narrow = batch()
    narrow = Batch(
        Inputs(narrow.inputs.ids[:, :3], segments=narrow.inputs.segments[:, :3]), narrow.targets[:, :3], narrow.weights[:, :3]
    )
    found = evaluate(make_eval_step(model, objective, {}), params, [batch(), narrow], tokenizer=Words, objective=objective)
    label, told = [], []
    for part in (batch(), narrow):
        for row, scored in enumerate(part.weights[:3] > 0):
            logits = model.apply(params, part.inputs).token_logits[row]
            label.append([objective_tags[tag] for tag in part.targets[row][scored]])
            told.append([objective_tags[tag] for tag in np.argmax(logits, axis=-1)[scored]])
    assert (found['texts'], found['words']) == (6, 13)
    assert found['accuracy'] == pytest.approx(
        np.mean([a == b for x, y in zip(label, told, strict=True) for a, b in zip(x, y, strict=True)])
    )
    assert {name: found[name] for name in ('span_f1', 'span_precision', 'span_recall')} == tagging.span_scores(label, told)


objective_tags = ('B-X', 'I-X', 'O')


def test_spans_are_scored_as_seqeval_does():
    """Its README's example, and a span that begins with I, which the lenient reading takes for one."""
    label = [['O', 'O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'O'], ['B-PER', 'I-PER', 'O']]
    told = [['O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'I-MISC', 'O'], ['B-PER', 'I-PER', 'O']]
    assert tagging.span_scores(label, told)['span_f1'] == 0.5
    assert tagging.span_scores([['B-NP', 'I-NP', 'O']], [['I-NP', 'I-NP', 'O']])['span_f1'] == 1.0
    assert tagging.span_scores([['S-A', 'B-B', 'E-B']], [['S-A', 'O', 'O']]) == {
        'span_f1': 2 / 3,
        'span_precision': 1.0,
        'span_recall': 0.5,
    }
    assert tagging.span_scores([['O']], [['O']])['span_f1'] == 0.0


def test_which_tags_spell_spans(monkeypatch):
    assert tagging.spell_spans(('O', 'B-X', 'I-X', 'E-X', 'S-X'))
    assert not tagging.spell_spans(('NN', 'O', 'B-X'))
    assert not tagging.spell_spans(('NN', 'VB'))
    monkeypatch.setitem(__import__('sys').modules, 'seqeval.metrics', None)
    tagging.check(('NN', 'VB'))
    with pytest.raises(UsageError, match=r"pip install -e '\.\[metrics\]'"):
        tagging.check(('O', 'B-X'))
