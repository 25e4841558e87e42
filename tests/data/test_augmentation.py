"""Texts that training reads otherwise: shares of tokens, what stays, and that it depends on each row's key alone."""

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.augmentation import augmented, dropped, swapped
from lmjax.data.corruptions import check_augmentation, tokens_corruption, training_corruption
from lmjax.data.marks import Marks
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs

B, T = 400, 20
KEYS = np.random.default_rng(0).integers(0, 1 << 63, B, dtype=np.uint64)
LENGTHS = np.random.default_rng(1).integers(3, T + 1, B)
MARKS = Marks(np.arange(100) >= 2, {})  # 0 and 1 are no text


def batch():
    """Rows that begin and end with a special token; tokens of a row are distinct, those of its second half of type 1."""
    ids, index = np.zeros((B, T), np.int32), np.arange(T)[None]
    ids[:] = index + 10
    ids[:, 0] = 1
    ids[np.arange(B), LENGTHS - 1] = 1
    real = index < LENGTHS[:, None]
    types = (real & (index >= LENGTHS[:, None] // 2)).astype(np.int32)
    inputs = Inputs(np.where(real, ids, 0), segments=real.astype(np.int32), types=types)
    return Batch(inputs, np.zeros((B, 1), np.int32), np.ones((B, 1), np.float32), labels=np.arange(B))


def changed(keys=KEYS, rows=slice(None), **shares):
    corrupt = augmented(lambda batch, keys_B, store: batch, MARKS, **{'drop': 0.0, 'swap': 0.0, **shares})
    whole = batch()
    inputs = Inputs(*(x if x is None else x[rows] for x in whole.inputs))
    part = Batch(inputs, whole.targets[rows], whole.weights[rows], labels=whole.labels[rows])
    return corrupt(part, keys[rows], None)


def rows_of(found, field='ids'):
    return [row[real > 0].tolist() for row, real in zip(getattr(found.inputs, field), found.inputs.segments, strict=True)]


def test_dropping_leaves_the_others_in_their_order_and_special_tokens_where_they_are():
    before, found = batch(), changed(drop=0.3)
    kept = total = 0
    for old, new, kinds in zip(rows_of(before), rows_of(found), rows_of(found, 'types'), strict=True):
        text = [token for token in new if token >= 10]
        assert (new[0], new[-1]) == (1, 1)
        assert text == sorted(text)
        assert set(text) <= set(old)
        assert text
        middle = len(old) // 2
        assert [token - 10 >= middle for token in text] == [
            bool(kind) for kind, token in zip(kinds, new, strict=True) if token >= 10
        ]
        kept, total = kept + len(text), total + len(old) - 2
    assert kept / total == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(found.labels, before.labels)
    assert (found.inputs.ids[found.inputs.segments == 0] == 0).all()


def test_one_token_always_stays():
    assert all(len([token for token in row if token >= 10]) == 1 for row in rows_of(changed(drop=0.999999)))
    assert not dropped(np.zeros((3, 4), bool), KEYS[:3], 0.9).any()


def test_swapping_moves_neighbours():
    before, found = batch(), changed(swap=0.4)
    moved = total = 0
    for old, new in zip(rows_of(before), rows_of(found), strict=True):
        assert sorted(old) == sorted(new)
        assert (new[0], new[-1]) == (1, 1)
        apart = [abs(old.index(token) - place) for place, token in enumerate(new) if token >= 10]
        assert max(apart) <= 1
        moved, total = moved + sum(apart), total + len(old) - 2
    assert moved / total == pytest.approx(0.4 * 0.9, abs=0.06)  # at either end of a text a token may have no partner
    index = swapped(np.ones((B, T), bool), KEYS, 1.0)
    assert {bool(row[0] == 1) for row in index} == {True, False}  # pairs begin at the first token, or at the second


def test_a_row_depends_on_its_key_alone():
    whole, part = changed(drop=0.3, swap=0.3), changed(drop=0.3, swap=0.3, rows=slice(7, 9))
    np.testing.assert_array_equal(whole.inputs.ids[7:9], part.inputs.ids)
    other = changed(keys=KEYS[::-1], drop=0.3, swap=0.3)
    assert not np.array_equal(whole.inputs.ids, other.inputs.ids)


def test_training_alone_is_changed():
    tokenizer = ByteTokenizer()
    plain, asked = ObjectiveConfig(kind='classify'), ObjectiveConfig(kind='classify', drop_tokens=0.5)
    ids = np.arange(40, dtype=np.int32).reshape(2, 20)
    rows = Batch(Inputs(ids), ids + 1, np.ones((2, 20), np.float32), labels=np.zeros(2, np.int32))
    store = type('Store', (), {'separator_id': None, 'two': False})()
    keys = KEYS[:2]
    unchanged = tokens_corruption(plain, tokenizer)(rows, keys, store).inputs.ids
    np.testing.assert_array_equal(tokens_corruption(asked, tokenizer)(rows, keys, store).inputs.ids, unchanged)
    np.testing.assert_array_equal(training_corruption(plain, tokenizer)(rows, keys, store).inputs.ids, unchanged)
    assert not np.array_equal(training_corruption(asked, tokenizer)(rows, keys, store).inputs.ids, unchanged)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'kind': 'tag', 'drop_tokens': 0.1}, "objective.drop_tokens=0.1: changes whole texts, which objective.kind='tag'"),
        ({'kind': 'causal', 'swap_tokens': 0.1}, 'objective.swap_tokens=0.1: .* it goes with contrastive, classify'),
        ({'kind': 'classify', 'drop_tokens': 1.0}, 'objective.drop_tokens=1.0: use a share below 1'),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        check_augmentation(ObjectiveConfig(**settings))
