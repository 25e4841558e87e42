"""Laws of every tokenizer: exact round trips, exact byte counts, nothing in text is a control token."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data import bpe
from lmjax.data.config import DataConfig
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.special_tokens import end_id, roles_of, sentinel_ids, start_id, with_specials
from lmjax.data.tokenizers import TOKENIZERS, expected_vocabulary, load_tokenizer, tokenizer_class

TEXTS = [
    'def move(self, x=10):\n    """Moves it."""\n    return self.x + x\n' * 20,
    'class Näive(Café):\n\tvalue = 3.14159\n\n\n\nprint( "naïve — 東京 😀" )\r\n' * 10,
]
SPECIAL = '<|endoftext|>'
ROOT = Path(__file__).parents[2]

KINDS = [kind for kind in TOKENIZERS if kind != 'teacher']  # which stands for one of another kind


def make(kind, vocab_size=0):
    return tokenizer_class(kind).train(TEXTS, TEXTS, vocab_size)


@pytest.fixture(scope='module')
def made():
    found = {kind: make(kind, 300 if kind == 'bpe' else 0) for kind in TOKENIZERS if tokenizer_class(kind).trainable}
    return found | {'library': LibraryTokenizer(found['bpe'].contents()['tokenizer.json'], size=310, ends=(0,))}


def fuzzed(number, alphabet=None):
    """Random strings of random kinds of characters: ASCII, white space, Latin, any plane, and the separator's spelling."""
    rng = random.Random(number)
    kinds = [
        lambda: rng.choice('abcXYZ_'),
        lambda: rng.choice(' \n\t\r\f\v\x1c\x85\xa0\u2028\u3000'),
        lambda: chr(rng.randrange(128)),
        lambda: chr(rng.randrange(0x80, 0x250)),
        lambda: chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])),
        lambda: SPECIAL,
        lambda: rng.choice([' ', '\n']) * rng.randrange(1, 120),
    ]
    for _ in range(number):
        weights = [rng.random() ** 3 for _ in kinds]
        yield ''.join(kind() for kind in rng.choices(kinds, weights, k=rng.randrange(30)))


@pytest.mark.parametrize('kind', ['byte', 'bpe'])
def test_any_text_comes_back(made, kind):
    tokenizer = made[kind]
    for text in fuzzed(2000):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32
        assert tokenizer.decode(ids) == text
        assert tokenizer.byte_lengths[ids].sum() == len(text.encode())
        assert tokenizer.separator_id not in ids


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['byte', 'bpe'])
def test_a_hundred_thousand_texts_come_back(made, kind):
    tokenizer = made[kind]
    texts = list(fuzzed(100_000))
    for text, ids in zip(texts, tokenizer.encode_documents(texts), strict=True):
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize('kind', KINDS)
def test_its_own_corpus(made, kind, tmp_path):
    tokenizer = made[kind]
    documents = tokenizer.encode_documents(TEXTS)
    for ids, text in zip(documents, TEXTS, strict=True):
        np.testing.assert_array_equal(ids, tokenizer.encode(text))
        assert 0 <= ids.min() <= ids.max() < tokenizer.vocab_size
        if tokenizer.lossless:
            assert tokenizer.decode(ids) == text
            assert tokenizer.byte_lengths[ids].sum() == len(text.encode())
    assert len(tokenizer.byte_lengths) == tokenizer.vocab_size
    if tokenizer.separator_id is not None:
        assert tokenizer.byte_lengths[tokenizer.separator_id] == 0
        assert tokenizer.decode([tokenizer.separator_id]) == ''
    tokenizer.save(tmp_path / 'saved')
    loaded = load_tokenizer(tmp_path / 'saved')
    assert loaded.digest == tokenizer.digest
    assert (loaded.vocab_size, loaded.separator_id, loaded.unknown_id, loaded.lossless) == (
        tokenizer.vocab_size,
        tokenizer.separator_id,
        tokenizer.unknown_id,
        tokenizer.lossless,
    )
    np.testing.assert_array_equal(loaded.byte_lengths, tokenizer.byte_lengths)
    np.testing.assert_array_equal(loaded.encode(TEXTS[0]), documents[0])
    assert len(tokenizer.encode('')) == 0
    assert tokenizer.decode([]) == ''


@pytest.mark.parametrize('kind', ['byte', 'bpe'])
def test_bytes_that_are_no_character_decode(made, kind):
    tokenizer = made[kind]
    ids = tokenizer.encode('é')
    assert tokenizer.decode_bytes(ids) == 'é'.encode()
    if len(ids) > 1:
        assert tokenizer.decode(ids[:1]) == '\ufffd'


@pytest.mark.parametrize('kind', ['byte', 'bpe'])
def test_half_a_surrogate_pair_is_refused(made, kind):
    with pytest.raises(UsageError, match='not Unicode text at character 1'):
        made[kind].encode('a\ud800')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('character', ['e', ' ', '\n'])
def test_time_is_linear_on_one_repeated_character(made, kind, character):
    tokenizer = made[kind]
    begin = time.process_time()
    ids = tokenizer.encode(character * 1_000_000)
    assert time.process_time() - begin < 4
    if tokenizer.lossless:
        assert tokenizer.byte_lengths[ids].sum() == 1_000_000


def test_byte_ids_are_the_bytes(made):
    assert made['byte'].encode('aé').tolist() == [97, 0xC3, 0xA9]
    assert (made['byte'].vocab_size, made['byte'].separator_id) == (257, 256)


def test_characters_are_sorted_and_complete(made):
    char = made['char']
    assert char.characters == ''.join(sorted(set(''.join(TEXTS))))
    assert char.unknown_id is None
    with pytest.raises(UsageError, match=r"text='Ω': this character is not in the vocabulary; remove it"):
        char.encode('xΩ')


def test_limited_characters_are_the_most_frequent():
    char = tokenizer_class('char').train(['aaabbc'], ['aaabbc', 'd'], 3)
    assert (char.characters, char.vocab_size, char.unknown_id, char.lossless) == ('ab', 3, 2, False)
    assert char.encode('cab').tolist() == [2, 0, 1]
    assert char.decode([2, 0]) == '\ufffda'
    assert tokenizer_class('char').train(['ab'], ['ab'], 3).lossless


def test_words():
    word = tokenizer_class('word').train(['the cat the\ndog <unk> <eos>\n the'], [], 4)
    assert word.words == ['<unk>', '<eos>', 'the', 'cat']
    assert word.encode('the  dog\n\tcat <eos>').tolist() == [2, 0, 1, 3, 0]  # <eos> in text is no control token
    assert word.decode([2, 0, 1, 3]) == 'the <unk>\ncat'
    assert word.encode_documents(['the', 'the\n'])[0].tolist() == [2, 1]
    assert word.encode_documents(['the', 'the\n'])[1].tolist() == [2, 1]
    assert not word.lossless
    assert tokenizer_class('word').train(['b a a'], [], 0).words == ['<unk>', '<eos>', 'a', 'b']


def test_the_saved_bpe_reads_alike_in_its_library(made, tmp_path):
    import tokenizers

    made['bpe'].save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
    assert library.token_to_id(SPECIAL) == made['bpe'].separator_id
    library.encode_special_tokens = True
    for text in [*TEXTS, *fuzzed(1000)]:
        assert library.encode(text).ids == made['bpe'].encode(text).tolist()


def test_bpe_learns_what_is_frequent(made):
    tokenizer = made['bpe']
    assert tokenizer.vocab_size == 300
    assert len(tokenizer.encode(TEXTS[0])) < len(TEXTS[0]) / 3
    assert 'self' in [tokenizer.decode([i]) for i in tokenizer.encode('self')]


def test_bpe_cuts_long_text_only_where_pieces_end(made, monkeypatch):
    tokenizer, text = made['bpe'], ''.join(TEXTS) * 5
    whole = tokenizer.encode(text)
    monkeypatch.setattr(bpe, 'BATCH_CHARS', 100)
    assert len(list(bpe.parts(text))) > 10
    np.testing.assert_array_equal(tokenizer.encode(text), whole)
    np.testing.assert_array_equal(tokenizer.encode_documents([text])[0], whole)


def test_bpe_forgets_pieces_when_they_get_too_many(made, monkeypatch):
    tokenizer, text = make('bpe', 300), TEXTS[1]
    expected = tokenizer.encode(text)
    monkeypatch.setattr(bpe, 'CACHE_PIECES', 10)
    np.testing.assert_array_equal(tokenizer.encode(text), expected)
    tokenizer.encode('other words here')
    assert len(tokenizer._table.index) <= 20


def test_bpe_training_is_the_same_in_another_process():
    code = 'from tests.data.test_tokenizers import make; print(make("bpe", 300).digest)'
    found = {subprocess.check_output([sys.executable, '-c', code], text=True, cwd=ROOT).strip() for _ in range(2)}
    assert found == {make('bpe', 300).digest}


@pytest.mark.parametrize(
    ('kind', 'vocab_size', 'what'),
    [('byte', 300, 'has 257 tokens'), ('char', 1, 'use 2'), ('word', 2, 'use 3'), ('bpe', 256, 'use 257')],
)
def test_sizes_that_cannot_be_are_refused(kind, vocab_size, what):
    with pytest.raises(UsageError, match=f'data.vocab_size={vocab_size}: .*{what}'):
        make(kind, vocab_size)


def test_unknown_kind_and_missing_folder(tmp_path):
    with pytest.raises(UsageError, match=r"data.tokenizer='bbpe': no such choice; choose one of: byte, char, word, bpe"):
        tokenizer_class('bbpe')
    with pytest.raises(UsageError, match='no readable tokenizer there'):
        load_tokenizer(tmp_path / 'none')
    (tmp_path / 'vocabulary.json').write_text('{"kind"')
    with pytest.raises(UsageError, match='no readable tokenizer there'):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_comes_with_a_checkpoint(made):
    library, bpe = made['library'], made['bpe']
    assert library.encode(TEXTS[0]).tolist() == bpe.encode(TEXTS[0]).tolist()
    assert library.decode([*library.encode('def'), 0, 305]) == 'def'  # the separator, and a row that no token has
    assert (library.vocab_size, library.end_ids, library.lossless) == (310, (0,), True)
    assert not library.byte_lengths[bpe.vocab_size :].any()
    assert LibraryTokenizer(bpe.contents()['tokenizer.json'], ends=('<|endoftext|>', 'none')).end_ids == (bpe.separator_id,)
    with pytest.raises(UsageError, match=r"data\.tokenizer='library': comes with a checkpoint and is not trained"):
        make('library')
    with pytest.raises(UsageError, match='has 300 tokens and the network 299; the tokenizer and the network do not belong'):
        LibraryTokenizer(bpe.contents()['tokenizer.json'], size=299)
    huge = bpe.contents()['tokenizer.json'].replace('"Ā":', '"Ā":4000000')  # how the byte 0 is spelled, and before its id
    with pytest.raises(UsageError, match=r'tokenizer\.json: tokens=4000000\d+: 16,777,216 is the most; fetch it again'):
        LibraryTokenizer(huge)
    with pytest.raises(UsageError, match=r'tokenizer\.json: not a tokenizer of the tokenizers library'):
        LibraryTokenizer('{}')


@pytest.mark.parametrize('kind', ['byte', 'char', 'word', 'bpe'])
def test_special_tokens_come_after_the_vocabulary_and_are_of_no_text(made, kind, tmp_path):
    plain = made[kind]
    tokenizer = with_specials(plain, ('mask', 'class'))
    assert tokenizer.specials == {'mask': plain.vocab_size, 'class': plain.vocab_size + 1}
    assert tokenizer.vocab_size == plain.vocab_size + 2 == len(tokenizer.byte_lengths)
    ids = tokenizer.encode(TEXTS[0])
    np.testing.assert_array_equal(ids, plain.encode(TEXTS[0]))
    text = tokenizer.decode(ids)
    assert tokenizer.decode([plain.vocab_size, *ids, plain.vocab_size + 1]) == text == plain.decode(ids)
    assert tokenizer.decode_bytes([*ids, plain.vocab_size]) == plain.decode_bytes(ids)
    np.testing.assert_array_equal(tokenizer.byte_lengths[-2:], 0)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.specials == tokenizer.specials
    assert loaded.digest == tokenizer.digest != plain.digest
    assert loaded.end_ids == plain.end_ids
    size = 300 if kind == 'bpe' else 0
    assert expected_vocabulary(DataConfig(tokenizer=kind, vocab_size=size, specials=('mask', 'class'))) in (0, 302, 259)
    with pytest.raises(UsageError, match=r'data\.specials=\(\): this tokenizer has no mask; train with'):
        plain.encode_marked('a <mask>')


def test_sentinels_come_last_and_are_written_as_published(made, tmp_path):
    data = DataConfig(tokenizer='byte', specials=('mask', 'end'), sentinels=12)
    tokenizer = with_specials(made['byte'], roles_of(data))
    assert expected_vocabulary(data) == tokenizer.vocab_size == 257 + 14
    assert sentinel_ids(tokenizer.specials).tolist() == list(range(259, 271))
    assert sentinel_ids(made['byte'].specials).tolist() == []
    texts = tokenizer.special_texts()
    assert (texts['mask'], texts['end'], texts['sentinel_0'], texts['sentinel_11']) == (
        '<mask>',
        '<end>',
        '<extra_id_0>',
        '<extra_id_11>',
    )
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).specials == tokenizer.specials


def test_where_a_target_begins_and_ends(made):
    """By the roles, else by the separator between documents."""
    byte, char = made['byte'], made['char']
    assert (start_id(byte), end_id(byte)) == (256, 256)
    both = with_specials(byte, ('end', 'start'))
    assert (start_id(both), end_id(both), both.end_ids) == (258, 257, (257, 256))
    some = with_specials(byte, ('end',))
    assert (start_id(some), end_id(some), some.end_ids) == (256, 257, (257, 256))
    assert with_specials(byte, ('start',)).end_ids == (256,)
    library = made['library']
    assert (start_id(library), end_id(library)) == (0, 0)
    published = LibraryTokenizer(library.contents()['tokenizer.json'], ends=(5, 7), start=9)
    assert (start_id(published), end_id(published), published.end_ids) == (9, 5, (5, 7))
    assert LibraryTokenizer.from_contents(published.contents()).specials == {'start': 9}
    assert LibraryTokenizer(library.contents()['tokenizer.json'], start=10_000).specials == {}  # the network has no such token
    for wanted in (start_id, end_id):
        with pytest.raises(UsageError, match=r"data\.specials=\('mask',\): a decoder needs a token for '(start|end)'; add '"):
            wanted(with_specials(char, ('mask',)))
    for kind in ('byte', 'char', 'word', 'bpe'):
        assert tokenizer_class(kind).separates == (made[kind].separator_id is not None)


def test_where_sentences_end(made):
    for kind in ('byte', 'word', 'bpe'):
        tokenizer = tokenizer_class(kind).train(['He ran. Why?! 3.5 miles', 'end.'], [], 300 if kind == 'bpe' else 0)
        ends = tokenizer.sentence_ends()
        assert ends.shape == (tokenizer.vocab_size,)
        found = {tokenizer.decode([i]).strip() for i in np.flatnonzero(ends)}
        assert found == ({'ran.', 'Why?!', 'end.'} if kind == 'word' else {'.', '!', '?'}) or kind == 'bpe'
        assert all(text[-1] in '.!?' for text in found)


def test_published_sentinels_are_found(tmp_path):
    """T5's: `<extra_id_0>` is the last token of the vocabulary."""
    import tokenizers
    from tokenizers import models

    words = ['<pad>', '</s>', '<unk>', 'a', *(f'<extra_id_{i}>' for i in reversed(range(3))), '<extra_id_9>']
    library = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token='<unk>'))
    library.add_special_tokens([word for word in words if 'extra' in word])
    tokenizer = LibraryTokenizer(library.to_str(), ends=(1,), start=0)
    assert sentinel_ids(tokenizer.specials).tolist() == [6, 5, 4]
    assert tokenizer.specials == {'start': 0, 'sentinel_0': 6, 'sentinel_1': 5, 'sentinel_2': 4}
    assert tokenizer.special_texts()['sentinel_1'] == '<extra_id_1>'
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).specials == tokenizer.specials
    assert (start_id(tokenizer), end_id(tokenizer)) == (0, 1)


def test_a_mask_is_written_as_such(made):
    tokenizer = with_specials(made['byte'], ('mask',))
    mask = tokenizer.specials['mask']
    assert tokenizer.encode_marked('<mask>a<mask><mask>b').tolist() == [mask, 97, mask, mask, 98]
    assert mask not in tokenizer.encode('<mask>')  # in a text it is text
    library = wordpiece()
    assert library.encode_marked('a <mask>ing [MASK]').tolist() == [2, 4, 3, 7, 3]


def wordpiece():
    """A tokenizer of BERT's kind with a handful of words."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    words = ['[PAD]', '[UNK]', '[CLS]', '[MASK]', 'a', 'sing', '##ing', 'ing', '##s']
    library = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token='[UNK]'))
    library.add_special_tokens(['[PAD]', '[UNK]', '[CLS]', '[MASK]'])
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    library.post_processor = processors.TemplateProcessing(single='[CLS] $A', special_tokens=[('[CLS]', 2)])
    return LibraryTokenizer(library.to_str(), size=10, specials={'mask': '[MASK]', 'class': '[CLS]', 'padding': '[none]'})


def test_where_words_go_on(made, tmp_path):
    library = wordpiece()
    inside, leaves_open = library.word_flags()
    assert np.flatnonzero(inside).tolist() == [6, 8]
    assert np.flatnonzero(leaves_open).tolist() == [4, 5, 6, 7, 8]
    assert library.specials == {'mask': 3, 'class': 2}
    library.save(tmp_path)
    assert load_tokenizer(tmp_path).specials == library.specials
    inside, leaves_open = made['word'].word_flags()
    ids = made['word'].encode('class value')
    assert leaves_open[ids].all()
    bpe_ids = made['bpe'].encode('move x_1 (self')
    inside, leaves_open = made['bpe'].word_flags()
    pieces = [made['bpe'].decode([i]) for i in bpe_ids]
    assert [bool(inside[i]) for i in bpe_ids] == [piece[0].isalnum() or piece[0] == '_' for piece in pieces]
