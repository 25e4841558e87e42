"""Classifiers in runs: trained from scratch and on what another run learned, scored, asked, and refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import lmjax
from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, RecurrentConfig, TrainConfig, UsageError
from lmjax.interop.huggingface import export_folder
from lmjax.models.classifiers import network_part
from lmjax.training.metrics import read_metrics
from lmjax.training.validate import validate

TEXTS = [
    ('a fine day', 'yes'),
    ('Fine, thanks', 'yes'),
    ('so bad', 'no'),
    ('a BAD, bad day', 'no'),
    ('bad', 'no'),
    ('fine', 'yes'),
]


def config_of(folder, **more):
    with open(folder / 'texts.jsonl', 'w') as file:
        file.writelines(json.dumps({'text': f'{text} {i}', 'label': label}) + '\n' for i in range(20) for text, label in TEXTS)
    data = {'source': f'labelled:{folder}/texts.jsonl', 'tokenizer': 'word', 'lowercase': True, 'seq_len': 8}
    return Config(
        data=DataConfig(**{**data, 'layout': 'documents', 'cache_dir': str(folder / 'cache'), **more}),
        model=RecurrentConfig(embedding=8, hidden=8, depth=1),
        objective=ObjectiveConfig(kind='classify', pooling='last'),
        optim=OptimConfig(schedule='constant', learning_rate=0.05),
        train=TrainConfig(steps=0, epochs=2, batch_size=8, eval_every=0, log_every=5),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder, outcome) of a run in folder/run."""
    folder = tmp_path_factory.mktemp('classifier')
    return folder, lmjax.train(config_of(folder), str(folder / 'run'), say=lambda line: None)


def test_a_run_learns_and_says_its_classes(trained):
    folder, outcome = trained
    assert outcome['accuracy'] == outcome['f1'] == outcome['mcc'] == 1.0
    assert outcome['texts'] == 12
    run = lmjax.load(str(folder / 'run'))
    assert run.config.objective.classes == ('no', 'yes')
    assert run.config.train.steps == 2 * 108 // 8
    again = lmjax.train(config_of(folder), str(folder / 'run'), say=lambda line: None)
    assert again['status'] == 'complete'


def test_the_worst_errors_are_in_the_report(tmp_path):
    (tmp_path / 'valid.csv').write_text('text,label\nso bad,yes\nfine,yes\n"a fine, fine day",no\nbad,no\n')
    config = config_of(tmp_path, valid_source=f'labelled:{tmp_path}/valid.csv')
    lmjax.train(
        dataclasses.replace(config, log=LogConfig(tensorboard=False, prompts=())), str(tmp_path / 'run'), say=lambda _: None
    )
    run = lmjax.load(str(tmp_path / 'run'))
    wrong = [row for row in run.tell(config.data.valid_source) if row['told'] != row['label']]
    assert sorted(row['text'] for row in wrong) == ['a fine, fine day', 'so bad']
    errors = json.loads((tmp_path / 'run' / 'run.json').read_text())['errors']
    for row, expected in zip(errors, sorted(wrong, key=lambda row: -row['loss_nats']), strict=True):
        assert row == {name: expected[name] for name in ('text', 'label', 'told')} | {
            'loss_nats': pytest.approx(expected['loss_nats'])
        }
    page = (tmp_path / 'run' / 'report.html').read_text()
    assert '<td>a fine, fine day</td><td>no</td><td>yes</td>' in page
    assert 'probability of what is told' in page


def test_it_predicts_what_evaluation_reads(trained):
    folder, _ = trained
    run, texts = lmjax.load(str(folder / 'run')), ['A Fine, fine day at the sea with many words', 'bad']
    found = run.predict(texts)
    assert [one['label'] for one in found] == ['yes', 'no']
    (folder / 'asked.csv').write_text('text,label\n' + '\n'.join(f'"{text}",no' for text in texts * 8))
    scores = run.evaluate(source=f'labelled:{folder}/asked.csv')
    assert scores['confusion'] == [[8, 8], [0, 0]]
    expected = -np.log([one['probabilities']['no'] for one in found]).mean()
    np.testing.assert_allclose(scores['loss_nats'], expected, rtol=1e-5)


def test_it_tells_each_text_of_a_source(trained):
    folder, _ = trained
    run = lmjax.load(str(folder / 'run'))
    (folder / 'told.csv').write_text('text,label\nA Fine day,yes\n"so BAD, bad",yes\n')
    source = f'labelled:{folder}/told.csv'
    first, second = run.tell(source)
    assert (first['text'], first['label'], first['told']) == ('a fine day', 'yes', 'yes')
    assert (second['label'], second['told']) == ('yes', 'no')
    for row in (first, second):
        assert row['loss_nats'] == pytest.approx(-np.log(row['probabilities']['yes']))
    assert run.evaluate(source=source)['loss_nats'] == pytest.approx((first['loss_nats'] + second['loss_nats']) / 2, rel=1e-5)
    (folder / 'strange.csv').write_text('text,label\nfine,maybe\n')
    with pytest.raises(UsageError, match="label='maybe'"):
        run.tell(f'labelled:{folder}/strange.csv')
    with pytest.raises(UsageError, match='needs a source labelled'):
        run.tell('stdlib')


def test_a_language_model_becomes_a_classifier(trained, tmp_path):
    folder, _ = trained
    config = config_of(folder)
    reads = dataclasses.replace(config.data, source=f'jsonl:{folder}/texts.jsonl#text', layout='windows')
    learns = dataclasses.replace(config.train, epochs=0, steps=3)
    base = dataclasses.replace(config, data=reads, train=learns, objective=ObjectiveConfig(), seed=5)
    lmjax.train(base, str(tmp_path / 'base'), say=lambda line: None)
    frozen = dataclasses.replace(config.optim, learning_rate=1e-30)
    config = dataclasses.replace(config, model=RecurrentConfig(dropout=0.2), optim=frozen, train=learns)
    lmjax.finetune(config, str(tmp_path / 'tuned'), init=str(tmp_path / 'base'), say=lambda line: None)
    start, run = lmjax.load(str(tmp_path / 'base')), lmjax.load(str(tmp_path / 'tuned'))
    assert run.config.model == dataclasses.replace(start.config.model, dropout=0.2)
    jax.tree.map(np.testing.assert_array_equal, network_part(run.params), start.params)
    (tmp_path / 'base').rename(tmp_path / 'gone')  # a run that is under way needs it no longer
    again = lmjax.finetune(config, str(tmp_path / 'tuned'), init=str(tmp_path / 'base'), say=lambda line: None)
    assert again['status'] == 'complete'
    with pytest.raises(UsageError, match=r'objective\.kind'):
        start.predict(['bad'])
    with pytest.raises(UsageError, match='reads no labels'):
        start.evaluate(source=config.data.source)
    lmjax.finetune(config, str(tmp_path / 'third'), init=str(tmp_path / 'tuned'), say=lambda line: None)
    jax.tree.map(np.testing.assert_array_equal, network_part(lmjax.load(str(tmp_path / 'third')).params), start.params)


def test_a_classifier_is_scored_by_labels_and_not_exported(trained):
    run = lmjax.load(str(trained[0] / 'run'))
    for given in ({'text': 'bad'}, {'source': 'text:README.md'}):
        with pytest.raises(UsageError, match='scores texts with labels'):
            run.evaluate(**given)
    with pytest.raises(UsageError, match=r'objective\.kind'):
        export_folder(run.config, run.params, run.tokenizer, str(trained[0] / 'exported'))
    assert not (trained[0] / 'exported').exists()


@pytest.mark.parametrize(
    ('section', 'changes', 'field'),
    [
        ('data', {'source': 'stdlib'}, 'data.source'),
        ('data', {'layout': 'windows'}, 'data.layout'),
        ('objective', {'kind': 'causal'}, 'data.source'),
        ('objective', {'pooling': 'first'}, 'objective.pooling'),
        ('objective', {'pooling': 'pooler'}, 'objective.pooling'),
        ('train', {'carry': True}, 'train.carry'),
        ('train', {'metric': 'perplexity'}, 'train.metric'),
        ('train', {'load_best': True, 'keep_best': 0}, 'train.keep_best'),
        ('objective', {'classes': ('no', 'yes'), 'class_weights': (1.0,)}, 'objective.class_weights'),
        ('objective', {'class_weights': (1.0, 2.0)}, 'objective.class_weights'),
        ('objective', {'classes': ('no', 'yes'), 'class_weights': (0.0, 0.0)}, 'objective.class_weights'),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, section, changes, field):
    config = config_of(tmp_path)
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **changes)})
    with pytest.raises(UsageError, match=field.replace('.', r'\.')):
        validate(config)


def test_classes_weigh_alike_if_asked_to(tmp_path):
    """Of 108 training texts every third has `other`'s label: 72 and 36."""
    config = config_of(tmp_path)
    text = (tmp_path / 'texts.jsonl').read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    for number, row in enumerate(rows):
        row['label'] = 'yes' if number % 3 else 'no'
    (tmp_path / 'texts.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, balanced=True))
    lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    found = lmjax.load(str(tmp_path / 'run')).config
    np.testing.assert_allclose(found.objective.class_weights, (1.5, 0.75))
    assert lmjax.train(found, str(tmp_path / 'run'), say=lambda line: None)['status'] == 'complete'
    given = dataclasses.replace(config, objective=dataclasses.replace(found.objective, class_weights=(1.0, 1.0)))
    with pytest.raises(UsageError, match=r'objective\.balanced makes them'):
        lmjax.train(given, str(tmp_path / 'other'), say=lambda line: None)


@pytest.mark.parametrize('metric', ['loss_nats', 'accuracy'])
def test_the_best_checkpoint_is_kept_and_loaded(tmp_path, metric):
    config = config_of(tmp_path)
    optim = OptimConfig(optimizer='sgd', momentum=0.0, schedule='constant', learning_rate=30.0)  # comes and goes
    train = dataclasses.replace(config.train, epochs=12, eval_epochs=1, keep_latest=1, metric=metric, load_best=True)
    config = dataclasses.replace(config, optim=optim, train=train)
    said = []
    outcome = lmjax.train(config, str(tmp_path / 'run'), say=said.append)
    scores = {row['step']: row[metric] for row in read_metrics(str(tmp_path / 'run'), 'valid')}
    assert sorted(scores) == [step for step in range(14, 162) if step % 14 == 0] + [162]
    best = (max if metric == 'accuracy' else min)(scores.values())
    assert scores[162] != best
    assert outcome[metric] == best
    assert scores[outcome['step']] == best
    assert f'the best by {metric} is step {outcome["step"]}' in said
    run = lmjax.load(str(tmp_path / 'run'))
    assert run.evaluate()[metric] == pytest.approx(best, rel=1e-5)
    assert lmjax.load(str(tmp_path / 'run'), step=162).evaluate()[metric] == pytest.approx(scores[162], rel=1e-5)


def test_texts_of_like_length_share_a_batch(tmp_path):
    config = config_of(tmp_path, buckets=3)
    lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    run = lmjax.load(str(tmp_path / 'run'))
    plain = dataclasses.replace(
        run, config=dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, buckets=0))
    )
    found, expected = run.evaluate(), plain.evaluate()
    assert found['confusion'] == expected['confusion']
    assert found['loss_nats'] == pytest.approx(expected['loss_nats'], rel=1e-5)
    assert run.config.train.steps == 2 * 14  # the last batch of each epoch has room left


def test_named_classes_are_those_of_the_text(tmp_path):
    config = config_of(tmp_path)
    config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, classes=('no', 'maybe')))
    with pytest.raises(UsageError, match=r'objective\.classes'):
        lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    assert not (tmp_path / 'run').exists()


def test_a_classifier_alone_learns(trained, tmp_path):
    folder, _ = trained
    config = config_of(folder)
    config = dataclasses.replace(
        config, optim=dataclasses.replace(config.optim, rates=('classifier=1', '.=0'), weight_decay=0.1)
    )
    lmjax.finetune(config, str(tmp_path / 'run'), init=str(folder / 'run'), say=lambda line: None)
    start, run = lmjax.load(str(folder / 'run')), lmjax.load(str(tmp_path / 'run'))
    jax.tree.map(np.testing.assert_array_equal, network_part(run.params), network_part(start.params))
    assert run.evaluate()['accuracy'] == 1.0
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, rates=('clasifier=1', '.=0')))
    with pytest.raises(UsageError, match=r"optim\.rates='clasifier': matches no parameter"):
        lmjax.finetune(config, str(tmp_path / 'bad'), init=str(folder / 'run'), say=print)


def test_texts_whose_label_training_never_saw_can_be_left_out(trained):
    folder, _ = trained
    run = lmjax.load(str(folder / 'run'))
    (folder / 'strange.csv').write_text('text,label\nfine,maybe\nbad,no\n')
    source = f'labelled:{folder}/strange.csv'
    lenient = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, unseen_labels='leave_out'))
    lenient = dataclasses.replace(run, config=lenient)
    assert [row['text'] for row in lenient.tell(source)] == ['bad']
    scores = lenient.evaluate(source=source)
    assert (scores['texts'], scores['unseen_labels'], scores['accuracy']) == (1, 1, 1.0)
    assert 'unseen_labels' not in lenient.evaluate()
    with pytest.raises(UsageError, match=r'data\.unseen_labels=leave_out'):
        run.evaluate(source=source)
