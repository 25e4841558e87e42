"""Triples as queries: both ways, with what else is right, in batches, and refused with their line."""

import json

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.corruptions import corruption_of, tokens_corruption
from lmjax.data.labelled import split_label
from lmjax.data.loader import batch_at, eval_batches, example_batch
from lmjax.data.marks import plain_marks
from lmjax.data.sources import is_two, open_source
from lmjax.data.triples import INVERSE, query_of
from lmjax.objectives.config import ObjectiveConfig

TRAIN = [('a', 'likes', 'b'), ('a', 'likes', 'c c'), ('b', 'is', 'a'), ('d', 'is', 'b')]
VALID = [('a', 'likes', 'd'), ('b', 'likes', 'd')]


@pytest.fixture
def graph(tmp_path):
    for name, triples in (('train', TRAIN), ('valid', VALID)):
        (tmp_path / f'{name}.tsv').write_text('\n'.join(map('\t'.join, triples)) + '\n')
    return tmp_path


def documents(source):
    found = [split_label(document) for document in open_source(source).documents()]
    return [(text, [told['tail'], *told['others']]) for text, told in ((text, json.loads(label)) for text, label in found)]


def test_each_triple_is_asked_both_ways(graph):
    back = f'likes{INVERSE}'
    assert documents(f'triples:{graph}/train.tsv')[:4] == [
        ('a likes', ['b']), (f'b {back}', ['a']), ('a likes', ['c\u2423c']), (f'c\u2423c {back}', ['a']),
    ]  # fmt: skip
    assert documents(f'triples:{graph}/valid.tsv#{graph}/train.tsv') == [
        ('a likes', ['d', 'b', 'c\u2423c']), (f'd {back}', ['a', 'b']), ('b likes', ['d']), (f'd {back}', ['b', 'a']),
    ]  # fmt: skip
    assert not is_two(f'triples:a,b,c#{graph}')


def test_the_digest_is_of_both_sides(graph):
    name = f'triples:{graph}/valid.tsv'
    digests = {open_source(name).digest, open_source(f'{name}#{graph}/train.tsv').digest}
    (graph / 'train.tsv').write_text('a\tlikes\tb\n')
    digests.add(open_source(f'{name}#{graph}/train.tsv').digest)
    assert len(digests) == 3


@pytest.mark.parametrize('line', ['a\tlikes', 'a\tlikes\tb\tc', 'a\t \tb'])
def test_what_is_no_triple_is_named(graph, line):
    (graph / 'valid.tsv').write_text(f'a\tlikes\tb\n\n{line}\n')
    for name in (f'triples:{graph}/valid.tsv', f'triples:{graph}/train.tsv#{graph}/valid.tsv'):
        with pytest.raises(UsageError, match=r'valid\.tsv:3 is no triple; write HEAD<TAB>RELATION<TAB>TAIL'):
            open_source(name)


def data_of(graph, **more):
    valid = f'triples:{graph}/valid.tsv#{graph}/train.tsv'
    given = {'source': f'triples:{graph}/train.tsv', 'valid_source': valid, 'tokenizer': 'word', 'seq_len': 3}
    return DataConfig(**{**given, 'layout': 'documents', 'cache_dir': str(graph / 'cache'), **more})


def rows_of(batch, tokenizer):
    """(query, tail, names that compete) of each row that is none of padding."""
    weights = np.asarray(batch.weights)[:, 0] > 0
    words = lambda ids: tokenizer.decode(np.asarray(ids))  # noqa: E731
    each = zip(batch.inputs.ids, batch.targets, batch.labels, strict=True)
    return [
        (words(ids), words(own), set(words(np.flatnonzero(competes)).split()))
        for (ids, own, competes), real in zip(each, weights, strict=True)
        if real
    ]


def test_a_batch_says_what_competes_with_each_tail(graph):
    data = data_of(graph)
    corpus = prepare(data)
    assert corpus.train.classes == ('a', 'b', 'c\u2423c', 'd')
    corrupt = tokens_corruption(ObjectiveConfig(kind='link', classes=corpus.train.classes), corpus.tokenizer)
    batches = eval_batches(corpus.valid, seq_len=3, batch_size=3, layout='documents', corrupt=corrupt)
    back, entities = f'likes{INVERSE}', {'a', 'b', 'c\u2423c', 'd'}
    assert sorted(row for batch in batches for row in rows_of(batch, corpus.tokenizer)) == sorted([
        ('a likes', 'd', {'a', 'd'}), (f'd {back}', 'a', entities - {'b'}),
        ('b likes', 'd', entities), (f'd {back}', 'b', entities - {'a'}),
    ])  # fmt: skip
    training = batch_at(corpus.train, data, 0, seed=0, batch_size=8, corrupt=corrupt)
    assert all(competes == entities for _, _, competes in rows_of(training, corpus.tokenizer))
    plain = corruption_of(ObjectiveConfig(kind='link'), plain_marks(corpus.tokenizer.vocab_size))
    example = example_batch(data, batch_size=8, classes=4, corrupt=plain)
    for one, other in zip(example[:1] + example[1:], training, strict=True):
        assert (one is None) == (other is None)
    assert [x.shape for x in (example.inputs.ids, example.targets, example.weights, example.labels)] == [
        x.shape for x in (training.inputs.ids, training.targets, training.weights, training.labels)
    ]


def test_an_entity_that_training_never_saw(graph):
    (graph / 'valid.tsv').write_text('a\tlikes\tb\na\tlikes\tx\n')
    with pytest.raises(UsageError, match=r"label='x' .1 queries.: was never seen in training; .*first seen at .*valid\.tsv:2"):
        prepare(data_of(graph))
    corpus = prepare(data_of(graph, unseen_labels='leave_out'))
    assert corpus.counts['dropped_unseen_label'] == 2  # both ways: as a head it is as unknown


def test_names_need_tokens_of_their_own(graph):
    data = data_of(graph, vocab_size=5)
    corpus = prepare(data)
    with pytest.raises(UsageError, match=r"has no token of its own; set data.tokenizer='word', data.vocab_size=0"):
        tokens_corruption(ObjectiveConfig(kind='link', classes=corpus.train.classes), corpus.tokenizer)


def test_a_query_is_two_names(graph):
    tokenizer = prepare(data_of(graph)).tokenizer
    for text in ('a likes', 'a\tlikes', 'c c\tlikes', 'c\u2423c likes'):
        assert tokenizer.decode(query_of(text, tokenizer)).split()[1] == 'likes'
    with pytest.raises(UsageError, match='a graph is asked for the tail of HEAD<TAB>RELATION'):
        query_of('a b likes', tokenizer)
    with pytest.raises(UsageError, match="training never saw 'x'"):
        query_of('x likes', tokenizer)
