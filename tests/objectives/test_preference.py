"""Losses of pairs, against plain formulas on likelihoods that were found one by one; and their laws."""

import json
from functools import lru_cache, partial

import jax
import numpy as np
import pytest

from lmjax.data.corruptions import tokens_corruption
from lmjax.data.loader import eval_batches
from lmjax.data.preferences import encode_preferred, encode_sides
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.generate.likelihoods import continuation_likelihoods
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.preference import PREFERENCES
from lmjax.objectives.table import objective_of
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.types import Teacher

BYTES, T, BETA = ByteTokenizer(), 24, 0.3
NETWORKS = {
    'transformer': TransformerConfig(width=8, depth=1, heads=2),
    'lstm': RecurrentConfig(embedding=6, hidden=8, depth=1),
}
TEXTS = [json.dumps(parts) for parts in (('ab', 'c', 'defg'), ('', 'hi', 'h'), ('abcdefghijkl', 'mno', 'pqr'))]
every_network = pytest.mark.parametrize('name', NETWORKS)
every_preference = pytest.mark.parametrize('preference', PREFERENCES)


@lru_cache
def network(name, seed=0):
    model = build(NETWORKS[name], vocab_size=BYTES.vocab_size, seq_len=T)
    return model, jax.tree.map(lambda leaf: 4 * leaf, jax.jit(model.init)(jax.random.key(seed), {}))


def batch(texts=TEXTS):
    """One batch of these pairs and a row of padding."""
    ids, tags = encode_preferred(texts, ['first'] * len(texts), BYTES, seq_len=T)
    store = memory_store(ids, text_bytes=0, vocab_size=BYTES.vocab_size, separator_id=None, tags=tags)
    corrupt = tokens_corruption(ObjectiveConfig(kind='prefer'), BYTES)
    (found,) = eval_batches(store, seq_len=T, batch_size=len(texts) + 1, layout='documents', corrupt=corrupt)
    return found


def nats(model, params, texts=TEXTS):
    """The log-likelihoods of both answers, and how many tokens they have, pairs x 2 each; each answer read by itself."""
    sides = encode_sides(texts, BYTES, seq_len=T)
    asked = [(side.before.tolist(), side.answer.tolist()) for pair in sides for side in pair]
    found = [one.log_likelihood for one in continuation_likelihoods(model, params, asked, context=T)]
    return np.array(found).reshape(-1, 2), np.array([[len(side.answer) for side in pair] for pair in sides])


def formula(preference, own, held, tokens, smoothing=0.0):
    """Loss and margin of each pair, in plain NumPy."""
    log_sigmoid = lambda x: -np.log1p(np.exp(-x))  # noqa: E731
    ratios = own - held
    h = ratios[:, 0] - ratios[:, 1]
    if preference == 'dpo':
        return -(1 - smoothing) * log_sigmoid(BETA * h) - smoothing * log_sigmoid(-BETA * h), BETA * h
    if preference == 'ipo':
        return (h - 1 / (2 * BETA)) ** 2, BETA * h
    share = np.exp(own / tokens)
    odds = np.log(share / (1 - share))
    margin = odds[:, 0] - odds[:, 1]
    return -np.log(share[:, 0]) - BETA * log_sigmoid(margin), margin


@every_preference
@every_network
@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_it_is_the_formula_on_answers_that_were_read_by_themselves(name, preference, smoothing):
    (model, params), (_, other) = network(name), network(name, 1)
    (own, tokens), (held, _) = nats(model, params), nats(model, other)
    hparams = {'beta': BETA} | ({'label_smoothing': smoothing} if smoothing else {})
    loss = objective_of(ObjectiveConfig(kind='prefer', preference=preference)).loss
    keys = jax.random.split(jax.random.key(3), len(TEXTS) + 1)
    total, (weight, sums, _) = loss(model, params, batch(), hparams, keys, teacher=Teacher(model, other))
    losses, margins = formula(preference, own, held, tokens, smoothing)
    assert weight == len(TEXTS)
    assert total == pytest.approx(losses.sum(), rel=1e-4)
    assert sums['margin'] == pytest.approx(margins.sum(), rel=1e-4, abs=1e-5)
    assert (sums['accuracy'], sums['likelier']) == ((margins > 0).sum(), (own[:, 0] > own[:, 1]).sum())
    assert sums['chosen_nll'] == pytest.approx(-own[:, 0].sum(), rel=1e-4)
    assert sums['chosen_tokens'] == tokens[:, 0].sum()


@pytest.mark.parametrize(('preference', 'each'), [('dpo', np.log(2)), ('ipo', (0.5 / BETA) ** 2)])
def test_who_is_the_reference_has_no_margin(preference, each):
    model, params = network('lstm')
    loss = objective_of(ObjectiveConfig(kind='prefer', preference=preference)).loss
    total, (weight, sums, _) = loss(model, params, batch(), {'beta': BETA}, None, teacher=Teacher(model, params))
    assert (float(sums['margin']), float(sums['accuracy'])) == (0, 0)
    assert total / weight == pytest.approx(each, rel=1e-5)


@every_preference
def test_the_reference_has_no_gradient(preference):
    model, params = network('transformer')
    loss, keys = (
        objective_of(ObjectiveConfig(kind='prefer', preference=preference)).loss,
        jax.random.split(jax.random.key(0), 4),
    )

    def total(params, taught):
        return loss(model, params, batch(), {'beta': BETA}, keys, teacher=Teacher(model, taught))[0]

    own, held = jax.grad(total, argnums=(0, 1))(params, network('transformer', 1)[1])
    assert not any(leaf.any() for leaf in jax.tree.leaves(held))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(own['layers']))


def test_an_evaluation_has_means_over_pairs_and_may_lack_the_reference():
    model, params = network('transformer')
    objective, hparams = objective_of(ObjectiveConfig(kind='prefer')), {'beta': BETA}
    run = partial(evaluate, tokenizer=BYTES, objective=objective)
    (own, tokens), (held, _) = nats(model, params), nats(model, network('transformer', 1)[1])
    teacher = Teacher(model, network('transformer', 1)[1])
    judged = run(make_eval_step(model, objective, hparams, teacher), params, [batch(), batch(TEXTS[:1])])
    alone = run(make_eval_step(model, objective, hparams), params, [batch()])
    losses, margins = formula('dpo', own, held, tokens)
    assert judged['loss_nats'] == pytest.approx((losses.sum() + losses[0]) / 4, rel=1e-4)
    assert judged['accuracy'] == ((margins > 0).sum() + (margins[0] > 0)) / 4
    assert judged['texts'] == 4
    losses, margins = formula('dpo', own, 0 * held, tokens)
    assert alone['loss_nats'] == pytest.approx(losses.mean(), rel=1e-4)
    assert alone['accuracy'] == alone['likelier'] == (own[:, 0] > own[:, 1]).mean()
    assert alone['chosen_nats'] == pytest.approx(-own[:, 0].sum() / tokens[:, 0].sum(), rel=1e-4)


def test_training_needs_the_reference_that_its_preference_refers_to():
    model, params = network('lstm')
    keys = jax.random.split(jax.random.key(0), 4)
    for preference in PREFERENCES:
        loss = objective_of(ObjectiveConfig(kind='prefer', preference=preference)).loss
        if preference == 'orpo':
            assert np.isfinite(loss(model, params, batch(), {'beta': BETA}, keys)[0])
        else:
            with pytest.raises(ValueError, match=f'{preference}: trains beside a reference'):
                loss(model, params, batch(), {'beta': BETA}, keys)
