"""Finding one's match in a batch: the loss against loops in NumPy, texts that are the same, padding, and what is reported."""

import math
from functools import partial

import jax
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives import matching
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import OBJECTIVES, objective_of
from lmjax.ops.pooling import POOLINGS
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs

TEMPERATURE, B, T = 0.3, 5, 9
HPARAMS = {'temperature': TEMPERATURE}
ENCODER = TransformerConfig(causal=False, width=8, depth=1, heads=2, position='learned')
LSTM = RecurrentConfig(embedding=6, hidden=8, depth=1)
LENGTHS = ((2, 3, 1), (1, 1, 1), (3, 3, 3), (2, 2, 2), (0, 0, 0))  # of the texts of each row; the last is padding
TEXTS = [[1, 2, 3], [4, 5, 2], [1, 6, 7], [8, 5, 9], [0, 0, 0]]  # equal numbers are the same text


def batch(texts=3, rows=B):
    """Texts of some length; those of equal numbers in TEXTS are told to be the same, whatever their ids are."""
    rng, lengths = np.random.default_rng(3), np.array(LENGTHS)[:rows, :texts]
    segments, positions = np.zeros((rows, T), np.int32), np.zeros((rows, T), np.int32)
    for row, sizes in enumerate(lengths):
        segments[row, : sizes.sum()] = np.repeat(np.arange(1, texts + 1), sizes)
        positions[row, : sizes.sum()] = np.concatenate([np.arange(size) for size in sizes])
    inputs = Inputs(rng.integers(0, 11, (rows, T)).astype(np.int32), positions, segments)
    weights = (lengths.sum(1, keepdims=True) > 0).astype(np.float32)
    return Batch(inputs, np.zeros((rows, 1), np.int32), weights, labels=np.array(TEXTS, np.int32)[:rows, :texts])


def network(config=ENCODER):
    model = build(config, vocab_size=11, seq_len=T)
    return model, jax.tree.map(lambda x: 3 * x, model.init(jax.random.key(2), {}))


def vectors_of(model, params, rows, pooling):
    """Each text of each row read by itself, rows x texts x D."""
    found = []
    for ids, segments in zip(rows.inputs.ids, rows.inputs.segments, strict=True):
        texts = [ids[segments == k] for k in range(1, segments.max() + 1)]
        outputs = [model.apply(params, Inputs(text[None])) for text in texts]
        pooled = [np.asarray(POOLINGS[pooling](one, np.ones(one.hidden.shape[:2], bool)))[0] for one in outputs]
        found.append([one / np.linalg.norm(one) for one in pooled])
    return found


def by_hand(vectors, texts):
    """The loss of each row that has texts, both ways."""
    rows, losses = [row for row in range(len(vectors)) if vectors[row]], []
    for i in rows:
        rivals = [j for j in rows if texts[j][0] != texts[i][0] and texts[j][1] != texts[i][1]]
        others = [vectors[j][k] for j in rows for k in range(2, len(vectors[j])) if texts[j][k] != texts[i][1]]
        own = vectors[i][0] @ vectors[i][1] / TEMPERATURE
        forth = [own, *(vectors[i][0] @ v / TEMPERATURE for v in [*(vectors[j][1] for j in rivals), *others])]
        back = [own, *(vectors[i][1] @ vectors[j][0] / TEMPERATURE for j in rivals)]
        losses.append((np.log(np.exp(forth).sum()) + np.log(np.exp(back).sum())) / 2 - own)
    return losses


@pytest.mark.parametrize('texts', [2, 3])
@pytest.mark.parametrize(('config', 'pooling'), [(ENCODER, 'first'), (ENCODER, 'mean'), (LSTM, 'last'), (LSTM, 'mean')])
def test_the_loss_is_that_of_texts_that_are_read_by_themselves(config, pooling, texts):
    model, params = network(config)
    rows = batch(texts)
    total, (weight, sums, cache) = matching.loss(model, params, rows, HPARAMS, None, pooling=pooling)
    expected = by_hand(vectors_of(model, params, rows, pooling), TEXTS)
    assert min(expected) > 0.01
    np.testing.assert_allclose(sums['nll'], sum(expected), rtol=2e-4)
    np.testing.assert_allclose(total, sums['nll'], rtol=1e-6)
    assert (float(weight), cache) == (4.0, None)


def test_a_row_alone_is_not_scored_and_padding_has_no_gradient():
    model, params = network()
    total, (weight, sums, _) = matching.loss(model, params, batch(rows=1), HPARAMS, None)
    assert (float(total), float(weight), float(sums['nll'])) == (0.0, 0.0, 0.0)
    gradient = jax.grad(lambda p, rows: matching.loss(model, p, rows, HPARAMS, None)[0])
    both = gradient(params, batch()), gradient(params, batch(rows=4))
    for padded, bare in zip(*map(jax.tree.leaves, both), strict=True):
        assert np.isfinite(padded).all()
        np.testing.assert_allclose(padded, bare, rtol=1e-4, atol=1e-6)


def test_evaluation_ranks_among_all_rows_that_it_reads():
    vectors = np.eye(3, dtype=np.float32)
    kept = [(0, 0, (1, 10)), (1, 0, (2, 20)), (2, 2, (3, 30)), (0, 1, (1, 20))]  # first's axis, second's axis, texts
    rows = {
        'first': [vectors[first] for first, _, _ in kept],
        'second': [vectors[second] for _, second, _ in kept],
        'texts': [np.array(texts) for _, _, texts in kept],
    }
    found = matching.report({'weight': 4.0, 'nll': 2.0}, rows)
    # 10 lies on axis 0, 20 where it was first seen: axis 0 too; 1 has both right, 2 scores 0 for all, 3 has its own
    assert found == {'loss_nats': 0.5, 'accuracy': 0.5 + 0.25, 'mrr': pytest.approx((1 + 1 + 1 + 1 / 2) / 4), 'texts': 4}
    empty = matching.report({'weight': 0.0, 'nll': 0.0}, {})
    assert empty['texts'] == 0
    assert math.isnan(empty['accuracy'])


def test_the_table_evaluates_in_batches_of_any_size():
    model, params = network()
    objective = objective_of(ObjectiveConfig(kind='match', pooling='first'))
    assert OBJECTIVES['match'].labels == 'match'
    step = make_eval_step(model, objective, HPARAMS)

    class Words:
        lossless, unknown_id = True, None

    whole = batch()
    parts = [jax.tree.map(lambda x, at=at: x[at : at + 2], whole) for at in (0, 2)]
    score = partial(evaluate, step, params, tokenizer=Words(), objective=objective)
    one, two = score([whole]), score(parts)
    assert one['texts'] == two['texts'] == 4
    assert (one['accuracy'], one['mrr']) == (two['accuracy'], two['mrr'])
    assert one['loss_nats'] > two['loss_nats'] > 0  # fewer to be told from
