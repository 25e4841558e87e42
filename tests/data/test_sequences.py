"""Sequence to sequence: rows are whole pairs, each half where it belongs, with or without separators between documents."""

import numpy as np
import pytest
from two_sides import END, FIRST, MARKS, SEPARATOR, START, STORE, VOCAB, counting, same, sides

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corruptions import corruption_of
from lmjax.data.loader import batch_at, epoch_steps, eval_batches, example_batch
from lmjax.data.marks import plain_marks
from lmjax.data.parallel_text import describe_left_out, pairs_left_out
from lmjax.data.shuffle import hashed
from lmjax.data.store import memory_store
from lmjax.objectives.config import ObjectiveConfig

SEQ2SEQ = ObjectiveConfig(kind='seq2seq')
PAIRS = [([5, 6, 7], [8, 9]), ([3], [4]), ([1, 2], []), ([], [1]), ([9] * 4, [8] * 5), ([7] * 9, [1]), ([1], [2] * 9)]


def store_of(pairs, separator_id):
    documents = [np.array([FIRST + i for i in a] + [SEPARATOR] + [FIRST + i for i in b]) for a, b in pairs]
    return memory_store(documents, text_bytes=0, vocab_size=VOCAB, separator_id=separator_id, paired=True)


@pytest.mark.parametrize('separator_id', [None, END, SEPARATOR])
def test_each_half_is_on_its_side(separator_id):
    """Also where the separators between documents are the tokens that end a text, or that part a pair."""
    store, data = store_of(PAIRS, separator_id), DataConfig(seq_len=11, layout='documents')
    corrupt = corruption_of(SEQ2SEQ, MARKS)
    length = 11 - (separator_id is not None)
    fitting = [(a, b) for a, b in PAIRS if len(a) + 1 + len(b) <= length]
    assert len(fitting) == (7 if separator_id is None else 5)
    found = []
    for batch in eval_batches(store, seq_len=11, batch_size=4, layout='documents', corrupt=corrupt):
        assert batch.inputs.source_ids.shape == batch.targets.shape == (4, 11)
        found += [([i - FIRST for i in a], [i - FIRST for i in b]) for a, b in sides(batch)]
    assert found[: len(fitting)] == fitting
    assert all(pair == ([], []) for pair in found[len(fitting) :])
    assert batch.weights.sum() == sum(len(b) + 1 for a, b in fitting[4:])
    assert epoch_steps(store, data, seed=0, batch_size=1) == len(fitting)
    whole = batch_at(store, data, 3, seed=1, batch_size=4, corrupt=corrupt)
    for host in range(2):
        part = batch_at(store, data, 3, seed=1, batch_size=4, corrupt=corrupt, host=host, hosts=2)
        same(part, whole, slice(2 * host, 2 * host + 2))
    example = example_batch(data, batch_size=4, corrupt=corruption_of(SEQ2SEQ, plain_marks(VOCAB)))
    for one, other in zip((*example.inputs, *example[1:]), (*whole.inputs, *whole[1:]), strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape, one.dtype) == (other.shape, other.dtype)


def test_rows_without_a_separator_score_nothing():
    batch = counting([8, 8, 0, 9], 9)
    batch.inputs.ids[[1, 3], 4] = batch.targets[[1, 3], 3] = SEPARATOR
    after = corruption_of(SEQ2SEQ, MARKS)(batch, hashed(0, 'corruption', np.arange(4)), STORE)
    rows = sides(after)
    assert rows[0] == rows[2] == rows[3] == ([], [])  # the last one is longer than a pair that fits
    assert rows[1] == ([FIRST, FIRST + 1, FIRST + 2, FIRST + 3], [*range(FIRST + 5, FIRST + 8), 0])
    assert after.inputs.ids[1, 0] == START


def test_pairs_that_are_too_long_are_counted_and_never_cut():
    store = store_of(PAIRS, END)
    assert pairs_left_out(store, 11) == 2
    assert pairs_left_out(store, 12) == 0
    line = describe_left_out({'train': store, 'valid': store_of(PAIRS[:3], END)}, 11)
    assert line == 'data.seq_len=11 leaves out 2 of the 7 train pairs; with 12 every one fits'
    assert describe_left_out({'train': store}, 12) == ''
    with pytest.raises(UsageError, match=r'data\.seq_len=6: none of the 2 valid pairs fits; with 12 every one does'):
        describe_left_out({'train': store, 'valid': store_of(PAIRS[4:6], END)}, 6)
    with pytest.raises(UsageError, match=r"data\.layout='documents': no pair has 2 tokens or fewer; use a larger"):
        batch_at(store, DataConfig(seq_len=2, layout='documents'), 0, seed=0, batch_size=2)
    for separator_id in (END, None):
        plain = memory_store([np.arange(30)], text_bytes=0, vocab_size=40, separator_id=separator_id)
        assert pairs_left_out(plain, 5) == 0
        assert describe_left_out({'train': plain}, 5) == ''


def test_without_a_separator_there_are_no_pairs():
    with pytest.raises(UsageError, match=r"data\.specials=\(\): the objective needs a token for 'separator'; add 'separator'"):
        corruption_of(SEQ2SEQ, MARKS._replace(specials={}))
