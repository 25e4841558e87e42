"""Runs that were trained on pairs answer texts: what they say is what one search each would find, however they travel."""

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
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.generate import targets
from lmjax.generate.text import generate_text

TEXTS = ['a b', 'c a b a c', 'b', 'c c b a', 'a a a', 'b a c a b a', 'c']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """One that says short strings backwards, mostly."""
    folder = tmp_path_factory.mktemp('pairs')
    source = 'reverse:documents=600,length=4,symbols=3'
    data = {'tokenizer': 'char', 'specials': ('separator', 'start', 'end'), 'layout': 'documents'}
    lmjax.train(
        Config(
            data=DataConfig(source=source, seq_len=16, cache_dir=str(folder / 'cache'), **data),
            model=TransformerConfig(width=32, depth=1, encoder_depth=1, heads=2, position='relative', init='fan_in'),
            objective=ObjectiveConfig(kind='seq2seq'),
            optim=OptimConfig(learning_rate=5e-3, schedule='cosine', warmup_steps=10, clip_norm=1.0),
            train=TrainConfig(steps=400, batch_size=32, eval_every=0, log_every=100),
            log=LogConfig(tensorboard=False, report=False, prompts=()),
            sample=SamplingConfig(max_new_tokens=12),
        ),
        str(folder / 'run'),
        say=lambda line: None,
    )
    return lmjax.load(str(folder / 'run'))


def with_sampling(run, **fields):
    return dataclasses.replace(run, config=dataclasses.replace(run.config, sample=SamplingConfig(**fields)))


def test_it_says_strings_backwards(run):
    told = run.tell('reverse:documents=40,length=4,symbols=3,seed=7')
    assert all(row['label'] == row['text'][::-1] for row in told)
    assert np.mean([row['told'] == row['label'] for row in told]) > 0.9
    assert all(row.keys() == {'text', 'label', 'told'} for row in told)


@pytest.mark.parametrize('sampling', [{'greedy': True}, {'num_beams': 3}, {'num_beams': 2, 'length_penalty': 0.0}])
def test_many_at_once_are_told_as_one_by_one(run, monkeypatch, sampling):
    """In batches of unlike length and number, with rows that only fill up."""
    monkeypatch.setattr(targets, 'ROWS', 4)
    asked = with_sampling(run, max_new_tokens=12, **sampling)
    expected = [generate_text(run.model, run.params, run.tokenizer, text, asked.config.sample, context=16)[0] for text in TEXTS]
    assert [row['target'] for row in asked.predict(TEXTS)] == expected
    assert len(set(expected)) > 4


def test_an_answer_is_never_drawn(run):
    """A config that samples, and would draw several, is answered as a greedy one; a stop string cuts."""
    drawn = with_sampling(run, max_new_tokens=12, temperature=9.0, top_p=0.9, num_samples=3, seed=5)
    assert drawn.predict(TEXTS) == run.predict(TEXTS) == with_sampling(run, max_new_tokens=12, greedy=True).predict(TEXTS)
    cut = with_sampling(run, max_new_tokens=12, stop=(' ',)).predict(TEXTS)
    assert [row['target'] for row in cut] == [row['target'].partition(' ')[0] for row in run.predict(TEXTS)]


def test_few_programs_serve_many_texts(run):
    many = with_sampling(run, max_new_tokens=12, num_beams=2)
    texts = [' '.join(np.random.default_rng(i).choice(list('abc'), 1 + i % 7)) for i in range(100)]
    before = targets.search.__globals__['_search']._cache_size()
    assert len(many.predict(texts)) == 100
    assert targets.search.__globals__['_search']._cache_size() - before <= 2  # full batches, and the last one


def test_a_source_is_read_as_in_training_and_cut(run):
    long = ' '.join('abc' * 9)
    ids = targets.sources_of(run.tokenizer, [long, 'a b'], 16)
    assert [len(row) for row in ids] == [16, 4]
    assert all(row[-1] == run.tokenizer.specials['end'] for row in ids)
    assert run.predict([long])[0] == run.predict([long[:15]])[0]
    assert run.predict(['a\tb']) == run.predict(['a b'])


def test_what_has_no_answer_is_refused(run, tmp_path):
    for call, message in (
        (lambda: run.predict(['']), "text='': has no token; leave it out"),
        (lambda: run.tell('copy:documents=9'), 'what is told of each text reads pairs; use pairs:GLOB'),
        (lambda: run.tell(''), "source='': what is told of each text reads pairs"),
        (lambda: with_sampling(run, num_beams=2).predict(['a']), r'sample\.max_new_tokens=200: .*ask for 15 or fewer'),
    ):
        with pytest.raises(UsageError, match=message):
            call()
    plain = dataclasses.replace(run, config=dataclasses.replace(run.config, objective=ObjectiveConfig(kind='causal')))
    with pytest.raises(UsageError, match=r'tells nothing of a text; train one with: .*seq2seq.*classify'):
        plain.predict(['a'])


def test_pairs_of_files_are_told_whole(run, tmp_path):
    """Those too long to be scored too."""
    rows = [{'en': 'a b', 'it': 'b a'}, {'en': ' '.join('abc' * 9), 'it': 'c'}, {'en': 'c b', 'it': 'b c'}]
    (tmp_path / 'p.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    source = f'jsonl:{tmp_path}/p.jsonl#en,it@0-1/3'
    assert [row['label'] for row in run.tell(source)] == ['b a', 'c']
    assert run.evaluate(source=source)['pairs_left_out'] == 1
