"""Denoising: text infilling and sentence permutation as BART's paper has them, on a million tokens."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from two_sides import FIRST, MARKS, MASK, ROLES, VOCAB, corrupted, counting, sides

from lmjax.config import UsageError
from lmjax.data.corruptions import corruption_of
from lmjax.data.denoising import draw_lengths, infilled, poisson
from lmjax.data.marks import marks_of
from lmjax.data.shuffle import hashed
from lmjax.data.special_tokens import with_specials
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.objectives.config import ObjectiveConfig

BART = ObjectiveConfig(kind='denoise', mask_fraction=0.3, shuffle_sentences=False)
N = 250


def literal_lengths(rng, hidden, mean):
    """Poisson lengths until so many tokens are hidden, the last one cut; no more spans than hidden tokens."""
    lengths = []
    while sum(lengths) < hidden:
        lengths.append(min(rng.poisson(mean), hidden - sum(lengths)))
    spare, kept = hidden - sum(length > 0 for length in lengths), []
    for length in lengths:
        spare -= length == 0
        if length or spare >= 0:
            kept.append(length)
    return kept


@pytest.mark.parametrize('mean', [3.0, 1.0])
def test_the_lengths_of_spans(mean):
    """Two samples, one of them drawn literally: every length as often, and as many spans a row."""
    objective, rows = ObjectiveConfig(kind='denoise', mask_fraction=0.3, span_length=mean), 4000
    count_B = np.where(np.arange(rows) % 2, N, 20)
    lengths, many = draw_lengths(count_B, hashed(0, 'corruption', np.arange(rows)), objective, N)
    rng, shares = np.random.default_rng(1), 0.3 * count_B
    np.testing.assert_array_equal(lengths.sum(axis=1), shares)
    assert ((many <= shares) & (many > 0)).all()
    for parity in range(2):
        ours = [row[:n].tolist() for row, n in zip(lengths[parity::2], many[parity::2], strict=True)]
        theirs = [literal_lengths(rng, round(shares[parity]), mean) for _ in ours]
        for what in (lambda row: row, lambda row: [len(row)], lambda row: row[:1], lambda row: row[-1:]):
            one, other = (Counter(number for row in sample for number in what(row)) for sample in (ours, theirs))
            for number in set(one) | set(other):
                assert abs(one[number] - other[number]) < 5 * np.sqrt(one[number] + other[number]) + 3, number


def test_poisson_numbers():
    for mean in (1.0, 3.0, 40.0):
        drawn = poisson((np.arange(200_000) + 0.5) / 200_000, mean)
        assert abs(drawn.mean() - mean) < 1e-3 * mean
        assert abs(drawn.var() - mean) < 2e-3 * mean
    assert poisson(np.array([0.0, np.exp(-3) - 1e-12, np.exp(-3) + 1e-12, 1 - 2**-53]), 3.0)[:3].tolist() == [0, 0, 1]


def test_infilling_of_a_million_tokens():
    """Lewis et al. 2020, section 2.2: 30% of the tokens, and each span one mask, anywhere among what is left."""
    rows = 4000
    after = corrupted(BART, counting([N] * rows, N))
    hidden, at = np.zeros(N), np.zeros(N)
    masks = 0
    for source, target in sides(after):
        assert target == list(range(FIRST, FIRST + N))
        shown = [token - FIRST for token in source if token != MASK]
        assert shown == sorted(set(shown))
        assert len(shown) == N - 75
        hidden[np.setdiff1d(np.arange(N), shown)] += 1
        at[np.flatnonzero(np.array(source) == MASK)] += 1
        masks += source.count(MASK)
    share = hidden[20:-20] / rows  # few spans reach the row's edges
    assert abs(share.mean() - 0.3) < 0.01
    assert share.std() < 1.5 * np.sqrt(0.3 * 0.7 / rows)  # no place is favoured
    spans = 75 / 3 + 0.5 + 0.5 / 3  # draws until 75 are hidden: (75 + the mean excess of the last one) / 3
    assert abs(masks / rows - spans) < 0.5
    slots = N - 75 + masks / rows
    assert np.abs(at[: N - 70] / rows - masks / rows / slots).max() < 5 * np.sqrt(0.13 * 0.87 / rows)


def test_every_place_of_the_spans_is_as_likely():
    """Five tokens, a span of two, then one of none: either anywhere among the three that are left."""
    rows, ids = 20_000, np.arange(10, 15)[None]
    lengths = np.tile([2, 0, 0, 0, 0], (rows, 1))
    order = np.random.default_rng(0).random((rows, 5))
    source, left = infilled(np.tile(ids, (rows, 1)), np.full(rows, 5), lengths, np.full(rows, 2), order, MASK)
    assert (left == 5).all()
    expected = Counter()
    for first in range(4):  # tokens before the span, and before the mask where nothing is missing
        for second in range(first, 4):
            kept = [*range(10, 10 + first), *range(12 + first, 15)]
            expected[(*kept[:first], MASK, *kept[first:second], MASK, *kept[second:])] += rows / 10
    counts = Counter(map(tuple, source.tolist()))
    assert set(counts) == set(expected)
    assert sum((counts[way] - n) ** 2 / n for way, n in expected.items()) < 9 + 5 * np.sqrt(18)


def test_sentences_are_shuffled_whole_and_in_any_order():
    """Tokens 5, 21 and 37 of a row end its sentences; a fourth is left open."""
    objective = ObjectiveConfig(kind='denoise', mask_fraction=0.02)
    marks = MARKS._replace(stops=np.isin(np.arange(VOCAB), FIRST + np.array([5, 6, 21, 37])))
    sentences = [list(range(0, 7)), list(range(7, 22)), list(range(22, 38)), list(range(38, 45))]
    counts = Counter()
    for source, target in sides(corrupted(objective, counting([45] * 2400, 50), marks=marks)):
        assert target == list(range(FIRST, FIRST + 45))
        shown = [token - FIRST for token in source if token != MASK]
        assert len(shown) == 44
        found = tuple(dict.fromkeys(next(i for i, part in enumerate(sentences) if token in part) for token in shown))
        assert [token for i in found for token in sentences[i] if token in shown] == shown  # whole, in their own order
        counts[found] += 1
    orders = set(permutations(range(4)))
    assert set(counts) == orders
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 23 + 5 * np.sqrt(2 * 23)


def test_sentences_end_where_the_text_says_so():
    tokenizer = with_specials(ByteTokenizer(), ('mask',))
    objective = ObjectiveConfig(kind='denoise', mask_fraction=0.01)
    marks = marks_of(tokenizer, objective)
    assert bytes(np.flatnonzero(marks.stops).tolist()) == b'!.?'
    assert marks_of(tokenizer, BART).stops is None
    student = ObjectiveConfig(kind='distill', reads='denoise')
    np.testing.assert_array_equal(marks_of(tokenizer, student).stops, marks.stops)
    assert (marks.start, marks.end) == (256, 256)
    text = 'One... Two! Is it 3? four'
    batch = counting([len(text)], len(text))
    batch = batch._replace(inputs=batch.inputs._replace(ids=tokenizer.encode(text)[None]))
    seen = set()
    for seed in range(40):
        after = corrupted(objective, batch, seed=seed, marks=marks)
        source = tokenizer.decode([i if i != 257 else ord('_') for i in after.inputs.source_ids[0, :-1]])
        seen.add(source[0] if source[0] != '_' else source[1])
    assert seen <= set('O TIf ')
    assert len(seen) >= 3


def test_short_rows_and_no_shuffling():
    after = corrupted(BART, counting([12, 3, 1, 0], 12))
    rows = sides(after)
    assert [len(target) for _, target in rows] == [12, 3, 1, 0]
    assert rows[2] == ([MASK], [FIRST])
    assert rows[3] == ([], [])
    assert after.inputs.source_ids.shape == after.targets.shape == (4, 13)
    for fraction in (0.05, 0.5, 0.99):
        for mean in (1.0, 3.0, 30.0):
            objective = ObjectiveConfig(kind='denoise', mask_fraction=fraction, span_length=mean)
            for n, (source, target) in enumerate(sides(corrupted(objective, counting(range(60), 59)))):
                assert target == list(range(FIRST, FIRST + n))
                shown = [token for token in source if token != MASK]
                assert len(set(shown)) == len(shown) == n - min(n, max(1, round(fraction * n)))
                assert len(source) <= n


def test_a_tokenizer_without_a_mask_is_refused():
    roles = {role: i for role, i in ROLES.items() if role != 'mask'}
    with pytest.raises(UsageError, match=r"data\.specials=\(.*\): the objective needs a token for 'mask'; add 'mask'"):
        corruption_of(BART, MARKS._replace(specials=roles))
