"""Windows over the stream: which ones a step reads is arithmetic on (seed, step), nothing is stored or replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lmjax.config import UsageError
from lmjax.data.shuffle import hashed, permuted
from lmjax.data.store import TokenStore
from lmjax.types import Batch, Inputs


def require_window(store: TokenStore, seq_len: int, rows: int = 1) -> None:
    """Raises UsageError unless each of the rows has a window with a next token."""
    room = (len(store) - 1) // rows
    if room < seq_len:
        many = f' in each of {rows} rows' if rows > 1 else ''
        remedy = f'use data.seq_len={room} or less, or more text' if room > 0 else 'use a smaller batch or more text'
        raise UsageError(f'data.seq_len={seq_len}: the split has {len(store)} tokens, too few for a window{many}; {remedy}')


def shuffled_starts(step: int, batch_size: int, tokens: int, seq_len: int, seed: int) -> np.ndarray:
    """Each window once an epoch, in an order and with a phase of the epoch's own.

    An epoch's windows are disjoint and adjacent; less than two windows of tokens at the edges sit an epoch out.
    """
    windows = max(1, (tokens - seq_len) // seq_len)
    phases = min(seq_len, tokens - windows * seq_len)
    epoch, index = np.divmod(rows_of(step, batch_size), windows)
    phase = hashed(seed, 'phase', epoch) % np.uint64(phases)
    return permuted(index, windows, hashed(seed, 'order', epoch)) * seq_len + phase.astype(np.int64)


def random_starts(step: int, batch_size: int, tokens: int, seq_len: int, seed: int) -> np.ndarray:
    """Any offset, independently."""
    return (hashed(seed, 'offset', rows_of(step, batch_size)) % np.uint64(tokens - seq_len)).astype(np.int64)


def contiguous_starts(step: int, batch_size: int, tokens: int, seq_len: int, seed: int) -> np.ndarray:
    """Row b reads the b-th stretch of the stream, window after window, then the next stretch, around for ever.

    So every row goes on where it stopped, also from epoch to epoch, but where the end of the stream meets its beginning.
    """
    windows = (tokens - 1) // (batch_size * seq_len)
    return (np.arange(batch_size) * windows + step) % (batch_size * windows) * seq_len


WINDOW_ORDERS: dict[str, Callable[..., np.ndarray]] = {
    'shuffled': shuffled_starts,
    'random': random_starts,
    'contiguous': contiguous_starts,
}


def rows_of(step: int, batch_size: int) -> np.ndarray:
    """Numbers of a step's rows, counted over the whole run."""
    return step * batch_size + np.arange(batch_size)


def read_windows(store: TokenStore, starts_B: np.ndarray, seq_len: int) -> Batch:
    """Windows at the starts, all of them whole; targets are the next tokens."""
    ids = store.tokens[starts_B[:, None] + np.arange(seq_len + 1)].astype(np.int32)
    weights = np.ones((len(starts_B), seq_len), np.float32)
    return Batch(Inputs(np.ascontiguousarray(ids[:, :-1])), np.ascontiguousarray(ids[:, 1:]), weights)


def read_scored(store: TokenStore, starts_B: np.ndarray, first_B: np.ndarray, last_B: np.ndarray, seq_len: int) -> Batch:
    """Windows of which only the targets at stream positions first .. last - 1 count; beyond the stream ids are 0."""
    positions = starts_B[:, None] + np.arange(seq_len + 1)
    ids = store.tokens[np.minimum(positions, len(store) - 1)].astype(np.int32)
    ids[positions >= len(store)] = 0
    targets = positions[:, 1:]
    weights = (targets >= first_B[:, None]) & (targets < last_B[:, None])
    return Batch(Inputs(np.ascontiguousarray(ids[:, :-1])), np.ascontiguousarray(ids[:, 1:]), weights.astype(np.float32))


def eval_windows(store: TokenStore, *, seq_len: int, batch_size: int, stride: int) -> Iterator[Batch]:
    """Every token but the stream's first is a target once. A window scores its last `stride` targets, the first one all."""
    total = len(store)
    windows = 1 + max(0, -(-(total - 1 - seq_len) // stride))
    for begin in range(0, windows, batch_size):
        index = begin + np.arange(batch_size)
        starts = index * stride
        first = np.where(index == 0, 1, starts + seq_len - stride + 1)
        last = np.minimum(starts + seq_len + 1, total)  # rows after the last window: first is beyond the stream
        yield read_scored(store, starts, first, last, seq_len)


def eval_stretches(store: TokenStore, *, seq_len: int, batch_size: int) -> Iterator[Batch]:
    """The same scores for a carried state: row b goes through the b-th stretch of the stream, batch after batch."""
    windows = -(-(len(store) - 1) // (batch_size * seq_len))
    begins = np.arange(batch_size) * windows * seq_len
    for window in range(windows):
        starts = begins + window * seq_len
        yield read_scored(store, starts, starts, np.full(batch_size, len(store)), seq_len)
