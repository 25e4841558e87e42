"""Telling tails: the loss against NumPy, filtered ranks by brute force, smoothing, padding and what is no number."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.config import GraphConfig, RecurrentConfig, TransformerConfig
from lmjax.objectives import link
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs

V, B = 13, 6
ENTITIES = np.arange(3, 11)


def batch(rows=B):
    """Heads and relations, a tail of each, and what competes: entities less some; the last row is padding."""
    rng = np.random.default_rng(2)
    competes = np.zeros((B, V), bool)
    competes[:, ENTITIES] = rng.random((B, len(ENTITIES))) < 0.7
    own = rng.choice(ENTITIES, (B, 1)).astype(np.int32)
    np.put_along_axis(competes, own, True, axis=1)
    weights = (np.arange(B)[:, None] < B - 1).astype(np.float32)
    whole = Batch(Inputs(rng.integers(0, V, (B, 2)).astype(np.int32)), own, weights, labels=competes)
    return jax.tree.map(lambda x: x[:rows], whole)


NETWORKS = {
    'graph': GraphConfig(width=8, init_scale=0.5),
    'transformer': TransformerConfig(width=8, depth=1, heads=2),
    'lstm': RecurrentConfig(embedding=6, hidden=8, depth=1),
}


def network(name):
    model = build(NETWORKS[name], vocab_size=V, seq_len=2)
    return model, jax.tree.map(lambda x: 5 * x, model.init(jax.random.key(2), {}))


def by_hand(model, params, rows):
    """(cross-entropy, mean over what competes, rank) of each row that is none of padding."""
    hidden = model.apply(params, rows.inputs).hidden[:, -1:]
    logits = np.asarray(model.score(params, hidden), np.float64)[:, 0]
    found = []
    for scores, own, competes in list(zip(logits, np.asarray(rows.targets)[:, 0], rows.labels, strict=True))[: B - 1]:
        normal = math.log(sum(math.exp(scores[v]) for v in range(V) if competes[v]))
        of_all = [scores[v] - normal for v in range(V) if competes[v]]
        rivals = [scores[v] for v in range(V) if competes[v] and v != own]
        rank = 1 + sum(x > scores[own] for x in rivals) + sum(x == scores[own] for x in rivals) / 2
        found.append((normal - scores[own], np.mean(of_all), rank))
    return np.array(found)


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('smoothing', [None, 0.2])
def test_the_loss_is_that_of_what_competes(name, smoothing):
    model, params = network(name)
    rows = batch()
    hparams = {'n3': 0.1} if smoothing is None else {'n3': 0.1, 'label_smoothing': smoothing}
    total, (weight, sums, _) = link.loss(model, params, rows, hparams, jax.random.split(jax.random.key(0), B))
    nll, mean, _ = by_hand(model, params, rows).T
    assert nll.min() > 0.01
    auxiliary = sum(share * amount for amount, share in model.apply(params, rows.inputs, hparams=hparams).aux.values())
    assert (auxiliary > 0) == (name == 'graph')
    expected = nll.sum() if smoothing is None else ((1 - smoothing) * nll - smoothing * mean).sum()
    np.testing.assert_allclose(sums['nll'], nll.sum(), rtol=1e-4)
    np.testing.assert_allclose(total, expected + auxiliary, rtol=1e-4)
    assert float(weight) == B - 1
    assert 'mrr' not in sums


def test_evaluation_reports_filtered_ranks():
    model, params = network('graph')
    objective, rows = objective_of(ObjectiveConfig(kind='link')), batch()

    class Words:
        lossless, unknown_id = True, None

    found = evaluate(make_eval_step(model, objective, {}), params, [rows], tokenizer=Words(), objective=objective)
    nll, _, ranks = by_hand(model, params, rows).T
    assert len(set(ranks)) > 2
    expected = {'loss_nats': nll.mean(), 'mrr': (1 / ranks).mean(), 'texts': B - 1}
    expected |= {f'hits@{count}': (ranks <= count).mean() for count in (1, 3, 10)}
    assert found == {name: pytest.approx(value, rel=1e-4) for name, value in expected.items()}
    assert math.isnan(link.report({'weight': 0.0, 'nll': 0.0}, {})['mrr'])


def test_ties_count_half_and_what_is_no_number_stands_before():
    scores = jnp.array([[1.0, 1.0, 1.0, 2.0, 0.0], [jnp.nan, 1.0, 2.0, 3.0, 4.0], [1.0, jnp.nan, 0.0, 0.0, 0.0]])
    competes = jnp.array([[True] * 5, [True] * 5, [True, True, True, False, True]])
    own = jnp.array([[0], [0], [0]])
    assert link.rank_of(scores, competes, own).tolist() == [1 + 1 + 2 / 2, 5.0, 2.0]
    fewer = competes.at[0, 3].set(False).at[0, 1].set(False)
    assert link.rank_of(scores, fewer, own)[0] == 1 + 1 / 2
