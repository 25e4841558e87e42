"""Batches of rows of like length: the widths with the least padding, each row once an epoch, by (seed, step) alone."""

import itertools

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.buckets import FINEST, best_widths
from lmjax.data.config import DataConfig
from lmjax.data.loader import batch_at, batch_reader, epoch_steps, eval_batches
from lmjax.data.marks import plain_marks
from lmjax.data.store import memory_store
from lmjax.data.texts import texts
from lmjax.objectives.config import ObjectiveConfig

RNG = np.random.default_rng(0)
LENGTHS = np.clip(RNG.lognormal(2.7, 0.6, size=2003).astype(int), 1, 80)
DATA = DataConfig(seq_len=64, layout='documents', buckets=12)


def made(lengths=LENGTHS, *, separator=None):
    """Documents of one token that is their number, again and again; even ones have the label 1."""
    documents = [np.full(length, number) for number, length in enumerate(lengths)]
    labels = np.arange(len(lengths), dtype=np.int32) % 2
    sizes = {'text_bytes': 0, 'vocab_size': len(lengths) + 1, 'separator_id': separator}
    return memory_store(documents, **sizes, labels=labels)


def epoch_of(store, *, epoch=0, size=16, seed=0, corrupt=None):
    read = batch_reader(store, DATA, seed=seed, batch_size=size, corrupt=corrupt)
    steps = epoch_steps(store, DATA, seed=seed, batch_size=size)
    return [read(epoch * steps + step, slice(None)) for step in range(steps)]


def numbers_of(batches):
    """The documents of rows that are not empty."""
    return [
        int(row[0]) for batch in batches for row, real in zip(batch.inputs.ids, batch.inputs.segments, strict=True) if real[0]
    ]


def test_widths_have_the_least_padding():
    for _ in range(100):
        lengths, count = RNG.integers(1, 9, RNG.integers(1, 15)), int(RNG.integers(1, 5))
        widths = best_widths(lengths, count)
        assert widths[-1] == lengths.max()
        assert len(widths) <= count
        values = np.unique(lengths)
        choices = (c for k in range(1, count + 1) for c in itertools.combinations(values, k) if c[-1] == values[-1])
        least = min(sum(min(width for width in c if width >= length) for length in lengths) for c in choices)
        assert widths[np.searchsorted(widths, lengths)].sum() == least


def test_widths_of_long_rows_are_whole_grains():
    lengths = np.arange(1, 5 * FINEST)
    widths = best_widths(lengths, 4)
    assert widths[-1] == lengths.max()
    assert not (widths[:-1] % 5).any()


@pytest.mark.parametrize('separator', [None, len(LENGTHS)])
def test_each_row_comes_once_an_epoch_in_an_order_of_its_own(separator):
    store = made(separator=separator)
    has_a_pair = [number for number, length in enumerate(LENGTHS) if length > 1 or separator is not None]
    plain = texts(ObjectiveConfig(), plain_marks(store.vocab_size, sentinels=0))
    first, second = (epoch_of(store, epoch=epoch, corrupt=plain) for epoch in (0, 1))
    assert sorted(numbers_of(first)) == sorted(numbers_of(second)) == has_a_pair
    assert [batch.inputs.ids.shape for batch in first] != [batch.inputs.ids.shape for batch in second]
    assert numbers_of(first) != numbers_of(epoch_of(store, seed=1, corrupt=plain))


def test_texts_are_whole_up_to_the_limit_and_little_is_padding():
    store = made()
    batches = epoch_of(store, corrupt=texts(ObjectiveConfig(), plain_marks(store.vocab_size, sentinels=0)))
    read = {}
    for batch in batches:
        for ids, real, label in zip(batch.inputs.ids, batch.inputs.segments, batch.labels, strict=True):
            if real[0]:
                read[int(ids[0])] = int(real.sum())
                assert label == ids[0] % 2
    assert read == {number: min(length, 64) for number, length in enumerate(LENGTHS) if length > 1}
    slots = sum(batch.inputs.ids.size for batch in batches)
    empty = sum((~batch.inputs.segments.any(axis=1)).sum() * batch.inputs.ids.shape[1] for batch in batches)
    assert sum(read.values()) > 0.9 * (slots - empty)
    assert len({batch.inputs.ids.shape[1] for batch in batches}) <= 12


def test_a_batch_depends_on_seed_and_step_alone_at_any_number_of_hosts():
    store, size = made(), 8
    forward = epoch_of(store, size=size)
    for step in (20, 3, 20, 0):
        parts = [batch_at(store, DATA, step, seed=0, batch_size=size, host=host, hosts=2) for host in range(2)]
        for name in ('ids', 'segments', 'positions'):
            joined = np.concatenate([getattr(part.inputs, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(forward[step].inputs, name))
        np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), forward[step].labels)


def test_an_evaluation_reads_every_row_once():
    store = made(separator=len(LENGTHS))
    batches = list(eval_batches(store, seq_len=64, batch_size=16, layout='documents', buckets=10))
    plain = list(eval_batches(store, seq_len=64, batch_size=16, layout='documents'))
    assert sum(batch.weights.sum() for batch in batches) == sum(batch.weights.sum() for batch in plain)
    targets = [sorted(int(i) for batch in side for i in batch.targets[batch.weights > 0]) for side in (batches, plain)]
    assert targets[0] == targets[1]
    assert sum(batch.inputs.ids.size for batch in batches) < 0.5 * sum(batch.inputs.ids.size for batch in plain)


@pytest.mark.parametrize('wrong', [{'layout': 'packed'}, {'layout': 'windows'}, {'order': 'random'}])
def test_only_shuffled_documents_have_lengths(wrong):
    data = DataConfig(**{'seq_len': 8, 'layout': 'documents', 'buckets': 4, **wrong})
    with pytest.raises(UsageError, match=r'data\.buckets=4: sorts documents'):
        batch_reader(made(), data, seed=0, batch_size=2)
