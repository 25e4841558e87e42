"""Labelled texts from their files to rows: what comes through, what is refused, and whose label a row has."""

import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.cleaning import describe_unreadable
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare, prepare_eval
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.labels import describe_cut, describe_unseen, ordered
from lmjax.data.loader import batch_at, eval_batches
from lmjax.data.sources import label_kind, open_source
from lmjax.objectives.config import ObjectiveConfig

ROWS = [('good', 1), ('bad', 0), ('fine', 1), ('awful', 0), ('long and good', 1), ('bad', 0), ('so so', 10)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({'text': text, 'label': label}) for text, label in ROWS]
    (tmp_path / 'a.jsonl').write_text('\n'.join([*rows, 'broken', '{"text": "alone"}', '{"text": "x", "label": 0.5}']))
    (tmp_path / 'a.csv').write_text('label,review\npos,"good, very"\nneg,"two\nlines"\npos,good\n', newline='')
    (tmp_path / 'a.tsv').write_text('review\tlabel\ngood\tpos\nbad\tneg\n')
    return tmp_path


def config(source, **more):
    return DataConfig(source=source, tokenizer='char', seq_len=6, layout='documents', cache_dir='cache', **more)


def test_three_kinds_of_files(folder):
    source = open_source('labelled:a.jsonl')
    assert source.labels == label_kind(source.name) == 'class'
    assert list(source.documents()) == [f'{text}\t{label}' for text, label in ROWS] + [None] * 3
    table = ['good, very\tpos', 'two\nlines\tneg', 'good\tpos']
    assert list(open_source('labelled:a.csv#review,label').documents()) == table
    assert list(open_source('labelled:a.tsv#review,label').documents()) == ['good\tpos', 'bad\tneg']


def test_shares_are_told_by_the_number_of_a_row(folder):
    def texts(share):
        return [row and row.split('\t')[0] for row in open_source(f'labelled:a.jsonl#text,label@{share}').documents()]

    assert texts('0/5') == ['good', 'bad']
    assert texts('1-4/5') == ['bad', 'fine', 'awful', 'long and good', 'so so', None, None, None]
    digests = {open_source(f'labelled:a.jsonl#text,label@{share}').digest for share in ('0/5', '1/5', '0-1/5')}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('labelled:a.jsonl#text', ['does not name two columns']),
        ('labelled:a.jsonl#review,label', ["no column 'review'", 'text, label']),
        ('labelled:a.csv', ["no column 'text'", 'label, review']),
        ('labelled:a.jsonl#text,label@3-2/10', ['@3-2/10']),
        ('labelled:a.jsonl#text,label@9', ['@9', 'FIRST-LAST/OF']),
        ('labelled:nothing.csv', ['no file matches']),
    ],
)
def test_what_cannot_be_read_is_refused(folder, name, parts):
    with pytest.raises(UsageError) as error:
        open_source(name)
    assert all(part in str(error.value) for part in ['data.source', *parts])


def test_numbers_are_in_order_and_one_class_is_none():
    assert ordered({'10', '9', 'x', '-1'}) == ('-1', '9', '10', 'x')
    with pytest.raises(UsageError, match="label 'a'"):
        ordered({'a'})


def test_rows_have_the_label_of_their_text(folder):
    corpus = prepare(config('labelled:a.jsonl', valid_source='labelled:a.jsonl#text,label@0-3/10'))
    assert corpus.train.classes == corpus.valid.classes == ('0', '1', '10')
    assert len(corpus.valid.doc_offsets) - 1 == 4
    corrupt = tokens_corruption(ObjectiveConfig(kind='classify'), corpus.tokenizer)
    batch = batch_at(corpus.train, config('labelled:a.jsonl'), 0, seed=3, batch_size=7, corrupt=corrupt)
    texts = [corpus.tokenizer.decode(ids[real]) for ids, real in zip(batch.inputs.ids, batch.inputs.segments > 0, strict=True)]
    wanted = sorted((text[:6], corpus.train.classes.index(str(label))) for text, label in ROWS)  # cut, never in two rows
    assert sorted(zip(texts, batch.labels.tolist(), strict=True)) == wanted
    (last,) = eval_batches(corpus.valid, seq_len=6, batch_size=5, layout='documents', corrupt=corrupt)
    np.testing.assert_array_equal(last.labels, [1, 0, 1, 0, -1])
    np.testing.assert_array_equal(last.weights[:, 0], [1, 1, 1, 1, 0])


def test_what_is_cut_and_what_cannot_be_read_is_said(folder):
    corpus = prepare(config('labelled:a.jsonl', valid_fraction=0.3))
    splits = {'train': corpus.train, 'valid': corpus.valid}
    assert describe_cut(splits, 6) == 'data.seq_len=6 cuts 1 of the 5 train texts; with 13 every one is read whole'
    assert describe_cut(splits, 13) == ''
    assert describe_unreadable(corpus.counts) == '3 of 10 records are left out: they lack a field, or cannot be read'
    assert describe_unreadable({'read': 7}) == ''


def test_labels_that_training_never_saw_are_refused(folder):
    with pytest.raises(UsageError, match=r"label='10' \(1 texts\).*training saw '0', '1'.* \(first seen at a\.jsonl:7\)"):
        prepare(config('labelled:a.jsonl#text,label@0-5/10', valid_source='labelled:a.jsonl#text,label@6/10'))
    corpus = prepare(config('labelled:a.jsonl', valid_fraction=0.3))
    with pytest.raises(UsageError, match=r"'neg' .* was never seen"):
        prepare_eval('labelled:a.tsv#review,label', corpus.tokenizer, config('labelled:a.jsonl'), classes=corpus.train.classes)


def test_labels_that_training_never_saw_are_left_out_if_asked_to(folder):
    data = config(
        'labelled:a.jsonl#text,label@0-5/10', valid_source='labelled:a.jsonl#text,label@5-6/10', unseen_labels='leave_out'
    )
    corpus = prepare(data)
    assert corpus.counts['dropped_unseen_label'] == 1
    assert describe_unseen(corpus.counts) == '1 held-out texts are left out: training never saw their labels'
    assert describe_unseen({}) == ''
    np.testing.assert_array_equal(corpus.valid.labels, [0])
    found = prepare_eval('labelled:a.jsonl', corpus.tokenizer, data, classes=corpus.train.classes)
    assert (found.unseen_labels, len(found.labels)) == (1, 6)
    with pytest.raises(UsageError, match='all labels are unseen'):
        prepare_eval('labelled:a.jsonl#text,label@6/10', corpus.tokenizer, data, classes=corpus.train.classes)


def test_both_sources_are_of_one_kind(folder):
    with pytest.raises(UsageError, match=r'data\.valid_source=.*another kind'):
        prepare(config('labelled:a.jsonl', valid_source='jsonl:a.jsonl#text'))


def test_another_file_validates_any_source(folder):
    (folder / 'one.txt').write_text('abc ' * 20)
    (folder / 'two.txt').write_text('cab ' * 5)
    corpus = prepare(DataConfig(source='text:one.txt', valid_source='text:two.txt', tokenizer='byte', cache_dir='cache'))
    assert corpus.train.text_bytes == 80
    assert corpus.valid.text_bytes == 20
