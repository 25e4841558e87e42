"""Encoder-decoders' objectives in runs: pairs are learned and scored, and what contradicts itself is refused."""

import dataclasses

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
from lmjax.data.corruptions import corruption_of
from lmjax.data.loader import batch_at
from lmjax.data.marks import Marks
from lmjax.data.store import memory_store
from lmjax.models import MODELS
from lmjax.training.metrics import read_metrics
from lmjax.training.step import count_tokens
from lmjax.training.validate import validate
from lmjax.types import Inputs

ROLES = ('separator', 'start', 'end')


@pytest.fixture
def sourced(monkeypatch):
    """In place of the recurrent network."""
    monkeypatch.setitem(MODELS, 'recurrent', 'bag_of_source:build')


def config_of(kind, **data):
    defaults = {'source': 'reverse:documents=300,length=4,symbols=3', 'tokenizer': 'char', 'specials': ROLES, 'seq_len': 15}
    return Config(
        data=DataConfig(**{**defaults, 'layout': 'documents', **data}),
        model=RecurrentConfig(),
        objective=ObjectiveConfig(kind=kind),
        optim=OptimConfig(schedule='constant', learning_rate=0.05),
        train=TrainConfig(steps=60, batch_size=16, eval_every=0, log_every=1),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
    )


def test_pairs_are_learned_and_scored(sourced, tmp_path):
    (tmp_path / 'pairs.tsv').write_text('a b c a\ta c b a\n' + 'a b ' * 9 + '\t' + 'b a ' * 9 + '\nc a b b\tb b a c\n')
    said = []
    config = config_of('seq2seq', cache_dir=str(tmp_path / 'cache'))
    outcome = lmjax.train(config, str(tmp_path / 'run'), say=said.append)
    assert not any('leaves out' in line for line in said)
    assert outcome['loss_nats'] < 0.1
    assert outcome['accuracy'] > 0.97
    assert outcome['tokens'] == 30 * 8
    assert outcome['bits_per_byte'] is None
    assert read_metrics(str(tmp_path / 'run'), 'train')[0]['tokens'] == 16 * (8 + 8)
    run = lmjax.load(str(tmp_path / 'run'))
    assert run.evaluate()['loss_nats'] == pytest.approx(outcome['loss_nats'], rel=1e-5)
    right, wrong = run.evaluate('a b c a\ta c b a'), run.evaluate('a b c a\tb c b a')
    assert right['tokens'] == wrong['tokens'] == 8
    assert right['loss_nats'] < 0.2 < wrong['loss_nats']
    found = run.evaluate(source=f'pairs:{tmp_path}/pairs.tsv')
    assert (found['tokens'], found['pairs_left_out']) == (16, 1)
    for scored, message in (
        ({'text': 'a b c a'}, r"text='a b c a': the objective 'seq2seq' scores pairs; give SOURCE<TAB>TARGET"),
        (
            {'source': 'copy:documents=9'},
            r"source='copy:documents=9': the objective 'seq2seq' reads pairs; use pairs:GLOB",
        ),
        ({'source': 'reverse:length=9,symbols=3'}, r'data\.seq_len=15: none of the .* pairs fits; with 35 every one does'),
    ):
        with pytest.raises(UsageError, match=message):
            run.evaluate(**scored)


def test_a_run_says_which_pairs_it_leaves_out(tmp_path):
    lines = ['a b c a\ta c b a\n'] * 20 + ['a b ' * 9 + '\t' + 'b a ' * 9 + '\n', 'c a\ta c\n', 'c a\ta c\n', 'c a\ta c\n']
    (tmp_path / 'pairs.tsv').write_text(''.join(lines))
    config = config_of('seq2seq', source=f'pairs:{tmp_path}/pairs.tsv', cache_dir=str(tmp_path / 'cache'))
    config.train = dataclasses.replace(config.train, steps=1)
    config.log = dataclasses.replace(config.log, prompts=('a b ' * 9, 'a b'))
    config.model = TransformerConfig(width=8, depth=1, encoder_depth=1, heads=2)
    config.sample = SamplingConfig(max_new_tokens=2)
    said = []
    lmjax.train(config, str(tmp_path / 'run'), say=said.append)
    samples = (tmp_path / 'run' / 'samples.txt').read_text()
    assert 'source=37: tokens, and the network reads 15; shorten it' in samples  # and the run ended as it should
    assert "--- sample 1 of 'a b'" in samples
    assert 'data.seq_len=15 leaves out 1 of the 4 valid pairs; with 73 every one fits' in said


REFUSED = {
    'layout': (
        'seq2seq',
        {'layout': 'windows'},
        r"data\.layout='windows': objective\.kind='seq2seq' reads whole pairs; use",
    ),
    'packed': ('spans', {'layout': 'packed', 'sentinels': 9}, r"data\.layout='packed': .* use 'documents' or 'windows'"),
    'source': ('seq2seq', {'source': 'copy'}, r"data\.source='copy': objective\.kind='seq2seq' reads pairs; use pairs:GLOB"),
    'separator': ('seq2seq', {'specials': ('start', 'end')}, r"data\.specials=\('start', 'end'\): .*; add 'separator'"),
    'pairs': (
        'spans',
        {'specials': ('start', 'end'), 'sentinels': 9},
        r"data\.source='reverse.* has pairs.*; add 'separator'",
    ),
    'ends': ('spans', {'specials': (), 'sentinels': 9}, r"data\.specials=\(\): a decoder needs .*'start'; add 'start', 'end'"),
    'sentinels': ('spans', {'sentinels': 1, 'seq_len': 60}, r'data\.sentinels=1: .* up to 3 spans, .*; set data\.sentinels=3'),
    'short': ('spans', {'sentinels': 1, 'seq_len': 1}, r"data\.seq_len=1: objective\.kind='spans' hides one token of two"),
    'mask': ('denoise', {}, r"data\.specials=\('separator', 'start', 'end'\): the objective needs a token for 'mask'"),
    'objective': (
        'causal',
        {},
        r"objective\.kind='causal': gives this network no source to read; use spans",
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_contradicts_itself_is_refused(sourced, case):
    kind, data, message = REFUSED[case]
    with pytest.raises(UsageError, match=message):
        validate(config_of(kind, **data))


def test_what_belongs_together_is_not_refused(sourced):
    for kind, data in (
        ('spans', {'sentinels': 3, 'seq_len': 60}),
        ('denoise', {'specials': (*ROLES, 'mask'), 'layout': 'windows'}),
        ('seq2seq', {'tokenizer': 'byte', 'specials': ('separator',)}),
        ('spans', {'source': 'copy', 'tokenizer': 'bpe', 'specials': (), 'sentinels': 3, 'seq_len': 60, 'layout': 'windows'}),
    ):
        validate(config_of(kind, **data))


def test_a_network_without_an_encoder_is_refused():
    config = config_of('seq2seq')
    for model in (RecurrentConfig(), TransformerConfig(causal=False), TransformerConfig()):
        config.model = model
        with pytest.raises(UsageError, match=r"objective\.kind='seq2seq': .* which this network does not read; choose an enc"):
            validate(config)


def test_tokens_of_sources_are_counted():
    marks = Marks(np.ones(9, bool), {'separator': 1}, start=0, end=0)
    documents = [np.array([5, 6, 1, 7]), np.array([5, 1, 7, 7, 7])]
    store = memory_store(documents, text_bytes=0, vocab_size=9, separator_id=0, paired=True)
    data = DataConfig(seq_len=8, layout='documents')
    batch = batch_at(store, data, 0, seed=0, batch_size=2, corrupt=corruption_of(ObjectiveConfig(kind='seq2seq'), marks))
    counted = jax.jit(count_tokens)
    assert counted(batch.inputs) == (3 + 2) + (2 + 4)
    assert counted(batch.inputs._replace(source_mask=None, segments=None)) == 2 * 8 + 2 * 8
    assert counted(Inputs(batch.inputs.ids)) == 2 * 8
