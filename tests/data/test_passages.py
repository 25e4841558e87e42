"""Questions and texts with their answers: windows, which characters tokens are of, where answers stand, and bad rows."""

import json

import numpy as np
import pytest
import tokenizers
from test_two_texts import bert_tokenizer, framed
from tokenizers import decoders, models, pre_tokenizers, trainers

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.labelled import split_label
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.loader import batch_at
from lmjax.data.passages import END, OPEN, START, encode_answers, label_of, located, pieces_of, reader, tags_of
from lmjax.data.sources import open_source
from lmjax.data.special_tokens import with_specials
from lmjax.data.store import OUTSIDE
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.objectives.config import ObjectiveConfig

TEXT = 'New  York, a (big) city\nof 8 million.'
MARKED = with_specials(ByteTokenizer(), ('separator',))


def label(answer, text=TEXT):
    return label_of(answer, text)


def answers_in(document, written, tokenizer, *, seq_len, stride=0):
    """Of each window the bytes between the tokens that are told; None where that is the first token."""
    found = []
    for ids, tags in zip(*encode_answers([document], [written], tokenizer, seq_len=seq_len, stride=stride), strict=True):
        first, last = (int(np.flatnonzero((tags >= 0) & (tags & bit > 0))[0]) for bit in (START, END))
        found.append(None if (first, last) == (0, 0) else bytes(ids[first : last + 1].astype(np.uint8)).decode())
    return found


def spans_of(window):
    return {tuple(span) for span in window.spans.tolist()} - {(-1, -1)}


def test_windows_hold_every_token_and_overlap():
    document = f'what\t{TEXT}'
    for seq_len, stride in ((14, 0), (14, 3), (16, 11), (100, 0), (9, 1)):
        windows, _ = reader(MARKED, seq_len=seq_len, stride=stride)(document)
        room = seq_len - len('what') - 1
        assert all(len(one.ids) <= seq_len for one in windows)
        assert all(bytes(one.ids[:4].astype(np.uint8)) == b'what' for one in windows)
        (whole,), _ = reader(MARKED, seq_len=500, stride=0)(document)
        tokens, step = whole.ids[5:], min(stride or max(1, room // 2), room)
        last = max(0, len(tokens) - room)
        for one, at in zip(windows, [*range(0, last, step), last], strict=True):
            np.testing.assert_array_equal(one.ids[5:], tokens[at : at + room])
            for span in spans_of(one):  # a word is whole, or none of the window
                counts = [(each.spans == span).all(axis=1).sum() for each in (one, whole)]
                assert counts[0] == counts[1]
        assert room < 10 or set.union(*map(spans_of, windows)) == set(pieces_of(TEXT))


def test_pieces_are_words_and_signs():
    pieces = [TEXT[a:b] for a, b in pieces_of(TEXT)]
    assert pieces == ['New', 'York', ',', 'a', '(', 'big', ')', 'city', 'of', '8', 'million', '.']


@pytest.mark.parametrize('answer', ['York', 'New  York', 'big) city\nof', '8 million', 'New'])
def test_an_answer_is_told_to_the_character(answer):
    told = answers_in(f'q\t{TEXT}', label(answer), MARKED, seq_len=200)
    assert [''.join(one.split()) for one in told] == [''.join(answer.split())]


def test_part_of_a_word_is_all_of_it_and_the_place_counts():
    assert answers_in(f'q\t{TEXT}', label('Yor'), MARKED, seq_len=200) == [' York']
    text = 'a b a b'
    assert json.loads(label('a b', text)) == {'text': 'a b', 'start': -1, 'there': True}
    given = label_of({'text': ['b'], 'answer_start': [6]}, text)
    ids, tags = encode_answers([f'q\t{text}'], [given], MARKED, seq_len=50, stride=0)
    assert np.flatnonzero((tags[0] >= 0) & (tags[0] & START > 0)).tolist() == [len(ids[0]) - 2]  # its space


def test_a_window_without_the_whole_answer_has_none():
    told = answers_in(f'q\t{TEXT}', label('big) city'), MARKED, seq_len=16, stride=4)
    assert set(told) == {None, 'big) city'}
    assert answers_in(f'q\t{TEXT}', label(''), MARKED, seq_len=200) == [None]
    none, first, second, third = (-1, -1), (0, 2), (3, 5), (6, 8)
    ends = np.array([second, third])
    whole, part = np.array([none, first, second, second, third, none]), np.array([none, first, second, second, none])
    assert tags_of(whole, ends).tolist() == [OPEN, OPEN, START, OPEN, END, OUTSIDE]
    assert tags_of(part, ends).tolist() == [START | END, OPEN, OPEN, OPEN, OUTSIDE]


def test_a_checkpoints_tokenizer_frames_both():
    (window,), _ = reader(bert_tokenizer(), seq_len=20, stride=0)('a b\tc d x')
    assert window.ids.tolist() == framed().encode('a b', 'c d x').ids
    assert window.spans[:, 0].tolist() == [-1, -1, -1, -1, 0, 2, 4, -1]


def test_a_checkpoints_tokenizer_reads_a_text_whole_and_says_where_its_tokens_are():
    """Byte-level pieces, as GPT-2 has them: white space is part of tokens, and an answer may end within a word."""
    text = 'The depth_10 of caf\u00e9,\n  is 7km'
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=['[SEP]'], show_progress=False)
    library.train_from_iterator([], trainer)
    tokenizer = LibraryTokenizer(library.to_str(), specials={'separator': '[SEP]'})
    np.testing.assert_array_equal(located(text, tokenizer)[0], library.encode(text, add_special_tokens=False).ids)
    for answer in ('10', 'caf\u00e9', '7', 'km', 'of caf\u00e9,\n  is'):
        (row,), (tags,) = encode_answers([f'q\t{text}'], [label(answer, text)], tokenizer, seq_len=200, stride=0)
        (window,), _ = reader(tokenizer, seq_len=200, stride=0)(f'q\t{text}')
        begin, end = (int(np.flatnonzero((tags >= 0) & (tags & bit > 0))[0]) for bit in (START, END))
        assert text[window.spans[begin, 0] : window.spans[end, 1]] == answer
        assert len(row) == len(tags)


def test_an_answer_without_a_token_is_named():
    with pytest.raises(UsageError, match="answer='!': has no token in this tokenizer; mend its row"):
        encode_answers(['a\tb ! c'], [label('!', 'b ! c')], Deaf(), seq_len=20, stride=0)


class Deaf(ByteTokenizer):
    def encode_rendered(self, text):
        return super().encode_rendered(text.replace('!', '').rstrip())


def test_a_place_that_is_wrong_is_no_answer():
    text = 'b x  b y'
    assert json.loads(label_of({'text': [' b'], 'answer_start': [4]}, text)) == {'text': 'b', 'start': 5, 'there': True}
    assert not json.loads(label_of({'text': ['b'], 'answer_start': [2]}, text))['there']
    assert not json.loads(label_of({'text': ['b'], 'answer_start': [99]}, text))['there']
    assert json.loads(label_of('x\tb', 'a x b'))['there']


def test_a_question_that_leaves_no_room_is_named():
    with pytest.raises(UsageError, match=r"data.seq_len=4: leaves no room for a text after 'what'; use 10 or more"):
        reader(MARKED, seq_len=4, stride=0)('what\ttext')


ROWS = [
    {'question': 'a', 'context': 'b c d', 'answer': 'c d'},
    {'question': 'b', 'context': 'c d', 'answer': {'text': ['d'], 'answer_start': [2]}},
    {'question': 'b', 'context': 'c d x y', 'answer': {'text': [], 'answer_start': []}},
]


@pytest.fixture
def source(tmp_path):
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))
    return f'answers:{tmp_path}/rows.jsonl'


def test_a_batch_says_where_the_answer_begins_and_ends(source, tmp_path):
    data = DataConfig(source=source, valid_source=source, seq_len=8, layout='documents', cache_dir=str(tmp_path / 'c'))
    corpus = prepare(data, tokenizer=bert_tokenizer())
    corrupt = tokens_corruption(ObjectiveConfig(kind='span'), bert_tokenizer())
    batch = batch_at(corpus.train, data, 0, seed=0, batch_size=3, corrupt=corrupt)
    library = framed()
    wanted = {
        tuple(library.encode('a', 'b c d').ids): (4, 5),
        tuple(library.encode('b', 'c d').ids): (4, 4),
        tuple(library.encode('b', 'c d x y').ids): (0, 0),
    }
    inputs = batch.inputs
    parts = map(np.asarray, (inputs.ids, inputs.segments, batch.targets, batch.labels, inputs.types))
    rows = zip(*parts, strict=True)
    for ids, real, targets, may, types in rows:
        own = ids[real > 0].tolist()
        assert wanted.pop(tuple(own)) == tuple(targets.tolist())
        assert np.flatnonzero(may).tolist() == [0, *range(3, len(own) - 1)]
        assert types[: len(own)].tolist() == [0] * 3 + [1] * (len(own) - 3)
    assert not wanted
    np.testing.assert_array_equal(batch.weights, 0.5)


def test_windows_are_part_of_what_is_kept(source, tmp_path):
    given = {'source': source, 'valid_source': source, 'layout': 'documents', 'cache_dir': str(tmp_path)}
    wide, narrow = (
        prepare(DataConfig(**given, **how), tokenizer=bert_tokenizer()) for how in ({'seq_len': 9}, {'seq_len': 6, 'stride': 1})
    )
    assert len(wide.train.doc_offsets) == 4
    assert len(narrow.train.doc_offsets) > 5


def test_an_answer_that_is_not_in_its_text(source, tmp_path):
    with open(tmp_path / 'rows.jsonl', 'a') as file:
        file.write('\n' + json.dumps({'question': 'a', 'context': 'b c', 'answer': 'e'}))
        file.write('\n' + json.dumps({'question': 'a', 'context': 'b c', 'answer': 3}))
    documents = [document and split_label(document)[0] for document in open_source(source).documents()]
    assert documents == ['a\tb c d', 'b\tc d', 'b\tc d x y', 'a\tb c', None]
    given = {'source': source, 'valid_source': source, 'layout': 'documents', 'seq_len': 9, 'cache_dir': str(tmp_path / 'c')}
    with pytest.raises(UsageError, match=r"answer='e': is not in its text; .*leave_out \(first seen at .*rows\.jsonl:4\)"):
        prepare(DataConfig(**given), tokenizer=bert_tokenizer())
    corpus = prepare(DataConfig(**given, unseen_labels='leave_out'), tokenizer=bert_tokenizer())
    assert corpus.counts['dropped_unseen_label'] == 2
    assert len(corpus.train.doc_offsets) == 4
