"""Two texts that are read as one, with a label: columns, how tokenizers put them together, and which is of type 1."""

import itertools
import json

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.loader import batch_at
from lmjax.data.parallel_text import encode_two
from lmjax.data.sources import is_two, open_source
from lmjax.data.special_tokens import with_specials
from lmjax.data.tokenizers import ByteTokenizer, WordTokenizer
from lmjax.objectives.config import ObjectiveConfig

ROWS = [
    ('a b', 'b', 'yes'),
    ('b', 'a a', 'no'),
    ('c\td', 'c', 'yes'),
    (['x', 'y'], 'a', 'no'),
    ('alone', '', 'no'),
    ('a', 1, 'no'),
]


def framed():
    """[CLS] a [SEP] b [SEP], as BERT has it."""
    words = ['[UNK]', '[CLS]', '[SEP]', 'a', 'b', 'c', 'd', 'x', 'y']
    library = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token='[UNK]'))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.post_processor = processors.BertProcessing(('[SEP]', 2), ('[CLS]', 1))
    return library


def bert_tokenizer():
    return LibraryTokenizer(framed().to_str(), specials={'class': '[CLS]', 'separator': '[SEP]'})


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'two.jsonl'
    path.write_text('\n'.join(json.dumps(dict(zip(('one', 'two', 'label'), row, strict=True))) for row in ROWS))
    return f'labelled:{path}#one,two,label'


def test_documents_are_two_texts_and_a_label(source):
    found = open_source(source)
    assert found.two
    assert is_two(source)
    assert list(found.documents()) == ['a b\tb\tyes', 'b\ta a\tno', 'c d\tc\tyes', 'x\ny\ta\tno', None, None]
    one = source.replace('#one,two,label', '#one,label')
    assert not open_source(one).two
    assert not is_two(one)
    assert is_two(source + '@0/2')
    assert not is_two('jsonl:a#b,c,d')


def test_columns_that_are_too_many_are_refused(source):
    with pytest.raises(UsageError, match='two texts and a label'):
        open_source(source + ',one')
    with pytest.raises(UsageError, match=r'does not name two columns; put TOKENS,TAGS after #$'):
        open_source(source.replace('labelled:', 'tagged:'))


def test_tokenizers_put_two_texts_together():
    texts = ['a b\tc', 'd\tx y']
    library = framed()
    for ids, text in zip(encode_two(texts, bert_tokenizer()), texts, strict=True):
        assert ids.tolist() == library.encode(*text.split('\t')).ids
    marked = with_specials(ByteTokenizer(), ('separator',))
    assert encode_two(texts, marked)[0].tolist() == [*b'a b', 257, *b'c']
    assert [marked.decode(ids) for ids in encode_two(texts, marked)] == ['a bc', 'dx y']
    words = with_specials(WordTokenizer.train(['a b c d x y'], [], 0), ('separator',))
    first, _ = encode_two(texts, words)
    assert words.decode(first) == 'a b c\n'
    assert list(first).index(words.specials['separator']) == 2
    assert encode_two(texts, ByteTokenizer())[1].tolist() == list(b'd\nx y')


def config(source, folder, **more):
    return DataConfig(
        **{'source': source, 'seq_len': 8, 'layout': 'documents', 'cache_dir': str(folder), 'valid_source': source, **more}
    )


def test_the_second_text_is_of_type_one(source, tmp_path):
    data, tokenizer, library = config(source, tmp_path), bert_tokenizer(), framed()
    corpus = prepare(data, tokenizer=tokenizer)
    assert corpus.train.two
    corrupt = tokens_corruption(ObjectiveConfig(kind='classify'), tokenizer)
    batch = batch_at(corpus.train, data, 0, seed=0, batch_size=4, corrupt=corrupt)
    wanted = [library.encode(*text) for text in (('a b', 'b'), ('b', 'a a'), ('c d', 'c'), ('x y', 'a'))]
    rows = zip(batch.inputs.ids, batch.inputs.segments > 0, batch.inputs.types, strict=True)
    found = sorted((ids[real].tolist(), types[real].tolist()) for ids, real, types in rows)
    assert found == sorted((row.ids, row.type_ids) for row in wanted)


def test_one_text_has_no_types(source, tmp_path):
    data = config(source.replace('one,two,', 'one,'), tmp_path)
    corpus = prepare(data, tokenizer=bert_tokenizer())
    corrupt = tokens_corruption(ObjectiveConfig(kind='classify'), corpus.tokenizer)
    assert batch_at(corpus.train, data, 0, seed=0, batch_size=4, corrupt=corrupt).inputs.types is None


def test_a_character_tokenizer_can_put_them_together(source, tmp_path):
    data = config(f'{source}@0-2/9', tmp_path, tokenizer='char', seq_len=4)
    corpus = prepare(data)
    starts = corpus.train.doc_offsets
    decoded = [corpus.tokenizer.decode(corpus.train.tokens[a:b]) for a, b in itertools.pairwise(starts)]
    assert decoded == ['a b\nb', 'b\na a', 'c d\nc']
    np.testing.assert_array_equal(corpus.train.labels, [1, 0, 1])
