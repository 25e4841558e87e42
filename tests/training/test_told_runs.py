"""Runs that tell sets of classes, numbers and tags: trained, scored, asked, and refused."""

import dataclasses
import json

import numpy as np
import pytest

import lmjax
from lmjax import (
    Config,
    DataConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.training.finish import summary
from lmjax.training.validate import validate

TEXTS = {
    'multilabel': [('red and big', ['red', 'big']), ('it is big', ['big']), ('it is red', ['red']), ('it is', [])],
    'regress': [('big big big', 3), ('it is big', 1.0), ('it is', 0), ('big or big', 2.0)],
    'tag': [('john sees new york', 'B-P O B-L I-L'), ('york sees john', 'B-L O B-P'), ('new york', 'B-L I-L')],
}
SOURCES = {'multilabel': 'multilabelled', 'regress': 'scored', 'tag': 'tagged'}
COLUMNS = {'multilabel': ('text', 'labels'), 'regress': ('text', 'score'), 'tag': ('tokens', 'tags')}
KINDS = tuple(TEXTS)


def config_of(kind, folder, *, times=20, **data):
    rows = [dict(zip(COLUMNS[kind], row, strict=True)) for row in TEXTS[kind] * times]
    (folder / f'{kind}.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    source = f'{SOURCES[kind]}:{folder}/{kind}.jsonl'
    given = {'tokenizer': 'word', 'seq_len': 8, 'layout': 'documents', 'cache_dir': str(folder / 'cache'), **data}
    encoder = TransformerConfig(causal=False, width=16, depth=1, heads=2, position='rotary')
    return Config(
        data=DataConfig(source=source, **given),
        model=encoder if kind == 'tag' else RecurrentConfig(embedding=8, hidden=16, depth=1),
        objective=ObjectiveConfig(kind=kind, pooling='last'),
        optim=OptimConfig(schedule='constant', learning_rate=0.03),
        train=TrainConfig(steps=0, epochs=12, batch_size=8, eval_every=0, log_every=50),
        log=LogConfig(tensorboard=False, prompts=()),
    )


@pytest.fixture(scope='module', params=KINDS)
def trained(request, tmp_path_factory):
    """(kind, folder, outcome, lines said) of a run in folder/run."""
    folder, said = tmp_path_factory.mktemp(request.param), []
    outcome = lmjax.train(config_of(request.param, folder), str(folder / 'run'), say=said.append)
    return request.param, folder, outcome, said


def test_a_run_learns_what_texts_are_told(trained):
    kind, folder, outcome, said = trained
    best = {'multilabel': 'micro_f1', 'regress': 'spearman', 'tag': 'span_f1'}[kind]
    assert outcome[best] > 0.98
    assert any(line.startswith('validation: ') and best in line for line in said)
    assert ('nats a' in summary(outcome)) == (kind != 'regress')
    page = (folder / 'run' / 'report.html').read_text()
    assert {'tag': 'nats a word', 'multilabel': 'nats a text', 'regress': 'pearson'}[kind] in page


def test_it_says_of_a_text_what_it_learned(trained):
    kind, folder, _, _ = trained
    run = lmjax.load(str(folder / 'run'))
    if kind == 'multilabel':
        first, second = run.predict(['it is big', 'it is'])
        assert (first['labels'], second['labels']) == (['big'], [])
        assert first['probabilities'].keys() == {'big', 'red'}
    elif kind == 'regress':
        assert [round(one['score']) for one in run.predict(['big or big', 'it is'])] == [2, 0]
    else:
        (found,) = run.predict(['john sees  new york'])
        assert (found['words'], found['tags']) == (['john', 'sees', 'new', 'york'], ['B-P', 'O', 'B-L', 'I-L'])
        spans = [(span['kind'], span['text'], span['first'], span['last']) for span in found['spans']]
        assert spans == [('P', 'john', 0, 0), ('L', 'new york', 2, 3)]
        assert min(found['probabilities']) > 0.5


def test_what_it_tells_of_a_source_is_what_evaluation_scores(trained):
    kind, folder, _, _ = trained
    run = lmjax.load(str(folder / 'run'))
    source = f'{SOURCES[kind]}:{folder}/{kind}.jsonl#{",".join(COLUMNS[kind])}@0-6/20'
    rows, scores = run.tell(source), run.evaluate(source=source)
    chosen = [text for i, (text, _) in enumerate(TEXTS[kind] * 20) if i % 20 <= 6]
    assert [row['text'] for row in rows] == chosen
    weights = [len(row['label']) if kind == 'tag' else 1 for row in rows]
    assert np.average([row['loss_nats'] for row in rows], weights=weights) == pytest.approx(scores['loss_nats'], rel=1e-4)
    if kind == 'regress':
        assert np.corrcoef([(row['label'], row['told']) for row in rows], rowvar=False)[0, 1] == pytest.approx(
            scores['pearson']
        )
    else:
        assert rows[0]['label'] == {'multilabel': ['red', 'big'], 'tag': ['B-P', 'O', 'B-L', 'I-L']}[kind]
        right = (
            [np.mean([a == b for a, b in zip(row['label'], row['told'], strict=True)]) for row in rows]
            if kind == 'tag'
            else [sorted(row['label']) == row['told'] for row in rows]
        )
        assert np.average(right, weights=weights) == pytest.approx(scores['accuracy'])


def test_all_words_of_a_long_text_are_told(tmp_path):
    """More words than are read at once, by a byte tokenizer of which one word alone is too long."""
    config = config_of('tag', tmp_path, tokenizer='byte', seq_len=8)
    for stands in ('first', 'last'):
        config.objective.word_token = stands
        run = barely_trained(config, tmp_path / stands)
        words = ['a', 'supercalifragilistic', *'bcdefghij', 'new york'.replace(' ', '')]
        (found,) = run.predict([' '.join(words)])
        assert found['words'] == words
        assert len(found['tags']) == len(found['probabilities']) == len(words)
        alone = run.predict(['supercalifragilistic'])[0]
        assert alone['tags'] == found['tags'][1:2]


def barely_trained(config, folder):
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=0, steps=2))
    lmjax.train(config, str(folder), say=lambda line: None)
    return lmjax.load(str(folder))


@pytest.mark.parametrize('stands', ['first', 'last'])
def test_words_are_told_at_the_token_that_is_scored(tmp_path, stands):
    config = config_of('tag', tmp_path, tokenizer='byte', seq_len=24)
    config.objective.word_token = stands
    run = barely_trained(config, tmp_path / 'run')
    told, scores = run.tell(config.data.source), run.evaluate(source=config.data.source)
    words = [len(row['label']) for row in told]
    assert np.average([row['loss_nats'] for row in told], weights=words) == pytest.approx(scores['loss_nats'], rel=1e-4)


def test_buckets_change_no_score(tmp_path):
    config = config_of('tag', tmp_path, buckets=2)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1))
    lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    run = lmjax.load(str(tmp_path / 'run'))
    plain = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, buckets=0))
    found, expected = run.evaluate(), dataclasses.replace(run, config=plain).evaluate()
    assert {**found, 'loss_nats': 0} == {**expected, 'loss_nats': 0}
    assert found['loss_nats'] == pytest.approx(expected['loss_nats'], rel=1e-5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('section', 'changes', 'field'),
    [
        ('data', {'source': 'stdlib'}, 'data.source'),
        ('data', {'source': 'labelled:a.csv'}, 'data.source'),
        ('data', {'layout': 'windows'}, 'data.layout'),
        ('objective', {'kind': 'classify'}, 'data.source'),
        ('objective', {'class_weights': (1.0, 2.0)}, 'objective.class_weights'),
        ('objective', {'word_token': 'middle'}, 'objective.word_token'),
        ('train', {'metric': 'mcc'}, 'train.metric'),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, kind, section, changes, field):
    config = config_of(kind, tmp_path)
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **changes)})
    with pytest.raises(UsageError, match=field.replace('.', r'\.')):
        validate(config)


def test_numbers_have_no_classes_and_are_not_smoothed(tmp_path):
    config = config_of('regress', tmp_path)
    for changes in ({'classes': ('a', 'b')}, {'label_smoothing': 0.1}):
        with pytest.raises(UsageError, match=rf'objective\.{next(iter(changes))}'):
            validate(dataclasses.replace(config, objective=dataclasses.replace(config.objective, **changes)))


def test_labels_that_are_none_are_counted(tmp_path):
    rows = [('a', ['x']), ('b', 'x'), ('c', None), ('d', [0.5]), ('e', [True, 2]), ('f', [])]
    path = tmp_path / 'sets.jsonl'
    path.write_text('\n'.join(json.dumps({'text': text, 'labels': labels}) for text, labels in rows))
    found = list(lmjax_documents(f'multilabelled:{path}'))
    assert found == ['a\t["x"]', 'b\t["x"]', None, None, 'e\t["true", "2"]', 'f\t[]']
    (tmp_path / 'sets.csv').write_text('text,labels\na,x|y\nb,\nc,z\n')
    assert list(lmjax_documents(f'multilabelled:{tmp_path}/sets.csv')) == ['a\t["x", "y"]', 'b\t[]', 'c\t["z"]']
    path = tmp_path / 'scores.jsonl'
    path.write_text(
        '\n'.join(json.dumps({'text': 't', 'score': score}) for score in (1, 0.5, '2.5', 'high', True, None)) + '\n'
    )
    assert list(lmjax_documents(f'scored:{path}')) == ['t\t1.0', 't\t0.5', 't\t2.5', None, None, None]


def lmjax_documents(name):
    from lmjax.data.sources import open_source

    return open_source(name).documents()


def test_two_texts_are_told_as_one(tmp_path):
    """Which of two is first decides: types tell an encoder without positions, and prediction reads as evaluation does."""
    rows = [('left', 'right', 'yes'), ('right', 'left', 'no')] * 40
    path = tmp_path / 'two.csv'
    path.write_text('one,two,label\n' + '\n'.join(map(','.join, rows)))
    config = config_of('tag', tmp_path)
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, source=f'labelled:{path}#one,two,label', specials=('separator',)),
        model=dataclasses.replace(config.model, position='none', token_types=2),
        objective=ObjectiveConfig(kind='classify'),
    )
    outcome = lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    assert outcome['accuracy'] == 1.0
    run = lmjax.load(str(tmp_path / 'run'))
    assert [one['label'] for one in run.predict(['left\tright', 'right\tleft'])] == ['yes', 'no']
    for text in ('left right', 'a\tb\tc'):
        with pytest.raises(UsageError, match='give FIRST<TAB>SECOND'):
            run.predict([text])
    told, scores = run.tell(config.data.source), run.evaluate(source=config.data.source)
    assert np.mean([row['loss_nats'] for row in told]) == pytest.approx(scores['loss_nats'], rel=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_a_tab_in_one_text_is_a_space(tmp_path, kind):
    run = barely_trained(config_of(kind, tmp_path, tokenizer='byte'), tmp_path / 'run')
    assert run.predict(['it\tis']) == run.predict(['it is'])
