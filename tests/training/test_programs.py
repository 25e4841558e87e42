"""Runs of one structure share a program, and each is the run that it would be alone."""

import dataclasses
import json
import os

import jax
import numpy as np
import pytest

import lmjax
from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, RecurrentConfig, TrainConfig, TransformerConfig
from lmjax.training import program as programs_of
from lmjax.training.metrics import read_metrics
from lmjax.training.program import Programs, structure_of

NETWORKS = {
    'transformer': TransformerConfig(width=8, depth=1, heads=2, dropout=0.1),
    'lstm': RecurrentConfig(embedding=8, hidden=8, depth=1, dropout=0.1),
}


@pytest.fixture
def make(tmp_path):
    text = tmp_path / 'text.txt'
    text.write_text('\n'.join(f'{i} times {i % 7} is {i * (i % 7)}.' for i in range(400)))

    def make(network='transformer', seed=0, **given):
        optim = {'schedule': 'constant', 'learning_rate': 1e-2, 'weight_decay': 0.1} | given.pop('optim', {})
        train = {'steps': 4, 'batch_size': 4, 'eval_every': 2, 'log_every': 1} | given.pop('train', {})
        model = dataclasses.replace(NETWORKS[network], **given.pop('model', {}))
        return Config(
            seed=seed,
            data=DataConfig(source=f'text:{text}', seq_len=16, cache_dir=str(tmp_path / 'cache')),
            model=model,
            objective=ObjectiveConfig(**{'label_smoothing': 0.1} | given.pop('objective', {})),
            optim=OptimConfig(**optim),
            train=TrainConfig(**train),
            log=LogConfig(tensorboard=False, report=False, prompts=()),
        )

    return make


def what_it_left(workdir):
    run = lmjax.load(str(workdir))
    losses = [row['loss_nats'] for row in read_metrics(workdir) if row['split'] in ('train', 'valid')]
    return losses, jax.tree.leaves(run.params)


@pytest.mark.parametrize('network', sorted(NETWORKS))
def test_a_run_after_others_is_its_lone_run(make, tmp_path, network):
    """Seed, rates, dropout and smoothing of the runs before leave no trace in the program that they share."""
    first = make(network)
    other = make(
        network,
        seed=3,
        model={'dropout': 0.3, 'init_scale': 0.5},
        objective={'label_smoothing': 0.3},
        optim={'learning_rate': 3e-3, 'weight_decay': 0.5, 'beta1': 0.8},
    )
    assert structure_of(first) == structure_of(other)
    shared = Programs()
    for name, config in (('a', first), ('b', other)):
        lmjax.train(config, str(tmp_path / name), programs=shared)
    assert len(shared._made) == 1
    lmjax.train(other, str(tmp_path / 'alone'))
    (losses, params), (alone, own) = what_it_left(tmp_path / 'b'), what_it_left(tmp_path / 'alone')
    assert losses == alone != what_it_left(tmp_path / 'a')[0]
    for one, two in zip(params, own, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    'given',
    [
        {'model': {'width': 16}},
        {'model': {'dropout': 0.0}},  # what is off is not there at all
        {'optim': {'clip_norm': 1.0}},
        {'optim': {'optimizer': 'lion'}},
        {'train': {'steps': 5}},
        {'train': {'batch_size': 8}},
    ],
)
def test_another_structure_is_another_program(make, given):
    assert structure_of(make()) != structure_of(make(**given))


def test_cadences_seeds_and_rates_are_no_structure(make):
    other = make(seed=1, train={'eval_every': 1, 'keep_latest': 5}, optim={'learning_rate': 1.0})
    assert structure_of(make()) == structure_of(other)


def test_each_width_is_compiled_once(make, tmp_path, monkeypatch):
    """A second run of the structure traces nothing: neither step nor evaluation."""
    shared, traced = Programs(), []
    step = programs_of.train_step
    monkeypatch.setattr(programs_of, 'train_step', lambda *args, **how: (traced.append(1), step(*args, **how))[1])
    lmjax.train(make(), str(tmp_path / 'a'), programs=shared)
    before = len(traced)
    assert before > 0
    lmjax.train(make(seed=1), str(tmp_path / 'b'), programs=shared)
    assert len(traced) == before


def test_widths_that_come_later_are_compiled_then():
    done = []
    compile_all = programs_of._once_a_width(lambda: done.append('init'), done.append)
    compile_all([16, 32])
    compile_all([32, 64])
    compile_all([16])
    assert sorted(map(str, done)) == ['16', '32', '64', 'init']


def test_a_run_that_was_killed_before_it_said_what_came_out_says_it(make, tmp_path):
    workdir = tmp_path / 'run'
    lmjax.train(make(train={'patience': 1, 'steps': 40}, optim={'learning_rate': 3.0}), str(workdir))
    ended = read_metrics(workdir)
    told = json.loads((workdir / 'run.json').read_text())['outcome_step']
    assert told < 40
    os.remove(workdir / 'run.json')
    config = make(train={'patience': 1, 'steps': 40}, optim={'learning_rate': 3.0})
    assert lmjax.train(config, str(workdir))['steps'] == told
    assert json.loads((workdir / 'run.json').read_text())['outcome_step'] == told
    assert [row for row in read_metrics(workdir) if row['split'] == 'train'] == [
        row for row in ended if row['split'] == 'train'
    ]
