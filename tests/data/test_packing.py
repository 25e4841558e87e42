"""Plans: every token of every document once, rows never overfull, documents never mixed."""

import itertools

import numpy as np
import pytest

from lmjax.data.packing import BLOCK, PLANS, best_fit, packed_plan, read_rows
from lmjax.data.store import memory_store


def documents_of(lengths):
    """Documents whose tokens are all different."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def made(lengths, *, separator):
    total = int(np.sum(lengths))
    separator_id = total if separator else None
    return memory_store(documents_of(lengths), text_bytes=total, vocab_size=total + 1, separator_id=separator_id)


LENGTHS = np.random.default_rng(0).integers(0, 40, size=200)


@pytest.mark.parametrize('layout', PLANS)
@pytest.mark.parametrize('separator', [True, False])
def test_each_pair_of_neighbours_in_a_document_is_scored_once(layout, separator):
    store, seq_len = made(LENGTHS, separator=separator), 16
    plan = PLANS[layout](store, seq_len, seed=3)
    batch = read_rows(store, plan, np.arange(len(plan)), seq_len)
    real = batch.weights > 0
    found = sorted(zip(batch.inputs.ids[real].tolist(), batch.targets[real].tolist(), strict=True))
    mark = [store.separator_id] if separator else []
    framed = [[*mark, *ids.tolist(), *mark] for ids in documents_of(LENGTHS)]
    assert found == sorted(pair for ids in framed for pair in itertools.pairwise(ids))


@pytest.mark.parametrize('layout', PLANS)
def test_segments_hold_one_document_and_positions_restart(layout):
    store, seq_len = made(LENGTHS, separator=False), 16
    plan = PLANS[layout](store, seq_len, seed=3)
    batch = read_rows(store, plan, np.arange(len(plan)), seq_len)
    document = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    most = 0
    for ids, targets, positions, segments in zip(
        batch.inputs.ids, batch.targets, batch.inputs.positions, batch.inputs.segments, strict=True
    ):
        numbers = [s for s in np.unique(segments) if s]
        assert numbers == list(range(1, len(numbers) + 1))
        most = max(most, len(numbers))
        for segment in numbers:
            here = segments == segment
            assert len(set(document[ids[here]]) | set(document[targets[here]])) == 1
            assert positions[here].tolist() == list(range(here.sum()))
            assert np.ptp(np.flatnonzero(here)) == here.sum() - 1
        padding = segments == 0
        assert not ids[padding].any()
        assert not padding.any() or padding[padding.argmax() :].all()  # on the right
    assert (most == 1) == (layout == 'documents')
    np.testing.assert_array_equal(batch.weights, (batch.inputs.segments > 0).astype(np.float32))


def test_a_plan_follows_from_lengths_and_seed():
    one, same, other = (packed_plan(made(LENGTHS, separator=True), 16, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.starts, other.starts)


def test_rows_are_nearly_full():
    """Documents of half a row's length on average waste less than a fiftieth, over several blocks."""
    lengths = np.random.default_rng(0).integers(1, 64, size=3 * BLOCK)
    plan = packed_plan(made(lengths, separator=False), 64, seed=0)
    assert plan.lengths.sum() / (len(plan) * 64) > 0.98
    filled = np.add.reduceat(plan.lengths, plan.bins[:-1])
    assert filled.max() <= 64
    assert filled.min() > 0


def test_best_fit_takes_the_fullest_row_with_room():
    lengths = np.array([6, 7, 3, 4, 2])
    rows = best_fit(np.arange(5), lengths, 10)
    assert [sorted(lengths[row].tolist()) for row in rows] == [[3, 7], [4, 6], [2]]


def test_all_padding_rows():
    store = made([5, 5], separator=True)
    plan = packed_plan(store, 8, seed=0)
    batch = read_rows(store, plan, np.array([-1]), 8)
    assert not batch.weights.any()
    assert not batch.inputs.segments.any()
