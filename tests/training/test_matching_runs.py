"""Runs that learn vectors of texts that belong together: trained, scored, searched with, and refused."""

import dataclasses
import itertools
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
from lmjax.training.validate import validate

WORDS = dict(zip('abcd', 'wxyz', strict=True))
ROWS = [(f'{one} {other}', f'{WORDS[one]} {WORDS[other]}') for one, other in itertools.permutations('abcd', 2)]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('matches')
    lines = (json.dumps({'text': text, 'match': match, 'wrong': match[::-1]}) for text, match in ROWS * 6)
    (folder / 'rows.jsonl').write_text('\n'.join(lines))
    source = f'matched:{folder}/rows.jsonl'
    return Config(
        data=DataConfig(
            source=f'{source}#text,match,wrong', valid_source=f'{source}#text,match,wrong@0-11/72', tokenizer='word',
            seq_len=12, layout='documents', cache_dir=str(folder / 'cache'),
        ),
        model=RecurrentConfig(embedding=16, hidden=32, depth=1),
        objective=ObjectiveConfig(kind='match', pooling='last', temperature=0.1),
        optim=OptimConfig(schedule='constant', learning_rate=0.02),
        train=TrainConfig(steps=0, epochs=30, batch_size=24, eval_batch_size=6, eval_every=0, log_every=50, metric='mrr'),
        log=LogConfig(tensorboard=False, prompts=()),
    )  # fmt: skip


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
    workdir = str(tmp_path_factory.mktemp('run'))
    said = []
    return workdir, lmjax.train(config, workdir, say=said.append), said


def test_a_run_learns_which_texts_belong_together(trained):
    workdir, outcome, said = trained
    assert (outcome['accuracy'], outcome['mrr'], outcome['texts']) == (1.0, 1.0, 12)
    assert any('mrr 1.000' in line for line in said if line.startswith('validation: '))
    run = lmjax.load(workdir)
    texts, matches = (np.asarray(run.embed(side)) for side in zip(*ROWS, strict=True))
    assert (np.argmax(texts @ matches.T, axis=1) == np.arange(len(ROWS))).all()


def test_others_are_scored_and_nothing_is_told_of_one_text(trained, config):
    workdir, _, _ = trained
    run = lmjax.load(workdir)
    two = run.evaluate(source=config.data.source.replace(',wrong', ''))
    three = run.evaluate(source=config.data.source)
    assert two['texts'] == three['texts'] == 72
    assert two['loss_nats'] < three['loss_nats']  # fewer to be told from
    with pytest.raises(UsageError, match='tells nothing of a text'):
        run.predict(['a b'])
    with pytest.raises(UsageError, match='scores texts with labels'):
        run.evaluate('a b')


@pytest.mark.parametrize(
    ('section', 'change', 'message'),
    [
        ('objective', {'pooling': 'first'}, "objective.pooling='first': the first token of this network has seen nothing"),
        ('objective', {'temperature': 0.0}, 'objective.temperature=0.0: must be above 0'),
        ('data', {'source': 'jsonl:x.jsonl'}, 'use matched:GLOB#TEXT,MATCH'),
        ('data', {'layout': 'packed'}, "data.layout='packed'"),
        ('train', {'batch_size': 1}, 'train.batch_size=1: a text is told from others'),
        ('train', {'accumulate': 2}, 'looks at the whole batch at once'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(config, section, change, message):
    part = dataclasses.replace(getattr(config, section), **change)
    with pytest.raises(UsageError, match=message):
        validate(dataclasses.replace(config, **{section: part}))


def test_a_pooler_knows_rows_and_not_their_texts(config):
    network = TransformerConfig(causal=False, width=8, depth=1, heads=2, pooler=True)
    pooled = dataclasses.replace(config, model=network, objective=ObjectiveConfig(kind='match', pooling='pooler'))
    with pytest.raises(UsageError, match=r"objective.pooling='pooler': takes a row for one text"):
        validate(pooled)
