"""Batches of token stores. The global batch at a step is a pure function of (seed, step); each host reads its rows of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lmjax.config import UsageError, choose, require
from lmjax.data.buckets import GroupReader, group_reader, steps_of
from lmjax.data.config import DataConfig
from lmjax.data.labels import plain_labels
from lmjax.data.marks import Corruption
from lmjax.data.packing import PLANS, Plan, read_rows
from lmjax.data.shuffle import hashed, permuted
from lmjax.data.store import TokenStore, memory_store
from lmjax.data.windows import (
    WINDOW_ORDERS,
    eval_stretches,
    eval_windows,
    read_windows,
    require_window,
    rows_of,
)
from lmjax.types import Batch, Inputs

LAYOUTS = ('windows', *PLANS)


def validate(data: DataConfig) -> None:
    """Raises UsageError for layouts and orders that do not exist or contradict each other, before any work."""
    choose(dict.fromkeys(LAYOUTS), data.layout, 'data.layout')
    choose(WINDOW_ORDERS, data.order, 'data.order')
    require(data.seq_len >= 1, 'data.seq_len', data.seq_len, 'use 1 or more')
    if data.order == 'contiguous' and data.layout != 'windows':
        remedy = 'use data.layout=windows, or data.order=shuffled'
        raise UsageError(f'data.order={data.order!r}: rows of layout={data.layout!r} hold whole documents; {remedy}')
    if data.buckets:
        remedy = 'sorts documents by length; use data.layout=documents with data.order=shuffled, or 0'
        require((data.layout, data.order) == ('documents', 'shuffled'), 'data.buckets', data.buckets, remedy)


def batch_reader(
    store: TokenStore, data: DataConfig, *, seed: int, batch_size: int, corrupt: Corruption | None = None
) -> Callable[[int, slice], Batch]:
    """A function (step, rows) -> those rows of the global batch at that step."""
    read = whole_reader(store, data, seed=seed, batch_size=batch_size)
    if corrupt is None:
        return read

    def read_corrupted(step: int, rows: slice) -> Batch:
        return corrupt(read(step, rows), hashed(seed, 'corruption', rows_of(step, batch_size)[rows]), store)

    return read_corrupted


def whole_reader(store: TokenStore, data: DataConfig, *, seed: int, batch_size: int) -> Callable[[int, slice], Batch]:
    """The same of batches as they are before an objective corrupts them."""
    validate(data)
    require(batch_size >= 1, 'train.batch_size', batch_size, 'use 1 or more')
    if data.layout == 'windows':
        require_window(store, data.seq_len, batch_size if data.order == 'contiguous' else 1)
        starts_at = WINDOW_ORDERS[data.order]

        def read(step: int, rows: slice) -> Batch:
            starts = starts_at(step, batch_size, len(store), data.seq_len, seed)
            return read_windows(store, starts[rows], data.seq_len)

        return read
    plan = plan_of(store, data, seed=seed)
    if data.buckets:
        groups = groups_of(store, plan, data.seq_len, buckets=data.buckets, batch_size=batch_size, seed=seed)

        def read_group(step: int, rows: slice) -> Batch:
            group, width = groups.at(step)
            return read_rows(store, plan, group[rows], width)

        return read_group
    rows_at = PLAN_ORDERS[data.order]
    return lambda step, rows: read_rows(store, plan, rows_at(step, batch_size, len(plan), seed)[rows], data.seq_len)


def plan_of(store: TokenStore, data: DataConfig, *, seed: int) -> Plan:
    plan = PLANS[data.layout](store, data.seq_len, seed=seed)
    if not len(plan):
        what = f'no pair has {data.seq_len} tokens or fewer' if store.paired else 'no document has two tokens'
        remedy = 'use a larger data.seq_len' if store.paired else 'use data.layout=windows'
        raise UsageError(f'data.layout={data.layout!r}: {what}; {remedy}')
    return plan


def groups_of(store: TokenStore, plan: Plan, seq_len: int, *, buckets: int, batch_size: int, seed: int) -> GroupReader:
    """Rows of a document each by length: with its last token, which nothing follows and some objectives read."""
    lengths = np.minimum(plan.lengths + (store.separator_id is None), seq_len)
    return group_reader(lengths, buckets=buckets, batch_size=batch_size, seed=seed)


def train_widths(store: TokenStore, data: DataConfig, *, seed: int, batch_size: int) -> list[int]:
    """Every width that a batch may have."""
    if not data.buckets:
        return [data.seq_len]
    plan, sizes = plan_of(store, data, seed=seed), {'buckets': data.buckets, 'batch_size': batch_size}
    return groups_of(store, plan, data.seq_len, **sizes, seed=seed).widths.tolist()


def shuffled_rows(step: int, batch_size: int, rows: int, seed: int) -> np.ndarray:
    """Each row of a plan once an epoch."""
    epoch, index = np.divmod(rows_of(step, batch_size), rows)
    return permuted(index, rows, hashed(seed, 'order', epoch))


def random_rows(step: int, batch_size: int, rows: int, seed: int) -> np.ndarray:
    """Any row of a plan, independently."""
    return (hashed(seed, 'row', rows_of(step, batch_size)) % np.uint64(rows)).astype(np.int64)


PLAN_ORDERS = {'shuffled': shuffled_rows, 'random': random_rows}


def host_rows(batch_size: int, host: int, hosts: int) -> slice:
    """The rows of the global batch that a host reads."""
    require(batch_size % hosts == 0, 'train.batch_size', batch_size, f'must divide by the {hosts} hosts')
    share = batch_size // hosts
    return slice(host * share, (host + 1) * share)


def batch_at(
    store: TokenStore,
    data: DataConfig,
    step: int,
    *,
    seed: int,
    batch_size: int,
    corrupt: Corruption | None = None,
    host: int = 0,
    hosts: int = 1,
) -> Batch:
    """The rows of one host in the batch at one step."""
    read = batch_reader(store, data, seed=seed, batch_size=batch_size, corrupt=corrupt)
    return read(step, host_rows(batch_size, host, hosts))


def example_batch(data: DataConfig, *, batch_size: int, classes: int = 0, corrupt: Corruption | None = None) -> Batch:
    """A batch of zeros, of the shapes that every batch of a config has, where texts have so many classes."""
    documents = [np.zeros(data.seq_len + 2, np.int32)] * batch_size
    store = memory_store(documents, text_bytes=0, vocab_size=1, **plain_labels(data, batch_size, classes=classes))
    return batch_at(store, data, 0, seed=0, batch_size=batch_size, corrupt=corrupt)


class Steps:
    """A random-access source for grain whose i-th element is the batch at step i."""

    def __init__(self, read: Callable[[int, slice], Batch], rows: slice, start: int) -> None:
        self._read, self._rows, self._start = read, rows, start

    def __len__(self) -> int:
        return 1 << 40  # steps; nobody gets there

    def __getitem__(self, index: Any) -> Batch:
        return self._read(self._start + int(index), self._rows)


def train_batches(
    store: TokenStore,
    data: DataConfig,
    *,
    seed: int,
    batch_size: int,
    corrupt: Corruption | None = None,
    start: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[Batch]:
    """Batches from step `start` on, for ever. Raises UsageError at once for what cannot be read."""
    read = batch_reader(store, data, seed=seed, batch_size=batch_size, corrupt=corrupt)
    rows = host_rows(batch_size, host, hosts)

    def batches() -> Iterator[Batch]:
        yield read(start, rows)  # at once: importing grain takes a second, and then the device is at work
        import grain

        options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)  # threads cost more than they save here
        source = grain.MapDataset.source(Steps(read, rows, start + 1))
        yield from source.to_iter_dataset(options)

    return batches()


def epoch_steps(store: TokenStore, data: DataConfig, *, seed: int, batch_size: int) -> float:
    """Steps after which each token was a target once (for random order: on average)."""
    if data.layout != 'windows':
        rows = len(plan_of(store, data, seed=seed))
        return steps_of(rows, batch_size) if data.buckets else rows / batch_size
    if data.order == 'contiguous':
        return (len(store) - 1) // (batch_size * data.seq_len)
    return max(1, (len(store) - data.seq_len) // data.seq_len) / batch_size


def eval_batches(
    store: TokenStore,
    *,
    seq_len: int,
    batch_size: int,
    stride: int = 0,
    layout: str = 'windows',
    order: str = 'shuffled',
    buckets: int = 0,
    limit: int = 0,
    corrupt: Corruption | None = None,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[Batch]:
    """Every token scored exactly once, in batches of one shape; weights are 0 on context and padding.

    Windows are disjoint, or with `stride` overlap so that each token has at least seq_len - stride tokens of context.
    order='contiguous' lays the stream out for a carried state. Rows of documents have segments and positions; windows none
    (padding is on the right, where no causal network looks). With a corruption windows have segments as well; each row is
    always corrupted alike, and what is scored is what it says. With `buckets` documents come by their length, in batches of
    so many shapes. With `limit` there are at most so many batches, spread evenly, so that the part looks like the whole (for a
    carried state the first ones).
    """
    choose(dict.fromkeys(LAYOUTS), layout, 'data.layout')
    require(0 <= stride <= seq_len, 'stride', stride, f'use 1 to seq_len={seq_len}, or 0 for disjoint windows')
    rows = host_rows(batch_size, host, hosts)
    if len(store) < 2:
        raise UsageError(f'data: {len(store)} tokens to evaluate; a next token needs at least two, give more text')
    if layout != 'windows':
        whole = eval_rows(store, seq_len=seq_len, batch_size=batch_size, layout=layout, buckets=buckets)
    elif order == 'contiguous':
        require(stride in (0, seq_len), 'stride', stride, 'a carried state reads each token once: use 0')
        whole = eval_stretches(store, seq_len=seq_len, batch_size=batch_size)
    else:
        whole = eval_windows(store, seq_len=seq_len, batch_size=batch_size, stride=stride or seq_len)
    numbered: Iterable[tuple[int, Batch]] = enumerate(whole)
    if limit:
        count = eval_size(store, seq_len=seq_len, batch_size=batch_size, layout=layout)
        every = 1 if order == 'contiguous' else max(1, count // limit)
        numbered = itertools.islice(numbered, 0, every * limit, every)
    kept = (batch for _, batch in numbered) if corrupt is None else corrupted(numbered, store, corrupt)
    return (take_rows(batch, rows) for batch in kept)


def eval_size(store: TokenStore, *, seq_len: int, batch_size: int, layout: str) -> int:
    """How many batches an evaluation of disjoint windows, or of rows of documents, has."""
    rows = steps_of(len(store) - 1, seq_len) if layout == 'windows' else len(PLANS[layout](store, seq_len, seed=0))
    return steps_of(rows, batch_size)


def corrupted(numbered: Iterable[tuple[int, Batch]], store: TokenStore, corrupt: Corruption) -> Iterator[Batch]:
    """Batches of an evaluation, by their number in the whole of it, as a corruption leaves them."""
    for step, batch in numbered:
        if batch.inputs.segments is None:
            batch = batch._replace(inputs=batch.inputs._replace(segments=(batch.weights > 0).astype(np.int32)))
        yield corrupt(batch, hashed(0, 'evaluation', rows_of(step, len(batch.weights))), store)


def eval_rows(store: TokenStore, *, seq_len: int, batch_size: int, layout: str, buckets: int) -> Iterator[Batch]:
    plan = PLANS[layout](store, seq_len, seed=0)
    if buckets and len(plan):
        groups = groups_of(store, plan, seq_len, buckets=buckets, batch_size=batch_size, seed=0)
        for step in range(steps_of(len(plan), batch_size)):
            yield read_rows(store, plan, *groups.at(step))
        return
    for begin in range(0, len(plan), batch_size):
        rows = begin + np.arange(batch_size)
        yield read_rows(store, plan, np.where(rows < len(plan), rows, -1), seq_len)


def take_rows(batch: Batch, rows: slice) -> Batch:
    """Some rows of every array of a batch."""
    inputs = {name: array[rows] for name, array in batch.inputs._asdict().items() if array is not None}
    at, labels = (None if array is None else array[rows] for array in (batch.at, batch.labels))
    return Batch(Inputs(**inputs), batch.targets[rows], batch.weights[rows], at, labels)
