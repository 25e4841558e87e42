"""How likely a text is after another, from any network that reads from left to right.

A continuation's log-likelihood is the sum of its tokens' log-probabilities, in nats, each given all tokens before it. Summed
over the parts of a split it stays the same, and exp of it over all continuations of a length adds up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import UsageError, require
from lmjax.generate.embed import padded_inputs, read_rows

if TYPE_CHECKING:
    from lmjax.types import Model, Tree


class Likelihood(NamedTuple):
    log_likelihood: float  # nats, summed over the continuation's tokens
    is_greedy: bool  # each of them is the likeliest one where it stands


def continuation_likelihoods(
    model: Model, params: Tree, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, context: int | None = None
) -> list[Likelihood]:
    """The likelihood of each continuation after its context, both as ids, in their order.

    A pair that is longer than the network's context loses the first tokens of its own context. Pairs of like length travel
    together; who travels with whom changes nothing.

    Raises:
      UsageError: a network that sees what comes later or reads a source, a context or a continuation without a token, a
        continuation longer than the network's context, or an id outside of the vocabulary.
    """
    return [_likelihood(told_Tx2) for told_Tx2 in _continuations(model, params, pairs, context)]


def text_likelihoods(
    model: Model, params: Tree, rows: Sequence[Sequence[int]], *, start: int, context: int | None = None
) -> list[float]:
    """The log-likelihood of each whole text of ids after the token that begins one, in nats; 0 of a text without a token.

    Raises:
      UsageError: as `continuation_likelihoods`.
    """
    return [float(logprobs_T.sum()) for logprobs_T in token_likelihoods(model, params, rows, start=start, context=context)]


def token_likelihoods(
    model: Model, params: Tree, rows: Sequence[Sequence[int]], *, start: int, context: int | None = None
) -> list[np.ndarray]:
    """The log-probability of each token of each text, in nats, float64, given those before it and the token that begins a text.

    Each token is scored exactly once. A text that is longer than the network's context is read in windows of that size, as
    lm-evaluation-harness does: each begins with the last token of the one before, and the last window is as long as the others.

    Raises:
      UsageError: as `continuation_likelihoods`.
    """
    windows = [(i, *window) for i, row in enumerate(rows) for window in rolling_windows(row, start, context)]
    found = _continuations(model, params, [(before, after) for _, before, after in windows], context)
    parts: list[list[np.ndarray]] = [[np.zeros(0)] for _ in rows]
    for (i, *_), told_Tx2 in zip(windows, found, strict=True):
        parts[i].append(told_Tx2[:, 0].astype(np.float64))
    return [np.concatenate(part) for part in parts]


def rolling_windows(row: Sequence[int], start: int, context: int | None) -> Iterator[tuple[list[int], list[int]]]:
    """Pairs of a context and what is scored after it; a network reads at most `context` tokens of the two but the last."""
    ids = [start, *row]
    size = context or len(row)
    for done in range(0, len(row), size or 1):
        end = min(done + size, len(row))
        yield ids[max(end - size, 0) : done + 1], ids[done + 1 : end + 1]


def _continuations(
    model: Model, params: Tree, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], context: int | None
) -> list[np.ndarray]:
    """Of each token of each continuation its log-probability, and 1 where no token is likelier, T x 2."""
    require(model.traits.causal, 'model', 'encoder', 'sees what it would predict; take a decoder')
    require(not model.traits.sourced, 'model', 'encoder-decoder', 'reads a source beside the text; take a decoder')
    for before, after in pairs:
        _check(model, before, after, context)
    rows = [np.asarray([*before, *after], np.int32)[-(context + 1) if context else 0 :] for before, after in pairs]
    read = partial(_told, model.apply, model.score, params)
    told = read_rows(read, rows, context + 1 if context else None)
    return [row[: len(ids) - 1][-len(after) :] for row, ids, (_, after) in zip(told, rows, pairs, strict=True)]


def _check(model: Model, before: Sequence[int], after: Sequence[int], context: int | None) -> None:
    require(len(before) > 0, 'context', list(before), 'has no token; begin with the token that begins a document')
    require(len(after) > 0, 'continuation', list(after), 'has no token; leave it out')
    if context and len(after) > context:
        raise UsageError(f'continuation of {len(after)} tokens: the network sees {context}; score it in windows')
    low, high = min(*before, *after), max(*before, *after)
    if low < 0 or high >= model.vocab_size:
        raise UsageError(f'ids={low if low < 0 else high}: outside of the vocabulary of {model.vocab_size}')


def _likelihood(told_Tx2: np.ndarray) -> Likelihood:
    return Likelihood(float(told_Tx2[:, 0].astype(np.float64).sum()), bool(told_Tx2[:, 1].all()))


@partial(jax.jit, static_argnames=('apply', 'score'))
def _told(apply: Any, score: Any, params: Tree, ids_BxT: Any, lengths_B: Any) -> Any:
    """Of each token but the first its log-probability, and 1 where no token is likelier: B x (T - 1) x 2."""
    hidden = apply(params, padded_inputs(ids_BxT[:, :-1], lengths_B - 1)).hidden
    scores = score(params, hidden, ids_BxT[:, 1:])
    return jnp.stack([scores.logprob, scores.correct], -1)
