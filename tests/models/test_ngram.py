"""The n-gram model against a brute-force count: literal dictionaries and the textbook's recursion in float64."""

import math
from collections import Counter, defaultdict
from functools import lru_cache

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models.config import NgramConfig
from lmjax.models.kneser_ney import unique
from lmjax.models.ngram import build
from lmjax.types import Inputs

V = 7


class BruteForce:
    """Interpolated Kneser-Ney as it is written in the papers, one word at a time."""

    def __init__(self, tokens, *, vocab_size, order):
        self.vocab_size, self.order = vocab_size, order
        grams = {k: [tuple(tokens[i : i + k]) for i in range(len(tokens) - k + 1)] for k in range(1, order + 1)}
        self.counts = {order: Counter(grams[order])}
        for k in range(1, order):
            before = defaultdict(set)
            for i, gram in enumerate(grams[k]):
                before[gram].add(tokens[i - 1] if i else 'beginning')
            self.counts[k] = Counter({gram: len(words) for gram, words in before.items()})

    def discount(self, k):
        once = sum(count == 1 for count in self.counts[k].values())
        twice = sum(count == 2 for count in self.counts[k].values())
        return once / (once + 2 * twice) if once else 0.5

    def prob(self, word, context):
        """p(word | context), the context being at most order-1 words."""
        context = tuple(context)[max(len(context) - self.order + 1, 0) :]
        k = len(context) + 1
        lower = self.prob(word, context[1:]) if context else 1 / self.vocab_size
        after = {gram[-1]: count for gram, count in self.counts[k].items() if gram[:-1] == context}
        total = sum(after.values())
        if not total:
            return lower
        own = max(after.get(word, 0) - self.discount(k), 0) / total
        return own + self.discount(k) * len(after) / total * lower


def corpus(length=300, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.choice([0, 1, 1, 2, 3], size=length)  # word V-1 is rare, some contexts never occur
    return ((np.cumsum(steps) + rng.choice([0, 0, 0, 4], size=length)) % (V - 1)).astype(np.int32)


@lru_cache
def model_of(order):
    """A model with its functions compiled once for all tests."""
    model = build(NgramConfig(order=order), vocab_size=V, seq_len=8)
    return model._replace(apply=jax.jit(model.apply), score=jax.jit(model.score))


@pytest.fixture(scope='module')
def fitted():
    return model_of(4), model_of(4).fit(corpus())


def distributions(model, params, ids):
    """log p of every word after each prefix of each row, B x T x V."""
    hidden = model.apply(params, Inputs(np.asarray(ids, np.int32))).hidden
    return np.asarray(model.score(params, hidden))


@pytest.mark.parametrize('order', [1, 2, 4])
def test_equals_the_brute_force_count(order):
    tokens = corpus()
    model, brute = model_of(order), BruteForce(tokens.tolist(), vocab_size=V, order=order)
    rng = np.random.default_rng(1)
    ids = np.stack([tokens[40:70], rng.integers(0, V, 30)])  # seen text, and contexts mostly unseen (the missing word too)
    got = distributions(model, model.fit(tokens), ids)
    want = [[[math.log(brute.prob(v, row[: t + 1])) for v in range(V)] for t in range(30)] for row in ids.tolist()]
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_distributions_sum_to_one(fitted):
    (model, params), rng = fitted, np.random.default_rng(2)
    logprob = distributions(model, params, rng.integers(0, V, (2, 30)))
    np.testing.assert_allclose(np.exp(logprob.astype(np.float64)).sum(-1), 1, atol=5e-7)


def test_a_worked_example():
    # 'a b a b c': bigrams ab ab ba bc, discount 2 / (2 + 2 * 1); left neighbours of a: {start, b}, b: {a}, c: {b}.
    model = build(NgramConfig(order=2), vocab_size=4, seq_len=8)
    got = np.exp(distributions(model, model.fit(np.array([0, 1, 0, 1, 2])), [[1]]))[0, 0]
    unigram = [(c - 0.5 * (c > 0)) / 4 + 0.5 * 3 / 4 / 4 for c in (2, 1, 1, 0)]
    after_b = [(c - 0.5 * (c > 0)) / 2 + 0.5 * 2 / 2 * p for c, p in zip((1, 0, 1, 0), unigram, strict=True)]
    np.testing.assert_allclose(got, after_b, rtol=1e-6)


def test_scores_of_tokens_agree_with_the_distribution(fitted):
    (model, params), rng = fitted, np.random.default_rng(3)
    ids, targets = rng.integers(0, V, (2, 30)), rng.integers(0, V, (2, 30))
    hidden = model.apply(params, Inputs(ids)).hidden
    scores = model.score(params, hidden, targets)
    logits = np.asarray(model.score(params, hidden))
    target = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(scores.logprob, target, atol=1e-6)
    np.testing.assert_allclose(scores.mean_logprob, logits.mean(-1), atol=2e-6)
    np.testing.assert_array_equal(scores.log_normalizer, 0)
    is_top = target >= logits.max(-1) - 1e-6
    assert (np.asarray(scores.correct) <= is_top).all()  # among equals one is the model's choice
    every = [model.score(params, hidden, np.full_like(targets, word)).correct for word in range(V)]
    np.testing.assert_array_equal(np.sum(every, axis=0), 1)


def test_among_equals_the_lowest_id_counts_as_the_most_likely():
    model = model_of(2)
    params = model.fit(np.array([2, 3, 2, 1] * 4 + [2]))  # after 2 come 3 and 1, four times each
    hidden = model.apply(params, Inputs(np.full((1, 3), 2, np.int32))).hidden
    assert model.score(params, hidden, np.array([[1, 3, 2]], np.int32)).correct.tolist() == [[1, 0, 0]]


def test_without_a_corpus_every_word_is_as_likely():
    model = model_of(3)
    for params in (model.init(jax.random.key(0), {}), model.fit(np.zeros(0))):
        np.testing.assert_allclose(distributions(model, params, [[1, 2, 3]]), -math.log(V), rtol=1e-6)


@pytest.mark.parametrize('length', [1, 2, 3])
def test_a_corpus_shorter_than_the_order(length):
    tokens = [3, 1, 3][:length]
    model = model_of(3)
    got = distributions(model, model.fit(np.array(tokens)), [[3, 1, 2]])
    brute = BruteForce(tokens, vocab_size=V, order=3)
    want = [[[brute.prob(v, [3, 1, 2][: t + 1]) for v in range(V)] for t in range(3)]]
    np.testing.assert_allclose(np.exp(got), want, rtol=1e-6)


def test_the_cache_continues_where_the_text_stopped(fitted):
    (model, params), ids = fitted, corpus(60, seed=5).reshape(2, 30)
    whole = model.apply(params, Inputs(ids)).hidden
    cache, parts = model.init_cache(params, 2, 30), []
    for part in np.split(ids, [1, 2, 11], axis=1):
        out = model.apply(params, Inputs(part), cache)
        cache = out.cache
        parts.append(out.hidden)
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    assert (np.asarray(whole)[:, 5:, 2] >= 0).any()  # long contexts were found, so something was carried


def test_contexts_restart_at_each_segment_and_padding_has_none(fitted):
    (model, params), row = fitted, corpus()[20:28]
    alone = np.asarray(model.apply(params, Inputs(row[None])).hidden)
    ids = np.concatenate([np.zeros(3, np.int32), row, row])[None]
    segments = np.array([[0] * 3 + [1] * 8 + [2] * 8])
    packed = model.apply(params, Inputs(ids, segments=segments))
    np.testing.assert_array_equal(packed.hidden[:, 3:11], alone)
    np.testing.assert_array_equal(packed.hidden[:, 11:], alone)
    assert (np.asarray(packed.hidden[:, :3]) == -1).all()
    same = model.apply(params, Inputs(row[None], segments=segments[:, -8:]), packed.cache)
    new = model.apply(params, Inputs(row[None], segments=segments[:, -8:] + 1), packed.cache)
    np.testing.assert_array_equal(new.hidden, alone)
    assert not np.array_equal(same.hidden, alone)
    np.testing.assert_array_equal(
        model.apply(params, Inputs(row[None]), packed.cache).hidden, same.hidden
    )  # without segments the text goes on


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(UsageError, match=r'^model\.order=0: must be at least 1$'):
        model_of(0)
    with pytest.raises(UsageError, match=r"^model\.smoothing='laplace': no such choice; choose one of: kneser_ney$"):
        build(NgramConfig(smoothing='laplace'), vocab_size=V, seq_len=8)
    with pytest.raises(UsageError, match=r'^tokens=7: ids end before the vocabulary size, 7$'):
        model_of(2).fit(np.array([1, 7]))


@pytest.mark.parametrize('limit', [50, 10**6])
def test_codes_are_numbered_alike_by_table_and_by_sort(limit):
    codes = np.random.default_rng(0).integers(0, 50, 40)
    for got, want in zip(unique(codes, limit=limit), np.unique(codes, return_inverse=True, return_counts=True), strict=True):
        np.testing.assert_array_equal(got, want)
