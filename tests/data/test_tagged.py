"""Words with tags from their files to rows: which token stands for a word, what is cut, what is refused."""

import json

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from lmjax.config import UsageError
from lmjax.data.bpe import BpeTokenizer
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare, prepare_eval
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.loader import batch_at, eval_batches
from lmjax.data.sources import open_source
from lmjax.data.special_tokens import with_specials
from lmjax.data.store import INSIDE, OUTSIDE
from lmjax.data.texts import at_last
from lmjax.data.tokenizers import ByteTokenizer, CharTokenizer, WordTokenizer
from lmjax.data.words import word_encoder
from lmjax.objectives.config import ObjectiveConfig

ROWS = [
    (['The', 'dog', 'barks', '.'], ['D', 'N', 'V', '.']),
    (['Dogs', 'bark'], ['N', 'V']),
    (['I', 'see', 'it'], ['P', 'V', 'P']),
]
CONLL = '-DOCSTART- -X- O\n\nThe DT O\nBig JJ B-ORG\nOne NN I-ORG\n\nIt PRP O\r\n\n\n'
CONLLU = (
    '# text = Vámonos al mar\n1-2\tVámonos\t_\t_\n1\tVamos\tir\tVERB\n2\tnos\tnosotros\tPRON\n3\ta\ta\tADP\n3.1\tx\tx\tX\n'
    '\n# next\n1\tmar\tmar\tNOUN'
)


def wordpieces():
    """Lower case, pieces of a few words, [CLS] and [SEP] around a text."""
    pieces = ['[UNK]', '[CLS]', '[SEP]', 'the', 'dog', '##s', 'bark', ',', 'un', '##believ', '##ably', '.', 'a']
    library = tokenizers.Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token='[UNK]'))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    library.post_processor = processors.BertProcessing(('[SEP]', 2), ('[CLS]', 1))
    library.decoder = decoders.WordPiece()
    return LibraryTokenizer(library.to_str())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write('a.jsonl', ROWS)
    return tmp_path


def write(path, rows):
    with open(path, 'w') as file:
        file.writelines(json.dumps({'tokens': words, 'tags': tags}) + '\n' for words, tags in rows)


def config(**more):
    return DataConfig(
        **{'source': 'tagged:a.jsonl', 'tokenizer': 'byte', 'seq_len': 16, 'layout': 'documents', 'cache_dir': 'c', **more}
    )


def documents(name):
    return list(open_source(name).documents())


def test_files_of_every_form(folder):
    assert documents('tagged:a.jsonl') == [f'{" ".join(words)}\t{" ".join(tags)}' for words, tags in ROWS]
    (folder / 'a.conll').write_text(CONLL, newline='')
    assert documents('tagged:a.conll') == ['The Big One\tO B-ORG I-ORG', 'It\tO']
    assert documents('tagged:a.conll#1,2') == ['The Big One\tDT JJ NN', 'It\tPRP']
    (folder / 'a.conllu').write_text(CONLLU)
    assert documents('tagged:a.conllu') == ['Vamos nos a\tVERB PRON ADP', 'mar\tNOUN']
    assert documents('tagged:a.conllu#lemma,upos@1/2') == ['mar\tNOUN']
    (folder / 'a.csv').write_text('tokens,tags\nthe dog,D N\n')
    assert documents('tagged:a.csv') == ['the dog\tD N']


def test_rows_that_are_none_are_counted_and_uneven_ones_refused(folder):
    write('b.jsonl', [(['a b', 'c'], ['X', 'Y']), ([], []), (['a', ''], ['X', 'Y']), ('word', 'X'), (['a', 1], ['X', 'Y'])])
    assert documents('tagged:b.jsonl') == ['a\u2423b c\tX Y', None, None, 'word\tX', None]
    write('c.jsonl', [(['a'], ['X']), (['a', 'b'], ['X'])])
    with pytest.raises(UsageError, match=r'c\.jsonl:2: 2 words and 1 tags; give each word one tag'):
        documents('tagged:c.jsonl')
    (folder / 'd.conll').write_text('a X\nb\n\nc Y\n')
    assert documents('tagged:d.conll') == [None, 'c\tY']


@pytest.mark.parametrize('kind', ['byte', 'char', 'word', 'bpe', 'specials', 'wordpiece'])
def test_words_are_encoded_as_the_text_is(kind, tmp_path):
    words = ['The', 'dogs', 'bark', ',', 'unbelievably', '.']
    text = ' '.join(words)
    made = {
        'byte': lambda: ByteTokenizer(),
        'char': lambda: CharTokenizer.train([text], [text], 0),
        'word': lambda: WordTokenizer.train([text], [text], 0),
        'bpe': lambda: BpeTokenizer.train([text * 3], [text], 280),
        'specials': lambda: with_specials(WordTokenizer.train([text], [text], 0), ('mask',)),
        'wordpiece': wordpieces,
    }
    tokenizer = made[kind]()
    ids, marks = word_encoder(tokenizer)(words)
    np.testing.assert_array_equal(ids, tokenizer.encode_documents([text])[0])
    assert [mark for mark in marks if mark >= 0] == list(range(len(words)))
    ends = [*np.flatnonzero(marks != INSIDE)[1:], len(ids)]
    for begin, end in zip(np.flatnonzero(marks != INSIDE), ends, strict=True):
        if marks[begin] != OUTSIDE:
            assert tokenizer.decode(ids[begin:end]).strip().casefold() in (words[marks[begin]].casefold(), '\ufffd', '[unk]')


def rows_of(batch):
    """Of each row the text and (place, class) of what is scored."""
    for ids, segments, targets, weights in zip(
        batch.inputs.ids, batch.inputs.segments, batch.targets, batch.weights, strict=True
    ):
        yield bytes(ids[segments > 0].tolist()).decode(), [(int(t), int(targets[t])) for t in np.flatnonzero(weights)]


@pytest.mark.parametrize(('stands', 'places'), [('first', [0, 3, 7, 13]), ('last', [2, 6, 12, 14])])
def test_a_row_asks_for_the_tag_of_each_word_at_one_token(folder, stands, places):
    corpus = prepare(config(valid_source='tagged:a.jsonl'))
    assert corpus.train.classes == ('.', 'D', 'N', 'P', 'V')
    corrupt = tokens_corruption(ObjectiveConfig(kind='tag', word_token=stands), corpus.tokenizer)
    batch = batch_at(corpus.train, config(), 0, seed=1, batch_size=3, corrupt=corrupt)
    found = dict(rows_of(batch))
    assert sorted(found) == sorted(' '.join(words) for words, _ in ROWS)
    assert found['The dog barks .'] == list(zip(places, [1, 2, 4, 0], strict=True))
    (last,) = eval_batches(corpus.valid, seq_len=16, batch_size=4, layout='documents', corrupt=corrupt)
    assert last.weights.sum(axis=1).tolist() == [4, 2, 3, 0]
    assert np.all(last.targets[last.weights == 0] == 0)


def test_a_text_that_is_cut_is_read_once(folder):
    corpus = prepare(config(valid_source='tagged:a.jsonl', seq_len=6))
    for stands, places in (('first', [(0, 1), (3, 2)]), ('last', [(2, 1), (5, 2)])):
        corrupt = tokens_corruption(ObjectiveConfig(kind='tag', word_token=stands), corpus.tokenizer)
        batches = eval_batches(corpus.valid, seq_len=6, batch_size=3, layout='documents', corrupt=corrupt)
        found = [row for batch in batches for row in rows_of(batch)]
        assert len(found) == 3
        assert found[0] == ('The do', places)


def test_the_last_token_of_a_word():
    tags = np.array(
        [[OUTSIDE, 4, INSIDE, INSIDE, 5, 6, INSIDE, OUTSIDE], [7, INSIDE, 8, INSIDE, INSIDE, OUTSIDE, OUTSIDE, OUTSIDE]]
    )
    expected = np.full((2, 8), OUTSIDE)
    expected[0, [3, 4, 6]], expected[1, [1, 4]] = (4, 5, 6), (7, 8)
    np.testing.assert_array_equal(at_last(tags), expected)


def test_cleaning_leaves_labels_alone(folder):
    corpus = prepare(config(valid_source='tagged:a.jsonl', lowercase=True))
    assert corpus.train.classes == ('.', 'D', 'N', 'P', 'V')
    ids = corpus.train.tokens[: corpus.train.doc_offsets[1]]
    assert corpus.tokenizer.decode(ids) == 'the dog barks .'


def test_tags_that_training_never_saw_are_refused(folder):
    corpus = prepare(config(valid_source='tagged:a.jsonl'))
    write('b.jsonl', [(['I', 'see'], ['P', 'V']), (['hm', 'see'], ['UH', 'V']), (['oh'], ['UH'])])
    with pytest.raises(UsageError, match=r"label='UH' \(2 words\): was never seen.* \(first seen at b\.jsonl:2\)"):
        prepare_eval('tagged:b.jsonl', corpus.tokenizer, config(), classes=corpus.train.classes)


def test_a_word_without_a_token_is_named():
    with pytest.raises(UsageError, match=r"word='\\x01': has no token"):
        word_encoder(wordpieces())(['a', '\x01'])


def test_cleaning_that_makes_spaces_within_words_is_refused(folder):
    """An acute accent by itself is a space and a combining one in NFKC."""
    write('b.jsonl', [(['oui', '\u00b4'], ['X', 'Y'])])
    prepare(config(source='tagged:b.jsonl', valid_source='tagged:b.jsonl', normal_form='NFC'))
    with pytest.raises(UsageError, match=r'3 words and 2 tags; .* choose another data\.normal_form'):
        prepare(config(source='tagged:b.jsonl', valid_source='tagged:b.jsonl', normal_form='NFKC'))
