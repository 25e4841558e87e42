"""Likelihoods of continuations by the laws of probability, and against the logits of each pair alone."""

import itertools

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.generate.likelihoods import continuation_likelihoods, rolling_windows, text_likelihoods
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.types import Inputs

SIZE, CONTEXT = 5, 12
CONFIGS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=1),
    'transformer': TransformerConfig(width=8, depth=1, heads=2, init='fan_in'),
}
DRAW = np.random.default_rng(0)
PAIRS = [(DRAW.integers(0, SIZE, 1 + 8 * (i % 2)).tolist(), DRAW.integers(0, SIZE, 1 + i % 3).tolist()) for i in range(40)]


@pytest.fixture(scope='module', params=CONFIGS)
def network(request):
    model = build(CONFIGS[request.param], vocab_size=SIZE, seq_len=CONTEXT)
    params = jax.jit(model.init)(jax.random.key(0), {})
    return model, jax.tree.map(lambda leaf: 3 * leaf, params)


def total(network, *pairs):
    return sum(found.log_likelihood for found in continuation_likelihoods(*network, pairs, context=CONTEXT))


def test_all_continuations_of_a_length_add_up_to_one(network):
    pairs = [([1, 3], list(after)) for after in itertools.product(range(SIZE), repeat=2)]
    found = continuation_likelihoods(*network, pairs, context=CONTEXT)
    np.testing.assert_allclose(sum(np.exp(each.log_likelihood) for each in found), 1.0, rtol=1e-5)
    assert np.ptp([each.log_likelihood for each in found]) > 0.1


def test_the_parts_of_a_split_add_up(network):
    whole = total(network, ([1, 3], [0, 4, 2, 2]))
    for cut in (1, 2, 3):
        after = [0, 4, 2, 2]
        parts = total(network, ([1, 3], after[:cut]), ([1, 3, *after[:cut]], after[cut:]))
        np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_equals_the_logits_of_each_pair_alone_in_any_company_and_order(network):
    model, params = network
    logits_of = jax.jit(lambda ids: model.score(params, model.apply(params, Inputs(ids)).hidden))
    found = continuation_likelihoods(*network, PAIRS, context=CONTEXT)
    turned = continuation_likelihoods(*network, PAIRS[::-1], context=CONTEXT)[::-1]
    for (before, after), each, other in zip(PAIRS, found, turned, strict=True):
        ids = np.array([[*before, *after[:-1]]], np.int32)
        logits = np.asarray(logits_of(ids))[0, -len(after) :]
        told = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(after)), after].sum()
        np.testing.assert_allclose([each.log_likelihood, other.log_likelihood], told, rtol=1e-4)
        assert each.is_greedy == other.is_greedy == (logits.argmax(-1) == after).all()
    assert {each.is_greedy for each in found} == {True, False}


def test_a_long_context_keeps_its_end(network):
    long, after = DRAW.integers(0, SIZE, 30).tolist(), [2, 0, 1]
    assert total(network, (long, after)) == total(network, (long[-(CONTEXT + 1 - len(after)) :], after))


@pytest.mark.parametrize(
    ('pair', 'words'),
    [
        (([], [1]), 'context=.*begin with'),
        (([1], []), 'continuation=.*leave it out'),
        (([1], [1] * 13), 'continuation of 13 tokens.*sees 12'),
        (([1], [SIZE]), 'ids=5: outside'),
    ],
)
def test_what_cannot_be_scored_is_refused(network, pair, words):
    with pytest.raises(UsageError, match=words):
        continuation_likelihoods(*network, [pair], context=CONTEXT)


@pytest.mark.parametrize('size', [1, 11, 12, 13, 24, 31])
def test_windows_score_each_token_once_with_all_the_context_there_is(size):
    row, scored = DRAW.integers(1, SIZE, size).tolist(), []
    windows = list(rolling_windows(row, 0, CONTEXT))
    for before, after in windows:
        done = len(scored)
        read = [*before, *after][:-1]
        assert read == [0, *row][max(done + len(after) - CONTEXT, 0) : done + len(after)]
        scored += after
    assert scored == row
    assert len(windows) == -(-size // CONTEXT)


def test_a_text_is_as_likely_as_its_windows_together(network):
    texts = [DRAW.integers(0, SIZE, size).tolist() for size in (0, 5, 30, 12)]
    limit = None if network[0].traits.recurrent else CONTEXT
    found = text_likelihoods(*network, texts, start=2, context=limit)
    alone = [text_likelihoods(*network, [text], start=2, context=limit)[0] for text in texts[::-1]][::-1]
    np.testing.assert_allclose(found, alone, rtol=1e-5)
    assert found[0] == 0
    np.testing.assert_allclose(found[1], total(network, ([2], texts[1])), rtol=1e-5)
    np.testing.assert_allclose(found[3], total(network, ([2], texts[3])), rtol=1e-5)
    if limit:
        row = texts[2]
        parts = ([2], row[:12]), ([row[11]], row[12:24]), (row[17:24], row[24:])
        np.testing.assert_allclose(found[2], total(network, *parts), rtol=1e-5)
    else:  # one token after the other, each given all before it
        steps = [continuation_likelihoods(*network, [([2, *texts[2][:i]], [texts[2][i]])]) for i in range(30)]
        np.testing.assert_allclose(found[2], sum(step[0].log_likelihood for step in steps), rtol=1e-5)
