"""Contrastive vectors of texts: InfoNCE against its formula, over the whole batch, blind to padding; and what is reported."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.models import build
from lmjax.models.config import RecurrentConfig
from lmjax.objectives import contrastive
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import OBJECTIVES, objective_of
from lmjax.ops.dropout import fold_name
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Batch, Inputs, Output

B, T, D, TEMPERATURE = 4, 3, 5, 0.2
HPARAMS = {'temperature': TEMPERATURE, 'dropout': 0.3}
KEYS = jax.random.split(jax.random.key(5), B)


class Network:
    """Hidden states are a table of the rows, plus noise that a row's keys decide."""

    def apply(self, params, inputs, cache=None, key=None, hparams=None):
        noise = jax.vmap(lambda words: jnp.sin(words.astype(jnp.float32).sum() + jnp.arange(D)))(key)
        return Output(params + 0.3 * noise[:, None, :], aux={'balance': (jnp.float32(2.0), 0.5)})


PARAMS = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)), jnp.float32)


def batch(lengths=(3, 2, 3, 1)):
    segments = (np.arange(T)[None] < np.array(lengths)[:, None]).astype(np.int32)
    weights = (np.array(lengths)[:, None] > 0).astype(np.float32)
    return Batch(Inputs(np.zeros((B, T), np.int32), segments=segments), np.zeros((B, 1), np.int32), weights)


def by_hand(params, rows, pooling, keys=KEYS):
    """(cross-entropies, similarities, both readings) of the rows that have a token, in NumPy."""
    views = []
    for name in ('first reading', 'second reading'):
        hidden = np.asarray(Network().apply(params, rows.inputs, key=fold_name(keys, name)).hidden, np.float64)
        lengths = rows.inputs.segments.sum(axis=1)
        pick = {'mean': lambda h, n: h[:n].mean(0), 'first': lambda h, n: h[0], 'last': lambda h, n: h[n - 1]}[pooling]
        vectors = np.stack([pick(h, n) for h, n in zip(hidden, lengths, strict=True) if n])
        views.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    scores = np.exp(views[0] @ views[1].T / TEMPERATURE)
    return -np.log(np.diag(scores) / scores.sum(axis=1)), scores, views


@jax.jit
def run(params, rows):
    """((loss, (weight, sums, cache)), gradient of the loss)."""
    return jax.value_and_grad(lambda p: contrastive.loss(Network(), p, rows, HPARAMS, KEYS, pooling='mean'), has_aux=True)(
        params
    )


EVALUATED = OBJECTIVES['contrastive']._replace(loss=partial(contrastive.loss, pooling='last'))
EVAL_STEP = make_eval_step(Network(), EVALUATED, HPARAMS)


def test_the_loss_is_infonce_over_the_rows():
    (total, (weight, sums, cache)), _ = run(PARAMS, batch())
    expected, _, _ = by_hand(PARAMS, batch(), 'mean')
    assert expected.sum() > 0.3
    np.testing.assert_allclose(sums['nll'], expected.sum(), rtol=1e-5)
    np.testing.assert_allclose([total, sums['loss']], expected.sum() + 2 * 0.5 * 2.0, rtol=1e-5)  # two readings' balance
    assert (float(weight), float(sums['balance']), cache) == (4.0, 4.0, None)
    assert 'correct' not in sums


def test_padded_rows_are_neither_asked_nor_answers():
    rows = batch((3, 2, 0, 1))
    fewer, _, _ = by_hand(PARAMS, rows, 'mean')
    (_, (weight, sums, _)), grads = run(PARAMS, rows)
    assert (float(weight), len(fewer)) == (3.0, 3)
    np.testing.assert_allclose(sums['nll'], fewer.sum(), rtol=1e-5)
    np.testing.assert_array_equal(np.abs(grads).max(axis=-1) > 0, rows.inputs.segments > 0)


def test_a_row_alone_has_nothing_to_be_told_from():
    sums, _ = EVAL_STEP(PARAMS, batch((0, 2, 0, 0)), None)
    totals = {name: float(value) for name, value in sums.items()}
    assert (totals['weight'], totals['nll'], totals['pairs']) == (0.0, 0.0, 0.0)
    assert math.isnan(contrastive.report(totals, {})['loss_nats'])


def test_every_row_is_told_from_all_others():
    """What the row of the table denies: the loss of a batch is not the sum over its parts."""
    assert not OBJECTIVES['contrastive'].separable
    whole, *parts = (run(PARAMS, batch(lengths))[0][1][1]['nll'] for lengths in ((3, 2, 3, 1), (3, 2, 0, 0), (0, 0, 3, 1)))
    assert float(whole) > float(sum(parts)) + 0.3


def test_an_evaluation_adds_up_over_batches():
    """Same keys each time; the second batch is partly padding; pairs are those within a batch."""
    keys = jnp.stack([jnp.arange(B, dtype=jnp.uint32)] * 2, axis=1)
    batches = [batch(), batch((1, 3, 0, 0))]
    found = [by_hand(PARAMS, rows, 'last', keys) for rows in batches]

    class Bytes:
        lossless, unknown_id, byte_lengths = True, 0, np.ones(1, np.int64)

    scores = evaluate(EVAL_STEP, PARAMS, batches, tokenizer=Bytes, objective=EVALUATED)
    assert set(scores) == {'loss_nats', 'accuracy', 'alignment', 'uniformity', 'texts'}
    assert scores['texts'] == 6
    np.testing.assert_allclose(scores['loss_nats'], np.concatenate([nll for nll, _, _ in found]).mean(), rtol=1e-5)
    hits = [s.argmax(axis=1) == np.arange(len(s)) for _, s, _ in found]
    np.testing.assert_allclose(scores['accuracy'], np.concatenate(hits).mean())
    apart = [np.square(a - b).sum(axis=1) for _, _, (a, b) in found]
    np.testing.assert_allclose(scores['alignment'], np.concatenate(apart).mean(), rtol=1e-4)
    near = [
        np.exp(-2 * np.square(a[i] - a[j]).sum())
        for _, _, (a, _) in found
        for i in range(len(a))
        for j in range(len(a))
        if i != j
    ]
    assert len(near) == 4 * 3 + 2
    np.testing.assert_allclose(scores['uniformity'], np.log(np.mean(near)), rtol=1e-4)
    assert evaluate(EVAL_STEP, PARAMS, batches, tokenizer=Bytes, objective=EVALUATED) == scores


def test_a_trained_network_tells_texts_by_another_reading():
    """Eight texts that differ in one token; a reading drops a quarter of what the network knows of them."""
    model = build(RecurrentConfig(cell='gru', embedding=8, hidden=16, depth=1, dropout=0.25), vocab_size=8, seq_len=4)
    ids = np.stack([np.r_[1, 2, i, 5] for i in range(8)]).astype(np.int32)
    rows = Batch(Inputs(ids), np.zeros((8, 1), np.int32), np.ones((8, 1), np.float32))
    objective = objective_of(ObjectiveConfig(kind='contrastive', pooling='last'))
    hparams = {'temperature': 0.1, 'dropout': 0.25}

    def step(params, key):
        keys = jax.random.split(key, 8)
        (loss, _), grads = jax.value_and_grad(objective.loss, 1, has_aux=True)(model, params, rows, hparams, keys)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss / 8

    def train(key):
        return jax.lax.scan(step, model.init(key, {}), jax.random.split(jax.random.key(1), 200))[1]

    losses = jax.jit(train)(jax.random.key(0))
    before, after = losses[:10].mean(), losses[-20:].mean()
    assert before > 0.9 * math.log(8)
    assert after < 0.3 * before, (before, after)
