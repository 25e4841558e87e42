"""Runs on several languages: told apart by vectors, scored one by one, and asked to go on in one."""

import dataclasses
import json

import jax
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
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.models import build
from lmjax.training.validate import validate
from lmjax.types import Inputs

NETWORKS = {
    'lstm': RecurrentConfig(embedding=8, hidden=16, depth=1, token_types=2),
    'transformer': TransformerConfig(width=16, depth=1, heads=2, token_types=2),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two languages that begin alike and end otherwise."""
    folder = tmp_path_factory.mktemp('languages')
    for name, end in (('a', 'x'), ('b', 'y')):
        (folder / f'{name}.jsonl').write_text('\n'.join(json.dumps({'text': f'{n % 5}{end}'}) for n in range(60)))
    return folder


def config_of(folder, name='lstm'):
    source = f'languages:a=jsonl:{folder}/a.jsonl#text@0-9/10;b=jsonl:{folder}/b.jsonl#text@0-9/10'
    return Config(
        data=DataConfig(
            source=source, valid_source=source, tokenizer='byte', seq_len=8, layout='documents', cache_dir=str(folder / 'cache')
        ),
        model=NETWORKS[name],
        objective=ObjectiveConfig(kind='languages'),
        optim=OptimConfig(schedule='constant', learning_rate=2e-2),
        train=TrainConfig(steps=300, batch_size=16, eval_every=0, log_every=100),
        sample=SamplingConfig(max_new_tokens=4, greedy=True),
        log=LogConfig(tensorboard=False, report=False, prompts=('3',)),
    )  # fmt: skip


@pytest.mark.parametrize('name', NETWORKS)
def test_a_run_tells_languages_apart_and_goes_on_in_each(folder, tmp_path, name):
    lmjax.train(config_of(folder, name), str(tmp_path / 'run'), say=lambda line: None)
    run = lmjax.load(str(tmp_path / 'run'))
    assert run.config.objective.classes == ('a', 'b')
    said = [run.generate('3', language=language, greedy=True, max_new_tokens=4) for language in ('a', 'b', '')]
    assert said == [['x'], ['y'], ['x']]
    own, other = (run.evaluate(source=f'languages:{name}=jsonl:{folder}/a.jsonl#text') for name in 'ab')
    assert own['bits_per_byte'] < other['bits_per_byte'] - 1
    whole, b = run.evaluate(), run.evaluate(source=f'languages:b=jsonl:{folder}/b.jsonl#text')
    parts = sum(one['loss_nats'] * one['tokens'] for one in (own, b))
    assert whole['loss_nats'] * whole['tokens'] == pytest.approx(parts, rel=1e-4)
    plain = dataclasses.replace(run, config=dataclasses.replace(run.config, objective=ObjectiveConfig()))
    for language, who in (('c', run), ('a', plain)):
        with pytest.raises(UsageError, match=r'sample\.language='):
            who.generate('3', language=language)


@pytest.mark.parametrize('name', NETWORKS)
def test_a_language_is_a_vector_that_is_added_to_those_of_tokens(name):
    model = build(NETWORKS[name], vocab_size=7, seq_len=4)
    params = jax.jit(model.init)(jax.random.key(0), {})
    ids, types = np.array([[1, 2, 3, 4]]), np.array([[1, 1, 1, 1]])
    found = model.apply(params, Inputs(ids, types=types)).hidden
    own = params['embedding']
    moved = {**own, 'tokens': own['tokens'] + own['types'][1:2], 'types': 0 * own['types']}
    np.testing.assert_allclose(found, model.apply({**params, 'embedding': moved}, Inputs(ids)).hidden, rtol=1e-5, atol=1e-6)
    plain = build(dataclasses.replace(NETWORKS[name], token_types=0), vocab_size=7, seq_len=4)
    assert set(jax.eval_shape(plain.init, jax.random.key(0), {})['embedding']) == set(own) - {'types'}


def test_what_cannot_be_is_refused(folder, tmp_path):
    config = config_of(folder)
    config.model = dataclasses.replace(config.model, token_types=1)
    with pytest.raises(UsageError, match=r'model\.token_types=1: the text has 2 languages; use that many, or 0'):
        lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    for section, name, value, message in (
        ('data', 'balance', 1.5, r'data\.balance=1\.5: use a number in \[0, 1\]'),
        ('data', 'layout', 'packed', "reads whole texts; use 'documents'"),
        ('objective', 'kind', 'causal', 'reads no labels; use languages'),
        ('model', 'embedding', 0, r'model\.token_types=2: is added to an embedding, which there is none of'),
    ):
        config = config_of(folder)
        part = dataclasses.replace(getattr(config, section), **{name: value})
        with pytest.raises(UsageError, match=message):
            validate(dataclasses.replace(config, **{section: part}))
    plain = dataclasses.replace(config_of(folder), objective=ObjectiveConfig())
    text = {'source': f'text:{folder}/a.jsonl', 'valid_source': '', 'layout': 'windows'}
    plain.data = dataclasses.replace(plain.data, balance=0.5, **text)
    with pytest.raises(UsageError, match=r'data\.balance=0\.5: is for a source languages:'):
        validate(plain)
