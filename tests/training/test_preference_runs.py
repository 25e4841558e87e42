"""Runs that learn from pairs of answers: what they learn, what they stay near, and what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import lmjax
from lmjax import (
    AdaptConfig,
    Config,
    DataConfig,
    LogConfig,
    NgramConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.training.validate import validate

NETWORKS = {
    'lstm': RecurrentConfig(embedding=8, hidden=16, depth=1),
    'transformer': TransformerConfig(width=16, depth=1, heads=2),
}
QUIET = LogConfig(tensorboard=False, report=False, prompts=())


def prompts():
    return [f'{i}{j}' for i in range(5) for j in range(8)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Prompts of two digits: after an even one `a` is preferred, else `b`; and texts in which both are as likely."""
    folder = tmp_path_factory.mktemp('pairs')
    rows = [{'prompt': p, 'chosen': 'ab'[int(p) % 2] + '!', 'rejected': 'ba'[int(p) % 2] + '!'} for p in prompts()]
    (folder / 'pairs.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    texts = [{'text': p + answer + '!'} for p in prompts() for answer in 'ab']
    (folder / 'texts.jsonl').write_text('\n'.join(map(json.dumps, texts)))
    return folder


def language_model(folder, name):
    """The folder of a language model of the texts, trained once."""
    config = Config(
        data=DataConfig(
            source=f'jsonl:{folder}/texts.jsonl#text', tokenizer='byte', seq_len=16, layout='documents',
            cache_dir=str(folder / 'cache'),
        ),
        model=NETWORKS[name],
        optim=OptimConfig(schedule='constant', learning_rate=1e-2),
        train=TrainConfig(steps=20, batch_size=16, eval_every=0, log_every=20),
        log=QUIET,
    )  # fmt: skip
    workdir = str(folder / name)
    lmjax.train(config, workdir, say=lambda line: None)
    return workdir


def config_of(folder, preference='dpo', adapt=None, **train):
    return Config(
        data=DataConfig(
            source=f'preferred:{folder}/pairs.jsonl', valid_source=f'preferred:{folder}/pairs.jsonl@0-4/10',
            tokenizer='library', seq_len=16, layout='documents', cache_dir=str(folder / 'cache'),
        ),
        objective=ObjectiveConfig(kind='prefer', preference=preference, beta=0.3),
        optim=OptimConfig(schedule='constant', learning_rate=1e-2),
        adapt=adapt or AdaptConfig(),
        train=TrainConfig(**{'steps': 80, 'batch_size': 16, 'eval_every': 40, 'log_every': 20, 'keep_latest': 4} | train),
        log=QUIET,
    )  # fmt: skip


def learn(config, workdir, init, **given):
    return lmjax.finetune(config, str(workdir), init=init, say=lambda line: None, **given)


@pytest.mark.parametrize(
    ('name', 'preference'),
    [('lstm', 'dpo'), ('transformer', 'ipo'), pytest.param('transformer', 'orpo', marks=pytest.mark.slow)],
)
def test_a_run_learns_which_answer_is_preferred(folder, tmp_path, name, preference):
    start = language_model(folder, name)
    outcome = learn(config_of(folder, preference), tmp_path / 'run', start)
    assert outcome['accuracy'] > 0.9
    run, before = lmjax.load(str(tmp_path / 'run')), lmjax.load(start)
    refers = preference != 'orpo'
    assert run.config.objective.teacher == (start if refers else '')
    found = run.evaluate()
    assert {key: found[key] for key in ('accuracy', 'margin')} == pytest.approx(
        {key: outcome[key] for key in ('accuracy', 'margin')}
    )
    source = f'preferred:{folder}/pairs.jsonl@0/10'
    told, first = run.tell(source), before.tell(source)
    right = [np.mean([row['told'] == row['label'] for row in rows]) for rows in (first, told)]
    assert right[0] < 0.8 < right[1] == run.evaluate(source=source)['likelier']
    assert before.evaluate(source=source)['likelier'] == right[0]
    (answer,) = run.predict(['["34", "b!", "a!"]'])
    assert answer['preferred'] == 'second'
    assert answer['nats'][1] > answer['nats'][0]
    plain = run.evaluate('34')
    assert plain['tokens'] == 3


def test_it_begins_at_its_reference_and_goes_on_to_the_last_bit(folder, tmp_path):
    start = language_model(folder, 'lstm')
    first = learn(config_of(folder, steps=1, eval_every=1), tmp_path / 'first', start)
    assert abs(first['margin']) < 0.1
    one = [json.loads(line) for line in (tmp_path / 'first' / 'metrics.jsonl').read_text().splitlines()]
    assert next(row for row in one if row['split'] == 'train')['loss_nats'] == pytest.approx(np.log(2), rel=1e-4)
    learn(config_of(folder, steps=4, eval_every=2), tmp_path / 'whole', start)
    learn(config_of(folder, steps=2, eval_every=2), tmp_path / 'parts', start)
    learn(config_of(folder, steps=4, eval_every=2), tmp_path / 'parts', start, extend=True)
    whole, parts = (lmjax.load(str(tmp_path / name)).params for name in ('whole', 'parts'))
    for a, b in zip(*(map(np.asarray, jax.tree.leaves(tree)) for tree in (whole, parts)), strict=True):
        np.testing.assert_array_equal(a, b)
    other = language_model(folder, 'transformer')
    config = config_of(folder, steps=6, eval_every=2)
    config.objective.teacher = other
    with pytest.raises(UsageError, match=r"objective\.teacher='.*transformer': is not the network that the run in"):
        learn(config, tmp_path / 'whole', start, extend=True)


def test_what_is_adapted_is_the_reference(folder, tmp_path):
    start = language_model(folder, 'lstm')
    config = config_of(folder, adapt=AdaptConfig(kind='lora', rank=4, whole=('embedding', 'head')), steps=80)
    outcome = learn(config, tmp_path / 'run', start)
    assert outcome['accuracy'] > 0.8
    assert lmjax.load(str(tmp_path / 'run')).config.objective.teacher == start


@pytest.mark.parametrize(
    ('section', 'name', 'value', 'message'),
    [
        ('objective', 'preference', 'kto', r"objective\.preference='kto': no such choice; choose one of: dpo, ipo"),
        ('objective', 'beta', 0.0, r'objective\.beta=0\.0: must be above 0'),
        ('data', 'layout', 'packed', r"data\.layout='packed': .* use 'documents'"),
        ('data', 'source', 'labelled:x', r'needs labels of its kind; use preferred:GLOB#PROMPT,CHOSEN,REJECTED'),
    ],
)
def test_what_cannot_be_is_refused(folder, section, name, value, message):
    config = config_of(folder)
    config.model, config.objective.teacher = NETWORKS['lstm'], 'x'
    setattr(getattr(config, section), name, value)
    with pytest.raises(UsageError, match=message):
        validate(config)


def test_a_reference_is_asked_for_where_the_run_starts_from_nothing(folder, tmp_path):
    config = config_of(folder)
    config.model, config.data.tokenizer = NETWORKS['lstm'], 'byte'
    with pytest.raises(UsageError, match=r"^objective\.preference='dpo': holds to the network that it starts from"):
        learn(config, tmp_path / 'run', '')


def test_settings_that_a_preference_lacks_are_refused(folder):
    config = config_of(folder, 'orpo')
    config.model, config.objective.teacher = NETWORKS['lstm'], 'x'
    with pytest.raises(UsageError, match=r"objective\.teacher='x': is read by .*, and by 'prefer' with dpo or ipo"):
        validate(config)
    config.objective.teacher, config.objective.label_smoothing = '', 0.1
    with pytest.raises(UsageError, match=r"objective\.label_smoothing=0\.1: objective\.preference='orpo' has none"):
        validate(config)
    counted = dataclasses.replace(config, model=NgramConfig(), objective=ObjectiveConfig(kind='prefer', preference='orpo'))
    with pytest.raises(UsageError, match='is learned by gradient, and this network counts'):
        validate(counted)
