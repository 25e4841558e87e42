"""Where answers begin and end: the loss against NumPy, what may be told, smoothing and padding."""

import math

import jax
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.classifiers import with_token_classifier
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives import answers
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs

LENGTHS, T = np.array([6, 4, 5, 0]), 6
TARGETS = np.array([[2, 4], [0, 0], [3, 3], [0, 0]], np.int32)


def batch():
    index, real = np.arange(T)[None], np.arange(T)[None] < LENGTHS[:, None]
    may = real & ((index == 0) | (index >= 2))
    ids = np.random.default_rng(1).integers(0, 11, (4, T)).astype(np.int32)
    weights = np.repeat(0.5 * (LENGTHS[:, None] > 0), 2, axis=1).astype(np.float32)
    return Batch(Inputs(ids, segments=real.astype(np.int32)), TARGETS, weights, labels=may)


@pytest.mark.parametrize(
    'config', [TransformerConfig(causal=False, width=8, depth=1, heads=2), RecurrentConfig(embedding=6, hidden=8, depth=1)]
)
@pytest.mark.parametrize('smoothing', [None, 0.3])
def test_both_ends_are_told_among_the_tokens_that_may(config, smoothing):
    model = with_token_classifier(build(config, vocab_size=11, seq_len=T), outputs=2)
    params, rows = jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {})), batch()
    logits = np.asarray(model.apply(params, rows.inputs).token_logits, np.float64)
    nll, losses, right = 0.0, 0.0, 0
    for row in range(3):
        told = []
        for side in (0, 1):
            own = {place: logits[row, place, side] for place in np.flatnonzero(rows.labels[row])}
            normal = math.log(sum(map(math.exp, own.values())))
            surprise = normal - own[TARGETS[row, side]]
            nll += surprise / 2
            mean = np.mean([value - normal for value in own.values()])
            losses += (surprise if smoothing is None else (1 - smoothing) * surprise - smoothing * mean) / 2
            told.append(max(own, key=own.get))
        right += told == TARGETS[row].tolist()
    hparams = {} if smoothing is None else {'label_smoothing': smoothing}
    total, (weight, sums, _) = answers.loss(model, params, rows, hparams, None)
    np.testing.assert_allclose([sums['nll'], total, weight], [nll, losses, 3.0], rtol=1e-5)
    assert float(sums['correct']) == right
    objective = objective_of(ObjectiveConfig(kind='span'))

    class Words:
        lossless, unknown_id = True, 3

    found = evaluate(make_eval_step(model, objective, hparams), params, [rows], tokenizer=Words(), objective=objective)
    assert found == {'loss_nats': pytest.approx(nll / 3, rel=1e-5), 'accuracy': pytest.approx(right / 3), 'texts': 3}
    assert math.isnan(answers.report({'weight': 0.0, 'nll': 0.0}, {})['accuracy'])
