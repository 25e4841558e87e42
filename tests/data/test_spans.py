"""Span corruption: what T5's paper says, on a million tokens, and nothing of a target in its source."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from two_sides import FIRST, MARKS, ROLES, START, STORE, VOCAB, corrupted, counting, same, sides

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corruptions import corruption_of
from lmjax.data.loader import batch_at, eval_batches, example_batch, take_rows, train_batches
from lmjax.data.marks import plain_marks
from lmjax.data.shuffle import hashed
from lmjax.data.spans import lengths_of, most_spans, widths
from lmjax.data.store import memory_store
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs

SPANS = ObjectiveConfig(kind='spans')


def cut(tokens):
    """A list as the sentinels in it and the tokens after each; those before the first under None."""
    parts, last = {None: []}, None
    for token in tokens:
        if token < FIRST:
            last = token
            assert last not in parts
            parts[last] = []
        else:
            parts[last].append(token)
    return parts


def put_back(source, target):
    """The row that both make, and the lengths of its stretches, in turns shown and hidden."""
    shown, told = cut(source), cut(target)
    assert list(shown) == list(told) == [None, *range(4, 4 + len(told) - 1)]  # the i-th sentinel for the i-th span
    assert told.pop(None) == []
    before = list(shown.values())
    assert before.pop() == []  # the row ends with what is hidden
    stretches = [part for pair in zip(before, told.values(), strict=True) for part in pair]
    return [token for part in stretches for token in part], list(map(len, stretches))


@pytest.mark.parametrize(('fraction', 'length', 'rows'), [(0.15, 3.0, 4000), (0.5, 2.5, 1000)])
def test_spans_of_a_million_tokens(fraction, length, rows):
    """Raffel et al. 2020: the share is hidden, in spans of the length, whose lengths are any composition of it, as likely."""
    objective = ObjectiveConfig(kind='spans', mask_fraction=fraction, span_length=length)
    n = 250
    before = counting([n] * rows, n)
    hidden = round(fraction * n)
    many = min(round(hidden / length), 64)
    counts, at = {True: Counter(), False: Counter()}, np.zeros(n)
    for source, target in sides(corrupted(objective, before)):
        row, stretches = put_back(source, target)
        assert row == list(range(FIRST, FIRST + n))  # nothing is lost, nothing twice: what is told is not shown
        assert min(stretches) >= 1
        assert (sum(stretches[1::2]), len(stretches)) == (hidden, 2 * many)
        for is_hidden in (False, True):
            counts[is_hidden].update(stretches[is_hidden::2])
        at[[token - FIRST for token in target if token >= FIRST]] += 1
    for is_hidden, total in ((True, hidden), (False, n - hidden)):
        # Of the compositions of `total` into `many` parts, a part is s in C(total - s - 1, many - 2) / C(total - 1, many - 1).
        share, expected = (many - 1) / (total - 1), {}
        for size in range(1, total - many + 2):
            expected[size] = share * rows * many
            share *= (total - size - many + 1) / (total - size - 1)
        for size, count in expected.items():
            assert abs(counts[is_hidden][size] - count) < 5 * np.sqrt(count) + 3, (is_hidden, size)
    assert at[0] == 0
    assert at[-1] == rows
    middle = at[n // 4 : 3 * n // 4] / rows
    assert abs(middle.mean() - fraction) < 0.02  # no place in the middle is favoured
    assert middle.std() < 3 * np.sqrt(fraction * (1 - fraction) / rows)


def test_every_way_to_cut_is_as_likely():
    rows, total, parts = 12_000, 7, 3
    order = np.random.default_rng(0).random((rows, 9))
    found = lengths_of(np.full(rows, total), np.full(rows, parts), order, 4)
    assert not found[:, parts:].any()
    counts = Counter(map(tuple, found[:, :parts].tolist()))
    ways = {(a, b - a, total - b) for a, b in combinations(range(1, total), 2)}
    assert set(counts) == ways
    expected = rows / len(ways)
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 14 + 5 * np.sqrt(2 * 14)


def test_shapes_are_those_of_the_paper_and_of_the_longest_row():
    assert widths(SPANS, 568) == (512, 114)  # section 3.1.4: inputs of 512 tokens
    assert most_spans(SPANS, 568) == 28
    for objective in (SPANS, ObjectiveConfig(kind='spans', mask_fraction=0.95), ObjectiveConfig(kind='spans', span_length=1.0)):
        for width in (2, 3, 20, 41):
            after = corrupted(objective, counting(range(width + 1), width))
            lengths = [(len(source) + 1, len(target) + 1) for source, target in sides(after)[2:]]
            assert tuple(map(max, zip(*lengths, strict=True))) == widths(objective, width)
            assert after.inputs.source_ids.shape[1] == widths(objective, width)[0]
            assert after.targets.shape[1] == widths(objective, width)[1]


def test_short_rows_hide_at_least_one_token_and_keep_one():
    after = corrupted(SPANS, counting([30, 2, 3, 1, 0], 30))
    rows = sides(after)
    for n, (source, target) in zip((30, 2, 3), rows, strict=False):
        row, stretches = put_back(source, target)
        assert row == list(range(FIRST, FIRST + n))
        assert sum(stretches[1::2]) == max(1, round(0.15 * n))
    assert rows[3:] == [([], []), ([], [])]  # of one token nothing can be shown
    most = corrupted(ObjectiveConfig(kind='spans', mask_fraction=0.99), counting([12], 12))
    assert put_back(*sides(most)[0])[1] == [1, 11]


def test_a_row_that_begins_with_the_separator_goes_without_it():
    """A target that began with it would begin as texts end."""
    store = memory_store([np.arange(5)], text_bytes=0, vocab_size=VOCAB, separator_id=FIRST)
    rows = [put_back(*pair)[0] for pair in sides(corrupted(SPANS, counting([20], 20), store=store))]
    assert rows == [list(range(FIRST + 1, FIRST + 20))]
    inside = counting([20], 20)
    inside = inside._replace(inputs=inside.inputs._replace(ids=np.roll(inside.inputs.ids, 1, axis=1)))
    assert FIRST in put_back(*sides(corrupted(SPANS, inside, store=store))[0])[0]


@pytest.mark.parametrize('kind', ['spans', 'denoise'])
def test_what_is_hidden_depends_on_seed_and_row_alone(kind):
    objective, keys = ObjectiveConfig(kind=kind, mask_fraction=0.3), hashed(3, 'corruption', np.arange(8))
    corrupt, before = corruption_of(objective, MARKS), counting([64] * 6 + [20, 0], 64)
    whole = corrupt(before, keys, STORE)
    same(corrupt(take_rows(before, slice(4, 7)), keys[4:7], STORE), whole, slice(4, 7))
    same(take_rows(whole, slice(2, 5)), whole, slice(2, 5))
    sources = {tuple(source) for source, _ in sides(whole)[:6]}
    assert len(sources) == 6  # each time that a row is read others are hidden
    other = sides(corrupt(before, hashed(4, 'corruption', np.arange(8)), STORE))
    assert not sources & {tuple(source) for source, _ in other}


@pytest.mark.parametrize('kind', ['spans', 'denoise'])
@pytest.mark.parametrize('layout', ['windows', 'documents'])
def test_batches_are_corrupted_alike_on_any_host_and_after_a_resume(kind, layout):
    texts = [np.arange(FIRST, FIRST + size) for size in (30, 12, 1, 0, 25, 70, 9)]
    store = memory_store(texts, text_bytes=0, vocab_size=VOCAB, separator_id=1)
    data, objective = DataConfig(seq_len=20, layout=layout), ObjectiveConfig(kind=kind, mask_fraction=0.3)
    corrupt = corruption_of(objective, MARKS)
    whole = batch_at(store, data, 7, seed=1, batch_size=8, corrupt=corrupt)
    for host in range(2):
        part = batch_at(store, data, 7, seed=1, batch_size=8, corrupt=corrupt, host=host, hosts=2)
        same(part, whole, slice(4 * host, 4 * host + 4))
    same(next(train_batches(store, data, seed=1, batch_size=8, corrupt=corrupt, start=7)), whole)
    example = example_batch(data, batch_size=8, corrupt=corruption_of(objective, plain_marks(VOCAB, sentinels=20)))
    for one, other in zip((*example.inputs, *example[1:]), (*whole.inputs, *whole[1:]), strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape, one.dtype) == (other.shape, other.dtype)
    evaluated = [list(eval_batches(store, seq_len=20, batch_size=4, layout=layout, corrupt=corrupt)) for _ in range(2)]
    for one, other in zip(*evaluated, strict=True):
        same(one, other)
        sides(one)


def test_gaps_of_a_run_are_refused():
    with pytest.raises(UsageError, match=r'data\.sentinels=64: a row of data\.seq_len=1400 has up to 70 spans.*=70$'):
        corrupted(SPANS, counting([9], 1400))
    with pytest.raises(UsageError, match=r'objective\.span_length=0\.5: tokens of a span, on average: use 1 or more, as 3'):
        corruption_of(ObjectiveConfig(kind='spans', span_length=0.5), MARKS)
    for kind in ('spans', 'denoise', 'seq2seq'):
        objective = ObjectiveConfig(kind=kind)
        with pytest.raises(UsageError, match=r"data\.specials=\(.*\): a decoder needs a token for 'start'; add 'start', 'end'"):
            corruption_of(objective, MARKS._replace(start=None, end=None))
        with pytest.raises(UsageError, match=r"data\.specials=\(.*'start'\): a decoder needs a token for 'end'; add 'end'$"):
            corruption_of(objective, MARKS._replace(specials={**ROLES, 'start': START}, end=None))


def test_a_window_without_padding_is_whole():
    ids = FIRST + np.arange(40, dtype=np.int32)[None]
    after = corrupted(SPANS, Batch(Inputs(ids), ids, np.ones(ids.shape, np.float32)))
    assert put_back(*sides(after)[0])[0] == ids[0].tolist()
