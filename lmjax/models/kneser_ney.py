"""One pass over a corpus: count its n-grams, then smooth them by interpolated Kneser-Ney, in numpy.

p_k(w | h) = max(c(h w) - D_k, 0) / c(h) + D_k N(h) / c(h) * p_(k-1)(w | h without its first word), down to the uniform 1/V,
where at the highest order c(h w) is the number of occurrences and below it the number of different words seen before h w
(the beginning of the corpus counts as one), c(h) = sum_w c(h w), and N(h) is the number of different w with c(h w) > 0
(Kneser and Ney 1995; the interpolated form and the discounts D = n1 / (n1 + 2 n2) of Chen and Goodman 1999, section 2.7).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lmjax.config import require


class Grams(NamedTuple):
    """The different k-grams of a corpus, sorted by (first k-1 words, last word)."""

    parents: np.ndarray  # id of the first k-1 words, among the (k-1)-grams
    words: np.ndarray  # the last word
    suffixes: np.ndarray  # id of the last k-1 words, among the (k-1)-grams
    counts: np.ndarray  # the c of the formula above
    contexts: int  # how many (k-1)-grams there are


class Contexts(NamedTuple):
    """What is known of the distribution after each context of one length."""

    backoff: np.ndarray  # weight of the shorter context's distribution
    best: np.ndarray  # the most likely word; the lowest id among equals
    best_prob: np.ndarray
    sum_logprob: np.ndarray  # over the vocabulary


def fit_kneser_ney(tokens: np.ndarray, *, vocab_size: int, order: int) -> dict[str, Any]:
    """The n-gram model's params from a stream of ids: float32 and int32 tables, laid out as `lmjax.ops.counts` reads them.

    Raises UsageError for ids outside the vocabulary.
    """
    tokens = np.asarray(tokens, np.int64)
    if tokens.size:
        low, high = int(tokens.min()), int(tokens.max())
        require(low >= 0, 'tokens', low, 'ids begin at 0')
        require(high < vocab_size, 'tokens', high, f'ids end before the vocabulary size, {vocab_size}')
    levels = count(tokens, vocab_size=vocab_size, order=order)
    prob = np.full(1, 1 / vocab_size)
    context = Contexts(np.ones(1), np.zeros(1, np.int64), prob, np.array([-vocab_size * np.log(vocab_size)]))
    links = np.zeros(1, np.int64)  # from each context to the one without its first word
    orders: dict[str, dict[str, np.ndarray]] = {}
    root: dict[str, np.ndarray] = {}
    for number, grams in enumerate(levels, start=1):
        lower = prob[grams.suffixes]
        prob, backoff = smooth(grams, lower)
        context = summarise(grams, prob, lower, backoff, shorter=context, links=links, vocab_size=vocab_size)
        if number == 1:
            root = {name: column[0] for name, column in columns(context, vocab_size).items() if name != 'backoff'}
        else:
            orders[str(number - 1)].update(columns(context, vocab_size))
        orders[str(number)] = table(grams, prob, dense=number == 1)
        links = grams.suffixes
    return {'root': root, 'orders': orders}


def count(tokens: np.ndarray, *, vocab_size: int, order: int) -> list[Grams]:
    """The k-grams of the stream for k = 1 .. order, each with the count that its order is estimated from."""
    every = np.arange(vocab_size)
    zeros = np.zeros(vocab_size, np.int64)
    levels = [Grams(zeros, every, zeros, np.bincount(tokens, minlength=vocab_size), 1)]
    at = tokens  # id of the k-gram that begins at each position
    for k in range(2, order + 1):
        starts = max(len(tokens) - k + 1, 0)
        codes, ranks, counts = unique(at[:starts] * vocab_size + tokens[k - 1 :], limit=len(levels[-1].words) * vocab_size)
        suffixes = np.empty(len(codes), np.int64)
        suffixes[ranks] = at[1 : starts + 1]
        lower = levels[-1]
        size = len(lower.words)
        continuations = np.bincount(suffixes, minlength=size)
        continuations[at[:1]] += 1  # the beginning of the stream is one more thing seen before its first k-gram
        levels[-1] = lower._replace(counts=continuations)
        levels.append(Grams(codes // vocab_size, codes % vocab_size, suffixes, counts, size))
        at = ranks
    return levels


def unique(codes: np.ndarray, *, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different codes in order, each code's rank among them, and how often each occurs; codes are below `limit`.

    Where codes are dense a table of all that are possible does what a sort would, in a third of the time.
    """
    if limit > 8 * len(codes):
        return np.unique(codes, return_inverse=True, return_counts=True)
    present = np.zeros(limit, bool)
    present[codes] = True
    found = np.flatnonzero(present)
    rank_of = np.zeros(limit, np.int32)
    rank_of[found] = np.arange(len(found), dtype=np.int32)
    ranks = rank_of[codes].astype(np.int64)
    return found, ranks, np.bincount(ranks, minlength=len(found))


def discount(counts: np.ndarray) -> float:
    """D = n1 / (n1 + 2 n2); one half where nothing occurs once, as D = 0 would leave nothing for what is unseen."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once else 0.5


def smooth(grams: Grams, lower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each k-gram's interpolated probability, and each context's back-off weight; `lower`: p_(k-1) of the k-grams' suffixes."""
    seen = grams.counts > 0
    step = discount(grams.counts)
    total = np.bincount(grams.parents, weights=grams.counts, minlength=grams.contexts)
    children = np.bincount(grams.parents[seen], minlength=grams.contexts)
    some = np.maximum(total, 1)  # a context without continuations (the corpus ends there) hands everything on
    backoff = np.where(total > 0, step * children / some, 1.0)
    own = np.where(seen, (grams.counts - step) / some[grams.parents], 0.0)
    return own + backoff[grams.parents] * lower, backoff


def summarise(
    grams: Grams,
    prob: np.ndarray,
    lower: np.ndarray,
    backoff: np.ndarray,
    *,
    shorter: Contexts,
    links: np.ndarray,
    vocab_size: int,
) -> Contexts:
    """The best word and the sum of log-probabilities after each context, from those after the context one word shorter.

    A word never seen after a context has the shorter context's probability times the back-off weight, so the best one is among
    the continuations seen or is the best of the shorter context, and the sum differs only by the terms of those seen.
    """
    best, best_prob = shorter.best[links], backoff * shorter.best_prob[links]
    top = np.zeros(grams.contexts)
    np.maximum.at(top, grams.parents, prob)
    winners = np.flatnonzero(prob == top[grams.parents])[::-1]  # backwards: the first of equals is written last
    champion = np.full(grams.contexts, vocab_size)
    champion[grams.parents[winners]] = grams.words[winners]
    wins = (top > best_prob) | ((top == best_prob) & (champion < best))
    terms = np.log(prob) - np.log(backoff[grams.parents] * lower)
    change = np.bincount(grams.parents, weights=terms, minlength=grams.contexts)
    total = shorter.sum_logprob[links] + vocab_size * np.log(backoff) + change
    return Contexts(backoff, np.where(wins, champion, best), np.where(wins, top, best_prob), total)


def table(grams: Grams, prob: np.ndarray, *, dense: bool) -> dict[str, np.ndarray]:
    """Order k's arrays; single words are `dense`: every id has a row. Never empty, for gathers need one row to read."""
    logprob = np.log(prob).astype(np.float32)
    if dense:
        return {'logprob': logprob}
    offsets = np.zeros(grams.contexts + 1, np.int32)
    np.cumsum(np.bincount(grams.parents, minlength=grams.contexts), out=offsets[1:])
    if not len(logprob):
        return {'logprob': np.zeros(1, np.float32), 'offsets': offsets, 'words': np.zeros(1, np.int32)}
    return {'logprob': logprob, 'offsets': offsets, 'words': grams.words.astype(np.int32)}


def columns(context: Contexts, vocab_size: int) -> dict[str, np.ndarray]:
    """What a context's row holds besides: log back-off weight, best next word, mean log-probability over the vocabulary."""
    found = {
        'backoff': np.log(context.backoff).astype(np.float32),
        'best': context.best.astype(np.int32),
        'mean': (context.sum_logprob / vocab_size).astype(np.float32),
    }
    # A corpus shorter than the order has no contexts of some length; gathers still need a row.
    return {name: column if len(column) else np.zeros(1, column.dtype) for name, column in found.items()}
