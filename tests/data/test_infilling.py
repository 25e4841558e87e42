"""Texts with a gap: as rows of files, as tokens, and cut in random places with nothing lost."""

import itertools
import json

import numpy as np
import pytest

from lmjax import ObjectiveConfig, UsageError
from lmjax.data.chats import SAID
from lmjax.data.config import DataConfig
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.infilling import encode_middles, shown_ids, sides_of
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.loader import batch_at, eval_batches
from lmjax.data.sources import open_source
from lmjax.data.special_tokens import GAP, with_specials
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer

PLAIN = ByteTokenizer()
GAPPED = with_specials(PLAIN, GAP)
BEGIN, THEN, LAST = (GAPPED.specials[name] for name in GAP)
END = GAPPED.separator_id
SIGNS = {BEGIN: '<', THEN: '|', LAST: '>', END: '.'}


def read(ids):
    """Ids as signs: `<p|s>m.`"""
    return ''.join(SIGNS.get(int(token)) or PLAIN.decode([int(token)]) for token in ids)


def stored(*texts):
    ids = [PLAIN.encode(text) for text in texts]
    sizes = {'text_bytes': 0, 'vocab_size': GAPPED.vocab_size, 'separator_id': PLAIN.separator_id}
    return memory_store(ids, **sizes)


def rows(store, *, seq_len, rate, layout='documents', step=0, batch_size=64):
    """(what is read and the last target, weights) of each row that has any."""
    corrupt = tokens_corruption(ObjectiveConfig(kind='infill', infill_rate=rate), GAPPED)
    data = DataConfig(seq_len=seq_len, layout=layout)
    batch = batch_at(store, data, step, seed=0, batch_size=batch_size, corrupt=corrupt)
    inputs = batch.inputs
    for ids, targets, weights, segments in zip(inputs.ids, batch.targets, batch.weights, inputs.segments, strict=True):
        count = int(segments.sum())
        assert (segments[:count] == 1).all()
        assert (ids[1:count] == targets[: count - 1]).all()
        yield read([*ids[:count], targets[count - 1]]), weights[:count]
        assert not weights[count:].any()
        assert not ids[count:].any()


def mended(row):
    """The text of a row `<p|s>m.`"""
    assert (row[0], row[-1]) == ('<', '.')
    prefix, rest = row[1:-1].split('|')
    suffix, middle = rest.split('>')
    return prefix + middle + suffix


def test_each_text_is_whole_in_three_parts_and_all_of_it_is_scored():
    texts = ['abcdefghijkl', 'x', 'nopqrs']
    found = list(rows(stored(*texts), seq_len=20, rate=1.0, batch_size=300))
    for row, weights in found:
        assert mended(row) in texts
        assert (weights == 1).all()
        assert len(weights) == len(row) - 1
    cuts = {row for row, _ in found if mended(row) == 'x'}
    assert cuts == {'<|x>.', '<x|>.', '<|>x.'}


def test_all_ways_to_cut_are_as_likely():
    """Two places of n + 1, each by itself: both the same with probability 1 / (n + 1)."""
    store = stored(*['abcdefg'] * 2)
    found = [row for step in range(20) for row, _ in rows(store, seq_len=12, rate=1.0, step=step, batch_size=200)]
    middles = np.array([len(row.split('>')[1]) - 1 for row in found])
    wanted = np.array([8 if n == 0 else 2 * (8 - n) for n in range(8)]) / 64
    assert np.abs(np.bincount(middles, minlength=8) / len(found) - wanted).max() < 4 * np.sqrt(0.25 / len(found))


def test_a_share_of_rows_is_cut_and_the_others_are_as_they_were():
    store = stored(*['abcdefgh'] * 4)
    found = [row for row, _ in rows(store, seq_len=16, rate=0.3, batch_size=4000)]
    cut = [row for row in found if row[0] == '<']
    assert abs(len(cut) / len(found) - 0.3) < 0.03
    assert {row for row in found if row[0] != '<'} == {'.abcdefgh.'}
    assert {mended(row) for row in cut} == {'abcdefgh'}


def test_a_row_that_is_full_loses_its_last_tokens():
    found = list(rows(stored('abcdefghijklmnopqrstuvwxyz'), seq_len=10, rate=1.0, batch_size=50))
    starts = {mended(row) for row, _ in found}
    assert starts == {'abcdefg', 'jklmnop', 'tuvwxyz'}  # the first of a piece is the last target of the one before
    assert all(len(row) <= 11 for row, _ in found)


def test_windows_are_cut_as_texts_are():
    store = stored(''.join(chr(97 + i % 26) for i in range(200)))
    for row, _ in rows(store, seq_len=16, rate=1.0, layout='windows'):
        text = mended(row)
        assert len(text) == 13
        assert all((ord(b) - ord(a)) % 26 == 1 for a, b in itertools.pairwise(text))


def test_evaluation_cuts_each_text_alike_each_time():
    corrupt = tokens_corruption(ObjectiveConfig(kind='infill', infill_rate=1.0), GAPPED)
    store = stored('abcdefgh', 'ijklmnop', 'qrs')
    first, second = (
        [batch.inputs.ids for batch in eval_batches(store, seq_len=16, batch_size=2, layout='documents', corrupt=corrupt)]
        for _ in range(2)
    )
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert len({tuple(row) for batch in first for row in batch}) == 4  # the last is padding


def encoded(prefix, suffix, middle, *, tokenizer=GAPPED, seq_len=64):
    (ids,), (tags,) = encode_middles([json.dumps([prefix, suffix])], [json.dumps(middle)], tokenizer, seq_len=seq_len)
    return read(ids), read(ids[tags == SAID])


def test_what_is_given_is_read_before_the_middle_is_told():
    assert encoded('ab\n', '\tcd', 'xyz') == ('<ab\n|\tcd>xyz.', 'xyz.')
    assert encoded('', 'cd', 'x') == ('<|cd>x.', 'x.')
    assert encoded('ab', 'cd', 'xyz', tokenizer=PLAIN) == ('.abxyz', 'xyz')


@pytest.mark.parametrize(('prefix', 'suffix', 'shown'), [
    ('abcdefghij', 'klmnopqrst', '<ghij|klmn>xy.'),
    ('ab', 'klmnopqrst', '<ab|klmnop>xy.'),
    ('abcdefghij', 'kl', '<efghij|kl>xy.'),
])  # fmt: skip
def test_of_what_does_not_fit_the_nearest_to_the_gap_stays(prefix, suffix, shown):
    assert encoded(prefix, suffix, 'xy', seq_len=13) == (shown, 'xy.')


def test_a_middle_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"middle='abcdefgh': has 8 tokens, too many for data.seq_len=10; use 16 or more"):
        encoded('a', 'b', 'abcdefgh', seq_len=10)
    assert encoded('a', 'b', 'abcdefgh', seq_len=16)[1] == 'abcdefgh.'


def test_rows_have_a_gap_and_what_belongs_into_it(tmp_path):
    rows = [
        {'prefix': 'a\tb', 'suffix': '', 'middle': ' c\n'},
        {'prefix': '', 'suffix': '', 'middle': 'c'},
        {'prefix': 'a', 'suffix': 'b', 'middle': ''},
        {'prefix': 'a', 'suffix': 3, 'middle': 'c'},
    ]
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    source = open_source(f'infill:{tmp_path}/a.jsonl')
    first, *others = source.documents()
    assert not source.two
    assert others == [None] * 3
    text, label = first.split('\t')
    assert sides_of(text) == ('a\tb', '')
    assert json.loads(label) == ' c\n'
    for bad in ('abc', '["a"]', '["a", 1]', '{"a": "b"}'):
        with pytest.raises(UsageError, match='give a JSON list of what stands before and after it'):
            sides_of(bad)


def test_a_tokenizer_without_the_marks_is_refused_and_published_names_are_known():
    with pytest.raises(UsageError, match=r"data.specials=\(\): the objective needs a token for 'prefix'; add 'prefix'"):
        tokens_corruption(ObjectiveConfig(kind='infill'), PLAIN)
    vocabulary = {token: i for i, token in enumerate(['a', 'b', '<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>', '</s>'])}
    model = {'type': 'WordLevel', 'vocab': vocabulary, 'unk_token': 'a'}
    plain = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
    described = {'version': '1.0', 'model': model, 'added_tokens': [
        {'id': i, 'content': token, 'special': True, **plain}
        for token, i in vocabulary.items() if i > 1
    ]}  # fmt: skip
    tokenizer = LibraryTokenizer(json.dumps(described), ends=['</s>'])
    assert [tokenizer.specials[name] for name in GAP] == [2, 3, 4]
    assert shown_ids('["a", "b"]', tokenizer, 20).tolist() == [2, 0, 3, 1, 4]
