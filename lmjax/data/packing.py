"""Documents in rows: a plan, made from document lengths and the seed alone, says which pieces of documents each row holds.

The plan does not depend on the epoch: documents in a row do not see each other, so who shares a row cannot matter, and
with the same number of rows every epoch the step alone tells the epoch. The order of the rows is the epoch's own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmjax.data.store import OUTSIDE, TokenStore
from lmjax.types import Batch, Inputs

BLOCK = 4096  # pieces that are packed together


class Plan(NamedTuple):
    """Row r holds the pieces bins[r] .. bins[r + 1] - 1; piece p is `lengths[p]` tokens of the stream from `starts[p]`."""

    starts: np.ndarray
    lengths: np.ndarray
    bins: np.ndarray

    def __len__(self) -> int:
        return len(self.bins) - 1


def cut_documents(store: TokenStore, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """(starts, lengths) of pieces of at most seq_len tokens, each of which has a next token in its own document.

    With separators the next one ends the document; without, the last token has no target and is left out. Pairs are not cut:
    those of more than seq_len tokens are left out. Of a document with a label there is the first piece alone.
    """
    lengths = np.diff(store.doc_offsets) - (store.separator_id is None)
    counts = -(-lengths // seq_len)
    if store.paired:
        counts *= np.diff(store.doc_offsets) <= seq_len
    if store.labelled:
        counts = np.minimum(counts, 1)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(store.doc_offsets[:-1], counts) + number * seq_len
    return starts, np.minimum(np.repeat(lengths, counts) - number * seq_len, seq_len)


def document_plan(store: TokenStore, seq_len: int, *, seed: int) -> Plan:
    """One piece a row."""
    starts, lengths = cut_documents(store, seq_len)
    return Plan(starts, lengths, np.arange(len(starts) + 1))


def packed_plan(store: TokenStore, seq_len: int, *, seed: int) -> Plan:
    """Rows as full as best-fit makes them, from pieces shuffled into blocks."""
    starts, lengths = cut_documents(store, seq_len)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(starts))
    rows: list[list[int]] = []
    for begin in range(0, len(order), BLOCK):
        rows += best_fit(order[begin : begin + BLOCK], lengths, seq_len)
    bins = np.cumsum([0, *map(len, rows)])
    flat = np.array([piece for row in rows for piece in row], np.int64)
    return Plan(starts[flat], lengths[flat], bins)


def best_fit(pieces: np.ndarray, lengths: np.ndarray, seq_len: int) -> list[list[int]]:
    """Longest first, each into the fullest row that has room (best-fit decreasing).

    `rooms` has bit r set where a row with r free tokens exists, so the best fit is the lowest bit from the length on.
    """
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms = 0
    for piece in pieces[np.argsort(-lengths[pieces], kind='stable')].tolist():
        length = int(lengths[piece])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            room, row = seq_len, len(rows)
            rows.append([])
        rows[row].append(piece)
        left = room - length
        if left:
            by_room.setdefault(left, []).append(row)
            rooms |= 1 << left
    return rows


def read_rows(store: TokenStore, plan: Plan, rows_B: np.ndarray, seq_len: int) -> Batch:
    """Rows of the plan, padded on the right; a row number of -1 is all padding. Segments count 1.. in a row, 0 is padding.

    The label of a row is that of its first document; tags are those of the ids and of the token after them.
    """
    shape = (len(rows_B), seq_len)
    ids, targets, positions, segments = (np.zeros(shape, np.int32) for _ in range(4))
    for b, row in enumerate(rows_B.tolist()):
        at = 0
        for segment, piece in enumerate(range(plan.bins[row], plan.bins[row + 1]) if row >= 0 else (), start=1):
            start, length = plan.starts[piece], plan.lengths[piece]
            here = slice(at, at + length)
            tokens = store.tokens[start : start + length + 1]
            ids[b, here], targets[b, here] = tokens[:-1], tokens[1:]
            positions[b, here], segments[b, here] = np.arange(length), segment
            at += length
    weights = (segments > 0).astype(np.float32)
    labels = labels_of(store, plan, rows_B) if store.tags is None else tags_of(store, plan, rows_B, seq_len)
    return Batch(Inputs(ids, positions, segments, prefix=frames_of(store, plan, rows_B)), targets, weights, labels=labels)


def labels_of(store: TokenStore, plan: Plan, rows_B: np.ndarray) -> np.ndarray | None:
    """The label of each row's first document, B or B x C, -1 where there is none; None where documents have no labels."""
    if store.labels is None:
        return None
    found = store.labels[first_documents(store, plan, rows_B)]
    found[rows_B < 0] = -1
    return found


def frames_of(store: TokenStore, plan: Plan, rows_B: np.ndarray) -> np.ndarray | None:
    """The frames of each row's first document, B x P x F; None where documents have none."""
    return None if store.frames is None else np.asarray(store.frames[first_documents(store, plan, rows_B)])


def first_documents(store: TokenStore, plan: Plan, rows_B: np.ndarray) -> np.ndarray:
    """The number of each row's first document; of a row that is all padding that of any."""
    return np.searchsorted(store.doc_offsets, plan.starts[plan.bins[np.maximum(rows_B, 0)]], side='right') - 1


def tags_of(store: TokenStore, plan: Plan, rows_B: np.ndarray, seq_len: int) -> np.ndarray:
    """The tags of each row's first token and of its targets, B x (seq_len + 1) int32, below 0 where there are none."""
    assert store.tags is not None
    found = np.full((len(rows_B), seq_len + 1), OUTSIDE, np.int32)
    for b, row in enumerate(rows_B.tolist()):
        at, pieces = 0, range(plan.bins[row], plan.bins[row + 1]) if row >= 0 else ()
        if pieces:
            found[b, 0] = store.tags[plan.starts[pieces[0]]]
        for piece in pieces:
            start, length = plan.starts[piece], plan.lengths[piece]
            found[b, at + 1 : at + length + 1] = store.tags[start + 1 : start + length + 1]
            at += length
    return found


PLANS = {'packed': packed_plan, 'documents': document_plan}
