"""Runs that fill gaps: trained on texts cut at random, asked with both sides of a gap, and scored beside others."""

import json
import math

import numpy as np
import pytest

import lmjax
from lmjax import (
    Config,
    DataConfig,
    LogConfig,
    NgramConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)  # fmt: skip
from lmjax.generate.likelihoods import continuation_likelihoods

MODELS = [
    TransformerConfig(width=32, depth=2, heads=2, position='rotary', norm='rms', qk_norm=True),
    RecurrentConfig(embedding=32, hidden=64, depth=1),
]
SIDES = [(p, s) for p in range(5) for s in range(5)]


def texts():
    """Digits p and s, and between them the letter of s, which only what stands after it tells."""
    return [(f'({p}', chr(97 + s), f'{s})') for p, s in SIDES]


def config_of(folder, **changed):
    rows = [{'text': p + m + s, 'prefix': p, 'middle': m, 'suffix': s} for p, m, s in texts()]
    (folder / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows * 8)))
    given = {
        'data': DataConfig(
            source=f'jsonl:{folder}/rows.jsonl#text', valid_source=f'jsonl:{folder}/rows.jsonl#text', tokenizer='byte',
            specials=('prefix', 'suffix', 'middle'), seq_len=12, layout='documents', cache_dir=str(folder / 'cache'),
        ),
        'model': MODELS[0],
        'objective': ObjectiveConfig(kind='infill', infill_rate=0.8),
        'optim': OptimConfig(optimizer='muon', schedule='linear', learning_rate=1e-2, warmup_steps=20, momentum=0.95),
        'train': TrainConfig(steps=600, batch_size=64, eval_every=0, log_every=100),
        'sample': SamplingConfig(max_new_tokens=3),
        'log': LogConfig(tensorboard=False, report=False, prompts=()),
    }  # fmt: skip
    return Config(**{**given, **changed})


@pytest.mark.slow
@pytest.mark.parametrize('model', MODELS)
def test_a_run_learns_to_fill_gaps_from_both_sides(tmp_path, model):
    lmjax.train(config_of(tmp_path, model=model), str(tmp_path / 'run'), say=lambda line: None)
    run = lmjax.load(str(tmp_path / 'run'))
    told = run.tell(f'infill:{tmp_path}/rows.jsonl@0-24/200')
    assert [row['label'] for row in told] == [middle for _, middle, _ in texts()]
    assert np.mean([row['told'] == row['label'] for row in told]) > 0.9
    assert run.predict(['["(3", "4)"]'])[0]['middle'] == told[SIDES.index((3, 4))]['told']
    found = run.evaluate(source=f'infill:{tmp_path}/rows.jsonl')
    assert (found['tokens'], found['bytes']) == (400, 200)
    assert found['bits_per_byte'] < 1
    plain = run.evaluate('(3k4)')
    assert plain['tokens'] == 6  # with what ends the text before, and this one
    with pytest.raises(UsageError, match='give a JSON list of what stands before and after it'):
        run.predict(['(3'])


def test_who_has_not_learned_gaps_is_scored_on_the_middle_after_the_prefix(tmp_path):
    (tmp_path / 'texts.jsonl').write_text(40 * '{"text": "ab\\ncd"}\n')
    data = DataConfig(
        source=f'jsonl:{tmp_path}/texts.jsonl#text',
        tokenizer='byte',
        seq_len=8,
        layout='documents',
        cache_dir=str(tmp_path / 'c'),
    )
    train = TrainConfig(steps=1, batch_size=8)
    config = config_of(tmp_path, data=data, model=NgramConfig(order=3), objective=ObjectiveConfig(), train=train)
    lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
    run = lmjax.load(str(tmp_path / 'run'))
    rows = [{'prefix': 'a', 'middle': 'bx', 'suffix': 'cd'}, {'prefix': '', 'middle': 'ac', 'suffix': '\n'}]
    (tmp_path / 'gaps.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    found = run.evaluate(source=f'infill:{tmp_path}/gaps.jsonl')
    begin = [run.tokenizer.separator_id]
    asked = [(np.array([*begin, *row['prefix'].encode()]), np.array([*row['middle'].encode()])) for row in rows]
    scored = continuation_likelihoods(run.model, run.params, asked, context=None)
    nats = -sum(one.log_likelihood for one in scored)
    assert (found['tokens'], found['bytes']) == (4, 4)
    assert found['loss_nats'] == pytest.approx(nats / 4, rel=1e-5)
    assert found['bits_per_byte'] == pytest.approx(nats / 4 / math.log(2), rel=1e-5)
    assert [row['told'] for row in run.tell(f'infill:{tmp_path}/gaps.jsonl')] == ['b', 'ab']  # to the end of the line
    with pytest.raises(UsageError, match='this network tells nothing of a text'):
        run.predict(['["a", "b"]'])


@pytest.mark.parametrize(('changed', 'message'), [
    ({'data': {'specials': ()}}, r"data.specials=\(\): the objective needs a token for 'prefix'"),
    ({'data': {'layout': 'packed'}}, r"data.layout='packed': a row must be one text"),
    ({'data': {'seq_len': 3}}, r"data.seq_len=3: objective.kind='infill' adds 4 tokens to a text; use 4 or more"),
    ({'objective': {'infill_rate': 1.5}}, r'objective.infill_rate=1.5: use a share between 0 and 1'),
    ({'sample': {'max_new_tokens': 10}}, r'sample.max_new_tokens=10: leaves no room in 12 tokens'),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_training(tmp_path, changed, message):
    config = config_of(tmp_path)
    for section, fields in changed.items():
        for name, value in fields.items():
            setattr(getattr(config, section), name, value)
    with pytest.raises(UsageError, match=message):
        lmjax.train(config, str(tmp_path / 'run'), say=lambda line: None)
