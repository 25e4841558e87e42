"""Runs that tell captions: they learn colours from pictures made here, write captions and rank them."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

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
from lmjax.data.frames import PLACE, caption_ids, read_files
from lmjax.generate.captions import caption_scores
from lmjax.study.retrieval import read_captioned
from lmjax.training.validate import validate
from lmjax.types import Inputs

COLOURS = {'red': (220, 20, 20), 'green': (20, 200, 20), 'blue': (30, 30, 220), 'white': (240, 240, 240)}
NETWORKS = {
    'transformer': TransformerConfig(width=32, depth=1, heads=2),
    'lstm': RecurrentConfig(cell='lstm', embedding=32, hidden=64, depth=1),
}


def config_of(folder, model, **changes):
    return Config(
        data=DataConfig(
            source=f'pictures:{folder}/rows.jsonl@!0/10', valid_source=f'pictures:{folder}/rows.jsonl@0/10', tokenizer='char',
            specials=('start', 'end'), seq_len=20, layout='documents', picture_size=8, patch_size=4,
            cache_dir=str(folder / 'cache'),
        ),
        model=NETWORKS[model],
        objective=ObjectiveConfig(kind='caption'),
        optim=OptimConfig(schedule='linear', learning_rate=1e-2, warmup_steps=10),
        train=TrainConfig(steps=200, batch_size=32, eval_every=0, log_every=50),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
        **changes,
    )  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pictures of two colours, side by side, with some noise; the caption says both from the left."""
    folder, draw = tmp_path_factory.mktemp('captions'), np.random.default_rng(0)
    rows = []
    for number in range(240):
        left, right = draw.permutation(list(COLOURS))[:2]
        pixels = np.zeros((8, 8, 3))
        pixels[:, :4], pixels[:, 4:] = COLOURS[left], COLOURS[right]
        noisy = np.clip(pixels + draw.normal(0, 5, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f'P{number}.png')
        rows.append({'picture': f'P{number}.png', 'caption': f'{left} and {right}'})
    (folder / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope='module', params=['transformer', pytest.param('lstm', marks=pytest.mark.slow)])
def trained(folder, request):
    """(the run, its last validation record)."""
    workdir = str(folder / request.param)
    outcome = lmjax.train(config_of(folder, request.param), workdir, say=lambda line: None)
    return lmjax.load(workdir), outcome


def test_a_run_learns_to_tell_pictures_that_it_has_not_seen(folder, trained):
    run, outcome = trained
    assert outcome['accuracy'] > 0.95
    told = run.tell(f'pictures:{folder}/rows.jsonl@0/10')
    assert len(told) == 24
    assert np.mean([row['told'] == row['label'] for row in told]) > 0.9
    assert told[1]['text'].endswith('P10.png')
    names = [str(folder / f'P{number}.png') for number in (10, 20, 30)]
    assert [row['caption'] for row in run.predict(names)] == [row['told'] for row in told[1:4]]
    scored = run.evaluate(source=f'pictures:{folder}/rows.jsonl@0/10')
    assert scored['loss_nats'] == pytest.approx(outcome['loss_nats'], rel=1e-4)
    assert scored['tokens'] == sum(len(row['label']) + 1 for row in told)  # the end of each too, and no place of a frame


def test_captions_are_ranked_by_their_likelihood_behind_a_picture(folder, trained):
    run, _ = trained
    source = f'pictures:{folder}/rows.jsonl@0/10'
    paths, texts, right = read_captioned(run.config, source)
    assert (len(paths), texts) == (24, list(dict.fromkeys(texts)))
    frames = read_files(source, paths, run.config.data)
    scores = caption_scores(run.model, run.params, run.tokenizer, frames, texts, context=20)
    assert np.mean([own[0] == row.argmax() for own, row in zip(right, scores, strict=True)]) > 0.9
    row = np.concatenate([[PLACE] * 4, caption_ids(texts[1], run.tokenizer), [run.tokenizer.specials['end']]])[None]

    @jax.jit
    def told(inputs, ids):
        return run.model.score(run.params, run.model.apply(run.params, inputs).hidden, ids).logprob

    whole = told(Inputs(row[:, :-1], prefix=frames[5:6]), row[:, 1:])[0, 3:].sum()
    assert scores[5, 1] == pytest.approx(float(whole), abs=1e-3)


def test_an_answer_ends_with_the_context_and_beams_are_refused(folder, trained):
    run, _ = trained
    short = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, seq_len=9))
    found = dataclasses.replace(run, config=short).predict([str(folder / 'P10.png')])
    assert found[0]['caption'] == run.predict([str(folder / 'P10.png')])[0]['caption'][:6]
    beams = dataclasses.replace(run.config, sample=dataclasses.replace(run.config.sample, num_beams=2))
    with pytest.raises(UsageError, match=r'sample\.num_beams=2: captions are written greedily'):
        dataclasses.replace(run, config=beams).predict([str(folder / 'P10.png')])
    with pytest.raises(UsageError, match=r"file='no\.png': cannot be read as a picture"):
        run.predict(['no.png'])


@pytest.mark.slow
def test_a_run_starts_from_a_language_model_and_can_leave_it_as_it_is(folder, tmp_path):
    base = config_of(folder, 'transformer')
    text = dataclasses.replace(
        base,
        objective=ObjectiveConfig(),
        data=dataclasses.replace(base.data, source=f'jsonl:{folder}/rows.jsonl#caption', valid_source='', layout='windows'),
        train=dataclasses.replace(base.train, steps=2),
    )
    lmjax.train(text, str(tmp_path / 'text'), say=lambda line: None)
    frozen = dataclasses.replace(
        base,
        optim=dataclasses.replace(base.optim, rates=('frame_encoder=1', '.=0')),
        train=dataclasses.replace(base.train, steps=3),
    )
    lmjax.finetune(frozen, str(tmp_path / 'run'), init=str(tmp_path / 'text'), say=lambda line: None)
    before, after = (lmjax.load(str(tmp_path / name)).params for name in ('text', 'run'))
    encoder = after.pop('frame_encoder')
    assert np.abs(encoder['c']).max() > 0
    for name, leaf in before['embedding'].items():
        np.testing.assert_array_equal(leaf, after['embedding'][name])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data': {'layout': 'packed'}}, "data.layout='packed': .* reads whole texts; use 'documents'"),
        ({'data': {'source': 'labelled:x'}}, 'needs labels of its kind; use pictures:GLOB#PICTURE,CAPTION or sounds:'),
        ({'model': {'embedding': 0}}, "objective.kind='caption': puts frames where vectors of tokens stood"),
        ({'objective': {'kind': 'causal'}}, "objective.kind='causal' reads no labels; use caption"),
        ({'data': {'specials': ('start',)}}, "add 'end'"),
    ],
)
def test_configs_that_cannot_be_are_refused(tmp_path, changes, message):
    config = config_of(tmp_path, 'lstm')
    parts = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in changes.items()}
    with pytest.raises(UsageError, match=message):
        validate(dataclasses.replace(config, **parts))
