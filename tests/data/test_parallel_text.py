"""Pairs from their files to tokens: what comes through, what is refused, and that each half is encoded by itself."""

import dataclasses
import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import encode_text, prepare, prepare_eval
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.parallel_text import encode_pairs, join_pair
from lmjax.data.sources import LABELLED, SOURCES, is_paired, open_source
from lmjax.data.special_tokens import with_specials
from lmjax.data.synthetic import PAIRED, TASKS
from lmjax.data.tokenizers import tokenizer_class

ROWS = [('the dog', 'il cane'), ('a\ttab', 'una\ttabulazione'), ('two\nlines', 'due\nrighe')]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({'en': a, 'it': b}) for a, b in ROWS]
    (tmp_path / 'a.jsonl').write_text(
        '\n'.join([*rows, '{"en": "alone"}', '{"en": "x", "it": " "}', '{"en": 1, "it": "x"}', ''])
    )
    (tmp_path / 'a.tsv').write_bytes(b'the dog\til cane\r\n\nno tab\na\tb\tc\n\x1d\tx\xc2\x85y\nlast\tone')
    return tmp_path


def test_both_kinds_of_files(folder):
    source = open_source('jsonl:a.jsonl#en,it')
    assert list(source.documents()) == [
        'the dog\til cane', 'a tab\tuna tabulazione', 'two\nlines\tdue\nrighe', None, None, None
    ]  # fmt: skip
    assert list(open_source('pairs:a.tsv').documents()) == ['the dog\til cane', None, None, None, 'last\tone']
    assert join_pair('\x1d', 'x') is None  # white space alone is no text
    swapped = open_source('jsonl:a.jsonl#it,en')
    assert next(swapped.documents()) == 'il cane\tthe dog'
    digests = {open_source(name).digest for name in ('pairs:a.tsv', 'text:a.tsv', 'jsonl:a.jsonl#en', 'jsonl:a.jsonl#en,it')}
    assert len(digests | {swapped.digest}) == 5


def test_which_sources_are_paired(folder):
    names = {'pairs:a.tsv': True, 'jsonl:a.jsonl#en,it': True, 'jsonl:a.jsonl#en': False, 'text:a.tsv': False, 'stdlib': False}
    names |= {task: task in PAIRED for task in TASKS}
    for name, paired in names.items():
        assert (is_paired(name), open_source(name).paired) == (paired, paired), name
    assert {name.partition(':')[0] for name in names} == set(SOURCES) - {'tfds', *LABELLED}
    for task in TASKS:
        assert ('\t' in next(open_source(task).documents())) == (task in PAIRED)


@pytest.mark.parametrize(
    ('source', 'what'),
    [
        ('pairs:a.jsonl', r'no line is SOURCE<TAB>TARGET \(they have 1 columns\)'),
        ('pairs:wide.tsv', r'no line is SOURCE<TAB>TARGET \(they have 3 or 4 columns\); .*cut -f1,2'),
        ('pairs:empty.tsv', 'every file is empty; write one SOURCE<TAB>TARGET a line'),
        ('pairs:none.tsv', 'no file matches'),
        ('pairs:', 'no files named'),
        ('jsonl:a.jsonl#en,fr', "no row has text in the field 'fr'; put one of en, it after #"),
        ('jsonl:a.jsonl#en,', "'en,' names neither a field nor two; put FIELD or SOURCE_FIELD,TARGET_FIELD after #"),
        ('jsonl:a.jsonl#en,it,fr', 'names neither a field nor two'),
    ],
)
def test_bad_files_are_refused(folder, source, what):
    (folder / 'wide.tsv').write_text('a\tb\tc\n1\t2\t3\t4\n')
    (folder / 'empty.tsv').write_text('\n')
    with pytest.raises(UsageError, match=what):
        open_source(source)


@pytest.mark.parametrize('kind', ['byte', 'char', 'word', 'bpe'])
def test_each_half_is_encoded_by_itself(kind):
    texts = ['the dog', 'il cane', 'a']
    tokenizer = with_specials(tokenizer_class(kind).train(texts, texts, 260 if kind == 'bpe' else 0), ('mask', 'separator'))
    separator = tokenizer.specials['separator']
    one, two = encode_pairs(['the dog\til cane', '\ta'], tokenizer)
    halves = [tokenizer.encode(text).tolist() for text in ('the dog', 'il cane', 'a')]  # no newline after a half's words
    assert one.tolist() == [*halves[0], separator, *halves[1]]
    assert two[two.tolist().index(separator) :].tolist() == [separator, *halves[2]]
    assert encode_text('the dog\til cane', tokenizer, paired=True).paired


def test_what_a_tokenizer_adds_to_a_text_is_not_taken_for_the_end_of_the_source():
    """BART's ends every text with the token that parts two texts."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    library = tokenizers.Tokenizer(models.WordLevel({'<s>': 0, '</s>': 1, '?': 2, 'a': 3, 'b': 4}, unk_token='?'))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.add_special_tokens(['<s>', '</s>'])
    around = processors.TemplateProcessing(single='<s> $A </s>', special_tokens=[('<s>', 0), ('</s>', 1)])
    library.post_processor = around
    tokenizer = LibraryTokenizer(library.to_str(), ends=(1,), specials={'separator': '</s>'})
    assert tokenizer.encode('a b').tolist() == [0, 3, 4, 1]
    assert encode_pairs(['a b\tb'], tokenizer)[0].tolist() == [0, 3, 4, 1, 0, 4]
    other = LibraryTokenizer(library.to_str(), ends=(1,), specials={'separator': '?'})
    assert encode_pairs(['a c\tb'], other)[0].tolist() == [0, 3, 2, 0, 4]  # an unknown word is none of the separators


@pytest.fixture
def data(folder):
    (folder / 'b.tsv').write_text(''.join(f'word {i}\tparola {i * i}\n' for i in range(50)))
    specials = ('mask', 'separator')
    return DataConfig(
        source='pairs:b.tsv', tokenizer='char', specials=specials, layout='documents', cache_dir=str(folder / 'c')
    )


def test_a_corpus_of_pairs(data):
    corpus = prepare(data)
    separator = corpus.tokenizer.specials['separator']
    for store in (corpus.train, corpus.valid, prepare_eval(data.source, corpus.tokenizer, data)):
        assert store.paired
        parts = np.split(store.tokens, store.doc_offsets[1:-1])
        assert all((part == separator).sum() == 1 for part in parts)
    assert corpus.counts['train_documents'] + corpus.counts['valid_documents'] == 50
    assert corpus.tokenizer.decode(parts[7]) == 'word 7parola 49'
    assert '\t' not in corpus.tokenizer.base.characters
    assert prepare(data).train.paired  # also from the cache
    assert not prepare(dataclasses.replace(data, source='text:b.tsv')).train.paired


def test_a_pair_is_never_cut_in_two_by_the_split(data, folder):
    (folder / 'b.tsv').write_text('a\tb\n' + 'x' * 100 + '\t' + 'y' * 100 + '\n')
    corpus = prepare(data)
    assert [store.tokens.tolist().count(corpus.tokenizer.specials['separator']) for store in (corpus.train, corpus.valid)] == [
        1,
        1,
    ]
    (folder / 'b.tsv').write_text('x' * 100 + '\t' + 'y' * 100 + '\n')
    with pytest.raises(UsageError, match='too little text to split'):
        prepare(data)


def test_pairs_without_a_separator_are_refused(data):
    what = (
        r"data\.specials=\('mask',\): data\.source='pairs:b\.tsv' has pairs, .* needs a token for 'separator'; add 'separator'"
    )
    with pytest.raises(UsageError, match=what):
        prepare(dataclasses.replace(data, specials=('mask',)))
    plain = tokenizer_class('byte').train([], [], 0)
    for refused in (lambda: prepare(data, tokenizer=plain), lambda: prepare_eval(data.source, plain, data)):
        with pytest.raises(UsageError, match=r"data\.specials=\(\): .*add 'separator'"):
            refused()
