"""Where in a text a network tells that the answer of a question stands: the best of all windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from lmjax.config import require
from lmjax.data.parallel_text import SIGN
from lmjax.data.passages import reader
from lmjax.data.texts import types_of
from lmjax.generate.embed import padded_inputs, read_rows
from lmjax.types import Inputs

if TYPE_CHECKING:
    from lmjax.generate.answers import Teller
    from lmjax.types import Tree

LONGEST = 64  # tokens of an answer


class Found(NamedTuple):
    """The likeliest answer in a text."""

    begin: int  # its characters; -1: there is none
    end: int
    probability: float


def read_answers(teller: Teller, texts: Sequence[str]) -> list[Found]:
    """The best answer over all windows of each QUESTION<TAB>TEXT."""
    for text in texts:
        require(text.count(SIGN) == 1, 'text', text, 'a question and the text with its answer; give QUESTION<TAB>TEXT')
    read = reader(teller.tokenizer, seq_len=teller.context, stride=teller.stride)
    windows = [read(text)[0] for text in texts]
    separator = teller.tokenizer.specials.get('separator')

    def logits(ids_BxT: np.ndarray, lengths_B: np.ndarray) -> Any:
        inputs = padded_inputs(ids_BxT, lengths_B)._replace(types=types_of(ids_BxT, separator))
        return _end_logits(teller.model.apply, teller.params, inputs)

    told = iter(read_rows(logits, [one.ids for each in windows for one in each], teller.context))
    return [
        trimmed(best_of([(one.spans, next(told)) for one in each]), text.partition(SIGN)[2])
        for text, each in zip(texts, windows, strict=True)
    ]


def trimmed(found: Found, text: str) -> Found:
    """Without white space around it, which tokens may have."""
    if found.begin < 0:
        return found
    said = text[found.begin : found.end]
    begin = found.begin + len(said) - len(said.lstrip())
    return found._replace(begin=begin, end=begin + len(said.strip()))


@partial(jax.jit, static_argnames=('apply',))
def _end_logits(apply: Any, params: Tree, inputs: Inputs) -> Any:
    return apply(params, inputs).token_logits


def best_of(windows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Found:
    """Of windows (the characters of each token, logits; both T x 2) the answer with the greatest sum, or that there is none.

    There is none where the least sum of a window's first token is greater (Devlin et al. 2019, section 4.3). The probability is
    that among all answers of the window and its first token.
    """
    best, none = (-math.inf, Found(-1, -1, 0.0)), (math.inf, 0.0)
    for spans, logits in windows:
        places = np.flatnonzero(spans[:, 0] >= 0)
        start_N, end_N = (logits[places, side].astype(np.float64) for side in (0, 1))
        sums_NxN = np.where(in_turn(len(places)), start_N[:, None] + end_N[None], -np.inf)
        first = float(logits[0].sum())
        total = np.logaddexp.reduce(np.append(sums_NxN.ravel(), first))
        if first < none[0]:
            none = (first, math.exp(first - total))
        if len(places) and sums_NxN.max() > best[0]:
            i, j = np.unravel_index(sums_NxN.argmax(), sums_NxN.shape)
            begin, end = int(spans[places[i], 0]), int(spans[places[j], 1])
            best = (float(sums_NxN[i, j]), Found(begin, end, math.exp(sums_NxN[i, j] - total)))
    return best[1] if best[0] > none[0] else Found(-1, -1, none[1])


def in_turn(count: int) -> np.ndarray:
    """Which pairs of tokens are a begin and an end: in this order, and no further apart than an answer is long."""
    apart_NxN = np.arange(count)[None] - np.arange(count)[:, None]
    return (apart_NxN >= 0) & (apart_NxN < LONGEST)


def answer_said(found: Found, classes: Sequence[str], text: str) -> str:
    return text.partition(SIGN)[2][found.begin : found.end] if found.begin >= 0 else ''
