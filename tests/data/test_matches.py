"""Texts that belong together: columns, how they share a row, what is cut, and which of them are the same."""

import itertools
import json

import numpy as np
import pytest
from test_two_texts import bert_tokenizer, framed

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.labels import plain_labels
from lmjax.data.loader import batch_at
from lmjax.data.matches import texts_of_row
from lmjax.data.sources import is_two, open_source
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.objectives.config import ObjectiveConfig

ROWS = [('a b', 'c', 'd x'), ('a b', 'd', 'c'), ('x y', 'a a a', 'b'), ('b', '', 'c'), ('b', 3, 'c')]
WHOLE = ROWS[:3]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'rows.jsonl'
    path.write_text('\n'.join(json.dumps(dict(zip(('query', 'match', 'other'), row, strict=True))) for row in ROWS))
    return f'matched:{path}#query,match,other'


def batch_of(source, folder, *, tokenizer, seq_len=16, **how):
    data = DataConfig(source=source, valid_source=source, seq_len=seq_len, layout='documents', cache_dir=str(folder), **how)
    corpus = prepare(data, tokenizer=tokenizer)
    corrupt = tokens_corruption(ObjectiveConfig(kind='match'), tokenizer)
    return corpus, batch_at(corpus.train, data, 0, seed=0, batch_size=3, corrupt=corrupt)


def read(batch):
    """The texts of each row: ids of its segments."""
    ids, segments = np.asarray(batch.inputs.ids), np.asarray(batch.inputs.segments)
    return [
        tuple(tuple(row[own == k].tolist()) for k in range(1, own.max() + 1)) for row, own in zip(ids, segments, strict=True)
    ]


def test_documents_are_texts_that_belong_together(source):
    found = open_source(source)
    assert list(found.documents()) == ['a b\tc\td x\tmatch', 'a b\td\tc\tmatch', 'x y\ta a a\tb\tmatch', None, None]
    assert not found.two
    assert not is_two(source)
    assert next(open_source(source.replace(',other', '')).documents()) == 'a b\tc\tmatch'
    with pytest.raises(UsageError, match=r"'query' does not name two columns; put TEXT,MATCH after #$"):
        open_source(source.replace(',match,other', ''))
    with pytest.raises(UsageError, match="no column 'else'"):
        open_source(source.replace('other', 'else'))


def test_each_text_of_a_row_is_as_it_is_read_by_itself(source, tmp_path):
    library = framed()
    corpus, batch = batch_of(source, tmp_path, tokenizer=bert_tokenizer())
    assert texts_of_row(corpus.train) == 3
    assert sorted(read(batch)) == sorted(tuple(tuple(library.encode(text).ids) for text in row) for row in WHOLE)
    for positions, segments in zip(np.asarray(batch.inputs.positions), np.asarray(batch.inputs.segments), strict=True):
        assert (
            positions.tolist()
            == [n for _, same in itertools.groupby(segments) for n in range(len(list(same)))][: (segments > 0).sum()]
            + [0] * (segments == 0).sum()
        )


def test_a_tokenizer_with_separators_between_documents(source, tmp_path):
    _, batch = batch_of(source, tmp_path, tokenizer=ByteTokenizer())
    assert sorted(read(batch)) == sorted(tuple(tuple(text.encode()) for text in row) for row in WHOLE)


def test_labels_say_which_texts_are_the_same(source, tmp_path):
    _, batch = batch_of(source, tmp_path, tokenizer=bert_tokenizer())
    labels, texts = np.asarray(batch.labels), read(batch)
    assert labels.shape == (3, 3)
    places = list(itertools.product(range(3), range(3)))
    for one, other in itertools.combinations(places, 2):
        assert (labels[one] == labels[other]) == (texts[one[0]][one[1]] == texts[other[0]][other[1]])
    assert len(np.unique(labels)) == 7  # `a b` is twice a query, `c` and `d`... once a match and once another


def test_a_row_without_room_for_all_its_texts_counts_for_nothing(source, tmp_path):
    _, batch = batch_of(source, tmp_path, tokenizer=ByteTokenizer(), seq_len=7)  # a b|c|d x has 7 bytes, x y|a a a|b 9
    rows = dict(zip(read(batch), np.asarray(batch.weights)[:, 0].tolist(), strict=True))
    assert rows == {tuple(tuple(text.encode()) for text in row): 1.0 for row in WHOLE[:2]} | {(): 0.0}
    _, cut = batch_of(source, tmp_path, tokenizer=ByteTokenizer(), seq_len=6)
    assert (tuple(b'a b'), tuple(b'c'), tuple(b'd ')) in read(cut)


def test_batches_have_the_shapes_that_are_compiled_for(source):
    data = DataConfig(source=source, seq_len=8, layout='documents')
    ids = [np.zeros(10, np.int32)] * 2
    store = memory_store(ids, text_bytes=0, vocab_size=1, **plain_labels(data, 2, classes=0))
    assert texts_of_row(store) == 3


def test_a_text_without_tokens_is_named(tmp_path):
    path = tmp_path / 'rows.jsonl'
    path.write_text(json.dumps({'text': 'a', 'match': 'b'}))

    class Deaf(ByteTokenizer):
        def encode(self, text):
            return super().encode('' if text == 'b' else text)

    data = DataConfig(source=f'matched:{path}', valid_source=f'matched:{path}', layout='documents', cache_dir=str(tmp_path))
    with pytest.raises(UsageError, match="text='b': has no token in this tokenizer"):
        prepare(data, tokenizer=Deaf())
