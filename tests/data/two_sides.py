"""For the tests of encoder-decoders' corruptions: a tokenizer's marks, rows whose tokens all differ, and rows as lists."""

import numpy as np

from lmjax.data.corruptions import corruption_of
from lmjax.data.marks import Marks
from lmjax.data.shuffle import hashed
from lmjax.data.store import memory_store
from lmjax.types import Batch, Inputs

SENTINELS = 64
MASK, SEPARATOR, START, END = range(4)
FIRST = 4 + SENTINELS  # the first token of text
ROLES = {'mask': MASK, 'separator': SEPARATOR, **{f'sentinel_{i}': 4 + i for i in range(SENTINELS)}}
VOCAB = FIRST + 1024
MARKS = Marks(np.arange(VOCAB) >= FIRST, ROLES, stops=np.arange(VOCAB) % 16 == 5, start=START, end=END)
STORE = memory_store([np.arange(FIRST, FIRST + 40)], text_bytes=0, vocab_size=VOCAB)


def counting(lengths, width):
    """A batch of rows of so many tokens, each one more than the last."""
    real = np.arange(width)[None] < np.asarray(lengths)[:, None]
    ids = np.where(real, FIRST + np.arange(width)[None], 0).astype(np.int32)
    return Batch(Inputs(ids, segments=real.astype(np.int32)), np.roll(ids, -1, axis=1), real.astype(np.float32))


def corrupted(objective, batch, *, seed=0, marks=MARKS, store=STORE):
    return corruption_of(objective, marks)(batch, hashed(seed, 'corruption', np.arange(len(batch.weights))), store)


def sides(batch):
    """Of each row the source and the target as lists, having checked what every such batch must be."""
    inputs = batch.inputs
    real, shown = batch.weights > 0, inputs.source_mask
    assert set(np.unique(batch.weights)) <= {0.0, 1.0}
    for rows in (real, shown):  # padding is on the right
        assert (np.diff(rows.astype(int), axis=1) <= 0).all()
    np.testing.assert_array_equal(inputs.segments, real)
    np.testing.assert_array_equal(inputs.ids[:, 1:], np.where(real[:, 1:], batch.targets[:, :-1], 0))
    np.testing.assert_array_equal(inputs.ids[:, 0], np.where(real[:, 0], START, 0))
    for array in (inputs.ids, inputs.source_ids, batch.targets):
        assert array.dtype == np.int32
    assert not inputs.source_ids[~shown].any()
    assert not batch.targets[~real].any()
    found = []
    for source, target in zip(lists(inputs.source_ids, shown), lists(batch.targets, real), strict=True):
        assert source[-1:] == target[-1:] == ([END] if target else [])
        found.append((source[:-1], target[:-1]))
    return found


def lists(ids, real):
    return [row[keep].tolist() for row, keep in zip(ids, real, strict=True)]


def same(one, other, rows=slice(None)):
    """Whether all arrays of a batch are those rows of another."""
    for a, b in zip((*one.inputs, *one[1:]), (*other.inputs, *other[1:]), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b[rows])
