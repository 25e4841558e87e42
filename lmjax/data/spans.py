"""Spans that sentinels stand for, for encoder-decoders of T5's kind."""

from __future__ import annotations

import numpy as np

from lmjax.config import UsageError
from lmjax.data.marks import Corruption, Marks, noise
from lmjax.data.masking import budget
from lmjax.data.sourced import Side, ends_of, sourced_batch, texts_of, to_the_left
from lmjax.data.special_tokens import sentinel_ids
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def spans(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Spans are replaced by sentinels, to be told after them (Raffel et al. 2020, sections 3.1.4 and 3.3.4).

    Of a row's n tokens `round(mask_fraction x n)`, at least 1 and at most n - 1, are hidden in as many spans as make them
    `span_length` long on average. The hidden tokens are cut into spans, and the others into the stretches before each of them,
    all ways as likely; so a row begins with a token that is shown and ends with one that is hidden. Of rows of fewer than two
    tokens nothing is scored. The source has the i-th sentinel for the i-th span, the target each sentinel and its span, and
    both the end token. Shapes: see `widths`. Raises UsageError where there are fewer sentinels than `most_spans`.
    """
    sentinels, ends = sentinel_ids(marks.specials), ends_of(marks)

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxT, count_B = to_the_left(*texts_of(batch, store), width := np.shape(batch.inputs.ids)[1])
        check_sentinels(objective, len(sentinels), width)
        span_BxT, hidden_BxT = draw_spans(count_B, keys_B, objective, width)
        first_BxT = hidden_BxT & ~np.roll(hidden_BxT, 1, axis=1)  # no row ends hidden and begins so, nor do spans touch
        real_BxT = np.arange(width)[None] < count_B[:, None]
        marked_BxT = np.where(hidden_BxT, sentinels[np.where(hidden_BxT, span_BxT, 0)], ids_BxT)
        # Each hidden token after the place of a sentinel, which is taken where a span begins.
        told_Bx2T = np.stack([marked_BxT, ids_BxT], axis=2).reshape(len(ids_BxT), -1)
        kept_Bx2T = np.stack([first_BxT, hidden_BxT], axis=2).reshape(len(ids_BxT), -1)
        shown, told = widths(objective, width)
        source = Side(marked_BxT, real_BxT & (first_BxT | ~hidden_BxT), shown)
        return sourced_batch(source, Side(told_Bx2T, kept_Bx2T, told), count_B >= 2, ends)

    return corrupt


def sizes(tokens: np.ndarray, objective: ObjectiveConfig) -> tuple[np.ndarray, np.ndarray]:
    """Of so many tokens, how many are hidden, and in how many spans; 0 of fewer than two."""
    hidden = np.minimum(budget(tokens, objective), np.maximum(tokens - 1, 0))
    many = np.maximum(1, np.rint(hidden / objective.span_length)).astype(np.int64)
    return hidden, np.minimum(many, np.minimum(hidden, tokens - hidden))


def widths(objective: ObjectiveConfig, seq_len: int) -> tuple[int, int]:
    """Tokens of the longest source and of the longest target, the end token included, of rows of up to seq_len tokens."""
    tokens = np.arange(seq_len + 1)
    hidden, many = sizes(tokens, objective)
    return int((tokens - hidden + many).max()) + 1, int((hidden + many).max()) + 1


def most_spans(objective: ObjectiveConfig, seq_len: int) -> int:
    """Spans in a row of up to seq_len tokens: as many sentinels are needed."""
    return max(1, int(sizes(np.arange(seq_len + 1), objective)[1].max()))


def check_sentinels(objective: ObjectiveConfig, sentinels: int, seq_len: int) -> None:
    """Raises UsageError where they are fewer than a row may have spans."""
    most = most_spans(objective, seq_len)
    if sentinels < most:
        what = f'a row of data.seq_len={seq_len} has up to {most} spans, and each needs one'
        raise UsageError(f'data.sentinels={sentinels}: {what}; set data.sentinels={most}')


def draw_spans(
    count_B: np.ndarray, keys_B: np.ndarray, objective: ObjectiveConfig, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which span each token is in or comes before, B x width int64, and whether it is in it, B x width bool."""
    hidden_B, many_B = sizes(count_B, objective)
    most = most_spans(objective, width)
    kept_BxN = lengths_of(count_B - hidden_B, many_B, noise(keys_B, 0, width), most)
    lost_BxN = lengths_of(hidden_B, many_B, noise(keys_B, 1, width), most)
    ends_Bx2N = np.cumsum(np.stack([kept_BxN, lost_BxN], axis=2).reshape(len(count_B), -1), axis=1)
    edges = np.zeros((len(count_B), width + 1), np.int64)
    np.add.at(edges, (np.arange(len(count_B))[:, None], ends_Bx2N), 1)
    stretch_BxT = np.cumsum(edges, axis=1)[:, :width]
    real_BxT = np.arange(width)[None] < count_B[:, None]
    return stretch_BxT // 2, real_BxT & (stretch_BxT % 2 == 1)


def lengths_of(total_B: np.ndarray, parts_B: np.ndarray, order_BxT: np.ndarray, most: int) -> np.ndarray:
    """Lengths of the parts into which each row's items are cut, none empty, all ways as likely; B x most, 0 beyond its parts.

    Of the places between two items those of the lowest numbers of `order_BxT` are cut.
    """
    index_T = np.arange(order_BxT.shape[1])[None]
    may_BxT = (index_T > 0) & (index_T < total_B[:, None])
    rank_BxT = np.argsort(np.argsort(np.where(may_BxT, order_BxT, np.inf), axis=1), axis=1)
    part_BxT = np.cumsum(rank_BxT < parts_B[:, None] - 1, axis=1)
    rows, columns = np.nonzero(index_T < total_B[:, None])
    flat = np.bincount(rows * most + part_BxT[rows, columns], minlength=len(total_B) * most)
    return flat.reshape(len(total_B), most)
