"""The laws of batches: pure in (seed, step), alike on any number of hosts, no token lost or doubled."""

import itertools

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.loader import batch_at, epoch_steps, eval_batches, example_batch, train_batches, validate
from lmjax.data.store import memory_store

TOKENS = 1003
SEQ = 10
MODES = [
    ('windows', 'shuffled'),
    ('windows', 'random'),
    ('windows', 'contiguous'),
    ('packed', 'shuffled'),
    ('packed', 'random'),
    ('documents', 'shuffled'),
]


def made(total=TOKENS, documents=50, separator=False):
    """Token i is i, in documents of unequal length."""
    cuts = np.sort(np.random.default_rng(0).choice(np.arange(1, total), documents - 1, replace=False))
    parts = np.split(np.arange(total), cuts)
    return memory_store(parts, text_bytes=total, vocab_size=total + 1, separator_id=total if separator else None)


STORE = made()


def config(layout='windows', order='shuffled'):
    return DataConfig(seq_len=SEQ, layout=layout, order=order)


def steps(iterator, n):
    return list(itertools.islice(iterator, n))


def assert_same(a, b):
    for x, y in zip((*a.inputs, a.targets, a.weights), (*b.inputs, b.targets, b.weights), strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(('layout', 'order'), MODES)
def test_a_batch_is_a_function_of_seed_and_step(layout, order):
    data = config(layout, order)
    run = steps(train_batches(STORE, data, seed=1, batch_size=4), 60)
    for start in (0, 1, 37):
        resumed = steps(train_batches(STORE, data, seed=1, batch_size=4, start=start), 3)
        for got, expected in zip(resumed, run[start:], strict=False):
            assert_same(got, expected)
    assert_same(batch_at(STORE, data, 41, seed=1, batch_size=4), run[41])
    other = batch_at(STORE, data, 0, seed=2, batch_size=4)
    assert np.array_equal(other.targets, run[0].targets) == (order == 'contiguous')
    assert run[0].inputs.ids.dtype == run[0].targets.dtype == np.int32
    assert run[0].weights.dtype == np.float32
    assert run[0].inputs.ids.shape == run[0].targets.shape == run[0].weights.shape == (4, SEQ)


@pytest.mark.parametrize(('layout', 'order'), MODES)
def test_an_example_has_the_shapes_of_every_batch(layout, order):
    example = example_batch(config(layout, order), batch_size=4)
    real = batch_at(STORE, config(layout, order), 3, seed=1, batch_size=4)
    for x, y in zip((*example.inputs, *example[1:]), (*real.inputs, *real[1:]), strict=True):
        assert (x is None) == (y is None)
        assert x is None or (x.shape, x.dtype) == (y.shape, y.dtype)


@pytest.mark.parametrize(('layout', 'order'), MODES)
@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_together_read_the_global_batch(layout, order, hosts):
    data = config(layout, order)
    for step in (0, 30):
        whole = batch_at(STORE, data, step, seed=5, batch_size=8)
        parts = [batch_at(STORE, data, step, seed=5, batch_size=8, host=host, hosts=hosts) for host in range(hosts)]
        np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), whole.targets)
        np.testing.assert_array_equal(np.concatenate([part.inputs.ids for part in parts]), whole.inputs.ids)
    streams = [train_batches(STORE, data, seed=5, batch_size=8, host=host, hosts=hosts, start=29) for host in range(hosts)]
    second = [steps(stream, 2)[1].targets for stream in streams]
    np.testing.assert_array_equal(np.concatenate(second), whole.targets)


@pytest.mark.parametrize('total', [2 * SEQ - 1, 2 * SEQ, 3 * SEQ + 1, 997, TOKENS])
def test_shuffled_windows_read_no_token_twice_in_an_epoch(total):
    """Windows of an epoch are disjoint and adjacent, in another order and from another phase each epoch."""
    store = made(total, documents=3)
    windows = round(epoch_steps(store, config(), seed=0, batch_size=1))
    rows = [batch_at(store, config(), step, seed=7, batch_size=1).targets[0] for step in range(6 * windows)]
    epochs = [np.stack(rows[i : i + windows]) for i in range(0, len(rows), windows)]
    for epoch in epochs:
        seen = np.sort(epoch.ravel())
        np.testing.assert_array_equal(seen, np.arange(seen[0], seen[0] + windows * SEQ))
    assert total - 1 - windows * SEQ < 2 * SEQ
    if windows > 5:
        assert len({epoch.min() for epoch in epochs}) > 2
        assert not np.array_equal(np.argsort(epochs[0][:, 0]), np.argsort(epochs[1][:, 0]))
        assert np.any(np.diff(epochs[0][:, 0]) < 0)


def test_an_epoch_that_ends_inside_a_batch():
    windows = round(epoch_steps(STORE, config(), seed=0, batch_size=1))
    assert windows % 8
    rows = np.concatenate([batch_at(STORE, config(), step, seed=0, batch_size=8).targets for step in range(2 * windows // 8)])
    single = [batch_at(STORE, config(), step, seed=0, batch_size=1).targets[0] for step in range(len(rows))]
    np.testing.assert_array_equal(rows, single)


@pytest.mark.parametrize('layout', ['packed', 'documents'])
def test_an_epoch_of_documents_reads_each_token_once(layout):
    store = made(separator=True)
    data = config(layout)
    rows = round(epoch_steps(store, data, seed=4, batch_size=1))
    for epoch in range(2):
        batches = [batch_at(store, data, epoch * rows + i, seed=4, batch_size=1) for i in range(rows)]
        targets = np.concatenate([batch.targets[batch.weights > 0] for batch in batches])
        expected = np.append(np.arange(TOKENS), np.full(50, TOKENS))
        np.testing.assert_array_equal(np.sort(targets), np.sort(expected))


def test_random_windows_reach_every_offset():
    store = made(SEQ + 5, documents=1)
    data = config(order='random')
    firsts = [batch_at(store, data, step, seed=0, batch_size=8).inputs.ids[:, 0] for step in range(40)]
    counts = np.bincount(np.concatenate(firsts), minlength=5)
    assert len(counts) == 5
    assert counts.min() > 30  # 64 expected


def test_contiguous_rows_go_on_where_they_stopped():
    data = config(order='contiguous')
    batch_size = 4
    windows = int(epoch_steps(STORE, data, seed=0, batch_size=batch_size))
    run = [batch_at(STORE, data, step, seed=0, batch_size=batch_size) for step in range(3 * windows)]
    section = windows * SEQ
    ring = batch_size * section
    for before, after in itertools.pairwise(run):
        np.testing.assert_array_equal(after.inputs.ids[:, 0], before.targets[:, -1] % ring)
    epoch = np.concatenate([batch.targets.ravel() for batch in run[:windows]])
    np.testing.assert_array_equal(np.sort(epoch), np.arange(1, ring + 1))


def scored(batches):
    return np.concatenate([batch.targets[batch.weights > 0] for batch in batches])


@pytest.mark.parametrize('total', [2, SEQ, SEQ + 1, SEQ + 2, 5 * SEQ, 317])
@pytest.mark.parametrize('batch_size', [1, 4])
@pytest.mark.parametrize('options', [{}, {'stride': 1}, {'stride': 3}, {'stride': SEQ}, {'order': 'contiguous'}])
def test_evaluation_scores_each_token_once(total, batch_size, options):
    store = made(total, documents=1)
    batches = list(eval_batches(store, seq_len=SEQ, batch_size=batch_size, **options))
    assert {batch.targets.shape for batch in batches} == {(batch_size, SEQ)}
    np.testing.assert_array_equal(np.sort(scored(batches)), np.arange(1, total))
    for batch in batches:
        real = batch.weights > 0
        np.testing.assert_array_equal(batch.inputs.ids[real] + 1, batch.targets[real])
        assert set(np.unique(batch.weights)) <= {0.0, 1.0}


def test_sliding_windows_give_context():
    store = made(100, documents=1)
    for batch in eval_batches(store, seq_len=SEQ, batch_size=2, stride=3):
        for ids, targets, weights in zip(batch.inputs.ids, batch.targets, batch.weights, strict=True):
            for target in targets[weights > 0]:
                assert target - ids[0] > SEQ - 3 or ids[0] == 0


ways = [{}, {'layout': 'documents'}, {'layout': 'documents', 'buckets': 3}, {'layout': 'packed'}, {'order': 'contiguous'}]


@pytest.mark.parametrize('way', ways, ids=str)
@pytest.mark.parametrize('is_corrupted', [False, True])
def test_a_part_of_an_evaluation_is_spread_over_it(way, is_corrupted):
    def corrupt(batch, keys_B, store):
        return batch._replace(targets=np.stack([keys_B >> np.uint64(40), batch.targets[:, 0]], axis=1).astype(np.int64))

    sizes = {'seq_len': SEQ, 'batch_size': 2, 'corrupt': corrupt if is_corrupted else None, **way}
    whole, part = (list(eval_batches(STORE, **sizes, limit=limit)) for limit in (0, 3))
    every = 1 if 'order' in way else len(whole) // 3
    assert every > 1 or 'order' in way
    assert len(part) == 3
    for number, batch in enumerate(part):
        np.testing.assert_array_equal(batch.targets, whole[number * every].targets)


def test_contiguous_evaluation_rows_go_on():
    batches = list(eval_batches(STORE, seq_len=SEQ, batch_size=4, order='contiguous'))
    for before, after in itertools.pairwise(batches):
        real = after.weights[:, 0] > 0
        np.testing.assert_array_equal(after.inputs.ids[real, 0], before.targets[real, -1])


@pytest.mark.parametrize('layout', ['packed', 'documents'])
def test_evaluation_of_documents(layout):
    store = made(separator=True)
    batches = list(eval_batches(store, seq_len=SEQ, batch_size=7, layout=layout))
    assert {batch.targets.shape for batch in batches} == {(7, SEQ)}
    assert len(scored(batches)) == TOKENS + 50


@pytest.mark.parametrize('options', [{}, {'layout': 'packed'}])
def test_hosts_share_evaluation(options):
    whole = list(eval_batches(STORE, seq_len=SEQ, batch_size=4, **options))
    halves = [list(eval_batches(STORE, seq_len=SEQ, batch_size=4, host=host, hosts=2, **options)) for host in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), batch.targets)
        np.testing.assert_array_equal(np.concatenate([part.weights for part in parts]), batch.weights)


@pytest.mark.parametrize(
    ('data', 'what'),
    [
        (DataConfig(layout='window'), "data.layout='window': no such choice; choose one of: windows, packed, documents"),
        (DataConfig(order='sorted'), "data.order='sorted': no such choice"),
        (DataConfig(order='contiguous', layout='packed'), r"data.order='contiguous': .*; use data.layout=windows"),
        (DataConfig(seq_len=0), 'data.seq_len=0: use 1 or more'),
    ],
)
def test_contradictions_are_refused(data, what):
    with pytest.raises(UsageError, match=what):
        validate(data)
    with pytest.raises(UsageError, match=what):
        train_batches(STORE, data, seed=0, batch_size=1)


def test_what_does_not_fit_is_refused_at_once():
    store = made(20, documents=1)
    with pytest.raises(UsageError, match=r'data.seq_len=20: the split has 20 tokens.*; use data.seq_len=19 or less'):
        train_batches(store, DataConfig(seq_len=20), seed=0, batch_size=1)
    train_batches(store, DataConfig(seq_len=19), seed=0, batch_size=1)
    with pytest.raises(UsageError, match=r'in each of 4 rows; use data.seq_len=4 or less'):
        train_batches(store, DataConfig(seq_len=5, order='contiguous'), seed=0, batch_size=4)
    with pytest.raises(UsageError, match=r'train.batch_size=6: must divide by the 4 hosts'):
        train_batches(store, DataConfig(seq_len=5), seed=0, batch_size=6, hosts=4)
    with pytest.raises(UsageError, match=r'train.batch_size=0'):
        train_batches(store, DataConfig(seq_len=5), seed=0, batch_size=0)
    with pytest.raises(UsageError, match='no document has two tokens'):
        train_batches(memory_store([np.array([1])], text_bytes=1, vocab_size=2), config('packed'), seed=0, batch_size=1)
    with pytest.raises(UsageError, match='stride=11: use 1 to seq_len=10'):
        eval_batches(store, seq_len=10, batch_size=1, stride=11)
    with pytest.raises(UsageError, match='1 tokens to evaluate'):
        eval_batches(made(1, documents=1), seq_len=10, batch_size=1)
