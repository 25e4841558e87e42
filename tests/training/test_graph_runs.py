"""Runs that learn a graph: trained, scored with what is known left out, asked, and refused."""

import dataclasses
import json

import numpy as np
import pytest

import lmjax
from lmjax import (
    Config,
    DataConfig,
    GraphConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    UsageError,
)
from lmjax.training.validate import validate

PEOPLE = [f'person{i}' for i in range(12)]
NEXT = [(PEOPLE[i], 'before', PEOPLE[(i + 1) % 12]) for i in range(12)]
SKIP = [(PEOPLE[i], 'two before', PEOPLE[(i + 2) % 12]) for i in range(12)]
LIKES = [(PEOPLE[i], 'likes', PEOPLE[j]) for i in range(4) for j in (4, 5)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp('graph')
    held_out = [SKIP[3], SKIP[8], LIKES[5]]
    for name, rows in (('train', [row for row in NEXT + SKIP + LIKES if row not in held_out]), ('test', held_out)):
        (found / f'{name}.tsv').write_text('\n'.join(map('\t'.join, rows)))
    return found


def config_of(folder, **more):
    model = GraphConfig(scoring='rotate', width=32)
    return Config(**{
        'data': DataConfig(
            source=f'triples:{folder}/train.tsv', valid_source=f'triples:{folder}/test.tsv#{folder}/train.tsv',
            tokenizer='word', seq_len=3, layout='documents', cache_dir=str(folder / 'cache'),
        ),
        'model': model,
        'objective': ObjectiveConfig(kind='link'),
        'optim': OptimConfig(schedule='constant', learning_rate=0.03),
        'train': TrainConfig(steps=300, batch_size=16, eval_every=0, log_every=100, metric='mrr'),
        'log': LogConfig(tensorboard=False, prompts=()),
        **more,
    })  # fmt: skip


@pytest.fixture(scope='module')
def trained(folder):
    said = []
    return str(folder / 'run'), lmjax.train(config_of(folder), str(folder / 'run'), say=said.append), said


def test_a_run_learns_links_that_it_never_saw(trained):
    _, outcome, said = trained
    assert outcome['mrr'] > 0.8
    assert outcome['texts'] == 6
    assert any('mrr' in line and 'hits@10' in line for line in said if line.startswith('validation: '))


def test_what_is_known_is_no_wrong_answer(trained, folder):
    workdir, outcome, _ = trained
    run = lmjax.load(workdir)
    raw = run.evaluate(source=f'triples:{folder}/test.tsv')
    assert raw['mrr'] < outcome['mrr'] == run.evaluate()['mrr']


def test_it_tells_tails(trained, folder):
    workdir, _, _ = trained
    run = lmjax.load(workdir)
    found, many = run.predict(['person3\ttwo before', 'person3 likes'])
    assert found['tail'] == 'person5'
    assert found['probabilities']['person5'] == max(found['probabilities'].values())
    assert len(found['probabilities']) == 10
    assert set(list(many['probabilities'])[:2]) == {'person4', 'person5'}
    rows = run.tell(f'triples:{folder}/test.tsv')
    assert [row['label'] for row in rows[:2]] == [SKIP[3][2], SKIP[3][0]]
    losses = run.evaluate(source=f'triples:{folder}/test.tsv')['loss_nats']
    np.testing.assert_allclose(np.mean([row['loss_nats'] for row in rows]), losses, rtol=1e-4)
    json.dumps(rows)
    with pytest.raises(UsageError, match="training never saw 'nobody'"):
        run.predict(['nobody\tlikes'])


@pytest.mark.slow
def test_a_language_model_of_triples_learns_them_as_well(folder):
    model = RecurrentConfig(embedding=16, hidden=16, depth=1)
    optim = OptimConfig(schedule='constant', learning_rate=0.01)
    outcome = lmjax.train(config_of(folder, model=model, optim=optim), str(folder / 'lstm'), say=lambda line: None)
    run = lmjax.load(str(folder / 'lstm'))
    assert run.evaluate(source=f'triples:{folder}/train.tsv#{folder}/train.tsv')['mrr'] > 0.9
    assert 0 < outcome['mrr'] < 1


@pytest.mark.parametrize(
    ('section', 'change', 'message'),
    [
        ('data', {'tokenizer': 'byte'}, "data.tokenizer='byte': objective.kind='link' has a token for each name"),
        ('data', {'seq_len': 1}, 'data.seq_len=1'),
        ('data', {'source': 'text:x'}, "needs labels of its kind; use triples:GLOB"),
        ('data', {'layout': 'packed'}, "data.layout='packed'"),
        ('train', {'metric': 'accuracy'}, "train.metric='accuracy': no such choice; choose one of: loss_nats, mrr"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(folder, section, change, message):
    config = config_of(folder)
    with pytest.raises(UsageError, match=message):
        validate(dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **change)}))
