"""Texts of several languages: read from sources of their own, balanced for training, and told apart in batches."""

import json
from collections import Counter

import numpy as np
import pytest

from lmjax import DataConfig, ObjectiveConfig, UsageError
from lmjax.data.corpus import prepare, prepare_eval
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.languages import balanced
from lmjax.data.loader import batch_at
from lmjax.data.sources import open_source


@pytest.fixture
def folder(tmp_path):
    rows = [{'en': f'good {n}', 'it': f'buono {n}'} for n in range(80)]
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    (tmp_path / 'short.jsonl').write_text('\n'.join(map(json.dumps, rows[:20])))
    return tmp_path


def config(folder, balance=1.0, **more):
    source = f'languages:en=jsonl:{folder}/rows.jsonl#en@1-9/10;it=jsonl:{folder}/short.jsonl#it@1-9/10'
    valid = f'languages:it=jsonl:{folder}/rows.jsonl#it@0/10;en=jsonl:{folder}/rows.jsonl#en@0/10'
    data = {'source': source, 'valid_source': valid, 'tokenizer': 'byte', 'seq_len': 12, 'layout': 'documents', **more}
    return DataConfig(balance=balance, cache_dir=str(folder / 'cache'), **data)


def test_every_text_has_its_language(folder):
    source = open_source(config(folder).source)
    counts = Counter(document.split('\t')[1] for document in source.documents())
    assert counts == {'en': 72, 'it': 18}
    assert next(iter(source.documents())) == 'good 1\ten'
    assert (
        open_source(f'languages:x=text:{folder}/rows.jsonl').digest
        != open_source(f'languages:y=text:{folder}/rows.jsonl').digest
    )


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('languages:', 'names no languages; write NAME=SOURCE;NAME=SOURCE'),
        ('languages:en', 'names no languages'),
        ('languages:en=text:{0}/rows.jsonl;en=text:{0}/rows.jsonl', 'names no languages'),
        ('languages:en=jsonl:{0}/rows.jsonl#en,it', 'has no plain texts; use text:GLOB or jsonl:GLOB#FIELD'),
        ('languages:en=text:{0}/none', 'no file matches'),
    ],
)
def test_what_is_no_language_is_refused(folder, name, message):
    with pytest.raises(UsageError, match=message):
        open_source(name.format(folder))


@pytest.mark.parametrize(
    ('exponent', 'counts'), [(1.0, (80, 20, 5)), (0.5, (80, 40, 20)), (0.0, (80, 80, 80)), (0.7, (80, 30, 11))]
)
def test_shares_are_powers_of_sizes_and_no_text_is_lost(exponent, counts):
    documents = [f'{name}{n}\t{name}' for name, size in zip('abc', (80, 20, 5), strict=True) for n in range(size)]
    found = balanced(documents, exponent)
    assert tuple(Counter(document[-1] for document in found).values()) == counts
    times = Counter(found)
    assert set(times) == set(documents)
    for name, size, count in zip('abc', (80, 20, 5), counts, strict=True):
        own = [number for document, number in times.items() if document[-1] == name]
        assert set(own) <= {count // size, -(-count // size)}
    assert balanced(documents, exponent) == found


def test_training_is_balanced_and_validation_is_as_it_is(folder):
    plain, even = (prepare(config(folder, balance)) for balance in (1.0, 0.0))
    assert plain.train.classes == ('en', 'it')
    assert [np.bincount(corpus.train.labels).tolist() for corpus in (plain, even)] == [[72, 18], [72, 72]]
    assert [np.bincount(corpus.valid.labels).tolist() for corpus in (plain, even)] == [[8, 8], [8, 8]]
    assert plain.digest != even.digest


def test_every_token_of_a_row_is_of_the_type_of_its_language(folder):
    corpus, data = prepare(config(folder)), config(folder)
    corrupt = tokens_corruption(ObjectiveConfig(kind='languages'), corpus.tokenizer)
    batch = batch_at(corpus.train, data, 0, seed=0, batch_size=30, corrupt=corrupt)
    assert batch.labels is None
    starts = [corpus.tokenizer.decode([int(i) for i in row if i < 256])[0] for row in batch.inputs.ids]
    assert set(starts) == {'g', 'b'}
    for start, types in zip(starts, batch.inputs.types, strict=True):
        assert set(types.tolist()) == {'gb'.index(start)}
    store = prepare_eval(f'languages:it=jsonl:{folder}/rows.jsonl#it', corpus.tokenizer, data, classes=corpus.train.classes)
    assert set(store.labels.tolist()) == {1}
    with pytest.raises(UsageError, match=r"label='fr' \(80 texts\): was never seen in training"):
        prepare_eval(f'languages:fr=jsonl:{folder}/rows.jsonl#it', corpus.tokenizer, data, classes=corpus.train.classes)
