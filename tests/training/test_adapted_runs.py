"""Runs that change a network beside its parameters: what they keep, go on from and are loaded as; and what is refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import lmjax
from lmjax import (
    AdaptConfig,
    Config,
    DataConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    UsageError,
)
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.validate import validate

SOURCE = 'copy:length=4,documents=60'


def config_of(adapt=None, **train):
    return Config(
        name='tiny',
        data=DataConfig(source=SOURCE, seq_len=16, tokenizer='library' if adapt else 'char'),
        model=RecurrentConfig(hidden=6, embedding=4, depth=1),
        optim=OptimConfig(schedule='constant', learning_rate=3e-2),
        adapt=adapt or AdaptConfig(),
        train=TrainConfig(**{'steps': 4, 'batch_size': 4, 'eval_every': 2, 'log_every': 1, 'keep_latest': 4} | train),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
    )


def lora(**fields):
    return AdaptConfig(**{'kind': 'lora', 'rank': 2} | fields)


def train(config, workdir, **kwargs):
    said = []
    return lmjax.train(config, str(workdir), say=said.append, **kwargs), '\n'.join(said)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp('base') / 'run'
    train(config_of(), folder)
    return folder


def params_equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_run_keeps_what_it_learned_and_is_loaded_as_a_whole_network(base, tmp_path):
    outcome, said = train(config_of(lora()), tmp_path / 'run', init_from=str(base))
    assert '116 parameters beside 385, ' in said  # LSTM: rank 2 x ((4 + 24) + (6 + 24)), and as many biases stay
    manifest = Checkpointer(tmp_path / 'run' / 'checkpoints').manifest(4)
    kept = [path for path in manifest.leaves if path.startswith('params/')]
    assert sorted(path.split('/')[-1] for path in kept) == ['lora_a', 'lora_a', 'lora_b', 'lora_b']
    assert not any('embedding' in path for path in manifest.leaves)  # of the optimizer neither
    run, before = lmjax.load(str(tmp_path / 'run')), lmjax.load(str(base))
    assert jax.tree.structure(run.params) == jax.tree.structure(before.params)
    np.testing.assert_array_equal(run.params['embedding']['tokens'], before.params['embedding']['tokens'])
    assert np.abs(run.params['layers']['0']['w_x'] - before.params['layers']['0']['w_x']).max() > 1e-3
    assert run.evaluate()['loss_nats'] == pytest.approx(outcome['loss_nats'], rel=1e-6)
    assert outcome['loss_nats'] < before.evaluate()['loss_nats'] - 0.01


def test_a_run_goes_on_where_it_was_as_if_it_had_not_stopped(base, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    train(config_of(lora(kind='dora')), whole, init_from=str(base))
    train(config_of(lora(kind='dora'), steps=2), parts, init_from=str(base))
    train(config_of(lora(kind='dora')), parts, extend=True, init_from=str(base))
    params_equal(*(lmjax.load(str(folder)).params for folder in (whole, parts)))


def test_a_run_is_the_same_over_devices(base, tmp_path):
    one, four = tmp_path / 'one', tmp_path / 'four'
    config = config_of(lora(kind='dora'))
    train(config, one, init_from=str(base))
    config.mesh.fsdp, config.mesh.tensor = 2, 2
    train(config, four, init_from=str(base))
    params = (lmjax.load(str(folder)).params for folder in (one, four))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *params)


def test_the_best_step_is_the_outcome_where_it_is_asked_for(base, tmp_path):
    config = config_of(lora(), steps=6, load_best=True)
    config.optim.learning_rate = 0.3  # soon too much
    outcome, said = train(config, tmp_path / 'run', init_from=str(base))
    steps = Checkpointer(tmp_path / 'run' / 'checkpoints')
    assert steps.best() != 6, said
    assert lmjax.load(str(tmp_path / 'run')).evaluate()['loss_nats'] == pytest.approx(outcome['loss_nats'], rel=1e-6)


def test_mixout_of_nothing_is_plain_training_and_of_much_the_same_however_it_is_accumulated(base, tmp_path):
    def learned(name, adapt, **given):
        config = config_of(adapt, **given)
        config.data = dataclasses.replace(config.data, tokenizer='library')
        train(config, tmp_path / name, init_from=str(base))
        return lmjax.load(str(tmp_path / name)).params

    plain, nothing = learned('plain', None), learned('nothing', AdaptConfig(kind='mixout', mix=0.0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), plain, nothing)
    much, parts = (learned(str(n), AdaptConfig(kind='mixout', mix=0.5), accumulate=n) for n in (1, 2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), much, parts)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(*map(jax.tree.leaves, (plain, much)), strict=True))


def test_a_change_of_a_changed_network_begins_at_that(base, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    train(config_of(lora()), first, init_from=str(base))
    config = config_of(lora(kind='ia3'))
    config.optim.learning_rate = 1e-9
    train(config, second, init_from=str(first))
    one, two = (lmjax.load(str(folder)).params for folder in (first, second))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, two)


def test_a_classifier_is_learned_beside_the_change(base, tmp_path):
    rows = [{'text': text, 'label': 'ab'[number % 2]} for number, text in enumerate(['a b', 'c d'] * 20)]
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    config = config_of(lora(whole=('layers/0/b$',)), steps=30, metric='accuracy')
    config.data = dataclasses.replace(config.data, source=f'labelled:{tmp_path}/rows.jsonl', layout='documents')
    config.objective = ObjectiveConfig(kind='classify')
    outcome = lmjax.finetune(config, str(tmp_path / 'run'), init=str(base), say=lambda line: None)
    assert outcome['accuracy'] == 1.0
    assert lmjax.load(str(tmp_path / 'run')).predict(['a b'])[0]['label'] == 'a'


def test_a_base_that_is_gone_or_another_is_refused_until_it_is_back(base, tmp_path):
    place, run = tmp_path / 'base', tmp_path / 'run'
    shutil.copytree(base, place)
    train(config_of(lora(), steps=2), run, init_from=str(place))
    shutil.move(place, tmp_path / 'elsewhere')
    for act in (lambda: lmjax.load(str(run)), lambda: train(config_of(lora()), run, extend=True, init_from=str(place))):
        with pytest.raises(UsageError, match=r"^adapt\.base='.*base': holds no checkpoints; name the --workdir"):
            act()
    other = config_of()
    other.seed = 1
    train(other, place)
    for act in (lambda: lmjax.load(str(run)), lambda: train(config_of(lora()), run, extend=True, init_from=str(place))):
        with pytest.raises(UsageError, match=r"^adapt\.base='.*base': is not the network that the run in .* has learned from"):
            act()
    assert train(config_of(lora()), run, extend=True, init_from=str(tmp_path / 'elsewhere'))[0]['steps'] == 4


@pytest.mark.parametrize(
    ('adapt', 'message'),
    [
        (AdaptConfig(rank=4), r'adapt\.rank=4: is read only with adapt\.kind; set that, or leave it out'),
        (lora(rank=0), r'adapt\.rank=0: use 1 or more, as 8'),
        (lora(kind='mixout', mix=1.0), r'adapt\.mix=1\.0: use a number in \[0, 1\), as 0\.7'),
        (lora(alpha=0.0), r'adapt\.alpha=0\.0: must be above 0; try 16\.0'),
        (lora(targets=('w_q',)), r"adapt\.targets='w_q': matches no parameter; choose one of: "),
    ],
)
def test_fields_that_cannot_be_are_refused(adapt, message):
    with pytest.raises(UsageError, match=message):
        validate(dataclasses.replace(config_of(), adapt=adapt))


def test_what_is_changed_must_be_named_once(base, tmp_path):
    with pytest.raises(UsageError, match=r"adapt\.kind='lora': changes a network that there is; name it with --init or"):
        train(config_of(lora()), tmp_path / 'run')
    with pytest.raises(UsageError, match=r"adapt\.base='a': the run starts from 'b'; name one network, in one place"):
        train(config_of(lora(base='a')), tmp_path / 'run', init_from='b')
