"""The table of published networks: their sizes, and that each family trains."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.families import FAMILIES, KINDS, PUBLISHED
from lmjax.types import Inputs

# Of the released checkpoints, a tied head counted once; each publisher's own figure.
COUNTS = {
    'gpt2': 124_439_808,
    'gpt2-medium': 354_823_168,
    'gpt2-large': 774_030_080,
    'gpt2-xl': 1_557_611_200,
    'pythia-70m': 70_426_624,
    'pythia-160m': 162_322_944,
    'pythia-410m': 405_334_016,
    'pythia-1b': 1_011_781_632,
    'pythia-1.4b': 1_414_647_808,
    'pythia-2.8b': 2_775_208_960,
    'pythia-6.9b': 6_857_302_016,
    'pythia-12b': 11_846_072_320,
    'gpt-neox-20b': 20_554_567_680,
    'llama-7b': 6_738_415_616,
    'llama-13b': 13_015_864_320,
    'llama2-7b': 6_738_415_616,
    'llama2-70b': 68_976_648_192,
    'llama3-8b': 8_030_261_248,
    'llama3.1-8b': 8_030_261_248,
    'llama3.2-1b': 1_235_814_400,
    'llama3.2-3b': 3_212_749_824,
    'mistral-7b': 7_241_732_096,
    'qwen2.5-0.5b': 494_032_768,
    'qwen2.5-1.5b': 1_543_714_304,
    'qwen2.5-3b': 3_085_938_688,
    'qwen2.5-7b': 7_615_616_512,
    'qwen3-0.6b': 596_049_920,
    'qwen3-1.7b': 1_720_574_976,
    'qwen3-4b': 4_022_468_096,
    'qwen3-8b': 8_190_735_360,
    'gemma2-2b': 2_614_341_888,
    'gemma2-9b': 9_241_705_984,
    'gemma2-27b': 27_227_128_320,
    'smollm2-135m': 134_515_008,
    'smollm2-360m': 361_821_120,
    'smollm2-1.7b': 1_711_376_384,
    't5-small': 60_506_624,
    't5-base': 222_903_552,
    't5-large': 737_668_096,
    't5-3b': 2_851_598_336,
    't5-11b': 11_307_321_344,
    't5-v1.1-small': 76_961_152,
    't5-v1.1-base': 247_577_856,
    't5-v1.1-large': 783_150_080,
    't5-v1.1-xl': 2_849_757_184,
    't5-v1.1-xxl': 11_135_332_352,
    'bart-base': 139_420_416,
    'bart-large': 406_291_456,
    'seq2seq_2017': 44_140_544 + 10_000 * 512,  # PyTorch's nn.Transformer, and one table for source, target and head
    'transformer_learned': (10_000 + 512) * 512 + 6 * 3_152_384 + 1024,
}
# Encoder with pooler, as BertModel and its kin count; without their heads.
ENCODERS = {
    'bert-base': 109_482_240,
    'bert-large': 335_141_888,
    'roberta-base': 124_645_632,
    'roberta-large': 355_359_744,
    'distilbert-base': 66_362_880,  # without a pooler, which it never has
    'minilm-l6': 22_713_216,
    'minilm-l12': 33_360_000,
}
ROUNDED = {name: name.partition('-')[2] for name in PUBLISHED if name.startswith('gpt3-')}


def parameters(name, **changes):
    family = FAMILIES[name]
    config = dataclasses.replace(family.model, **changes)
    ends = bool(config.encoder_depth and config.max_length)  # both sides of an encoder-decoder have a token more than the text
    model = build(config, vocab_size=family.vocab_size, seq_len=family.context - ends)
    shapes = jax.eval_shape(model.init, jax.random.key(0), {})
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in jax.tree.leaves(shapes))


def test_every_published_network_has_a_count():
    assert set(PUBLISHED) == set(COUNTS) | set(ENCODERS) | set(ROUNDED)


@pytest.mark.parametrize('name', COUNTS)
def test_the_published_count(name):
    assert parameters(name) == COUNTS[name]


@pytest.mark.parametrize('name', ENCODERS)
def test_the_published_count_of_an_encoder(name):
    bare = {'head_transform': 'none', 'head_bias': False, 'classes': 0, 'pooler': name != 'distilbert-base'}
    assert parameters(name, **bare) == ENCODERS[name]


@pytest.mark.parametrize('name', ROUNDED)
def test_gpt3_is_as_large_as_its_name_says(name):
    number, unit = ROUNDED[name][:-1], ROUNDED[name][-1]
    np.testing.assert_allclose(parameters(name), float(number) * {'m': 1e6, 'b': 1e9}[unit], rtol=0.02)


FIRST, SOON = {'bert'}, {'gpt2', 'gemma2', 't5', 'bart'}  # at once, and in the slow step; the others wait for the full run


def when(kind):
    return [] if kind in FIRST else [pytest.mark.slow if kind in SOON else pytest.mark.full]


@pytest.mark.parametrize('kind', [pytest.param(kind, marks=when(kind)) for kind in KINDS])
def test_a_tiny_one_learns_a_text_by_heart(kind):
    """Also a check that shrinking keeps what makes the family: the fields that differ are sizes."""
    config, published = FAMILIES[f'{kind}-tiny'].model, FAMILIES[KINDS[kind]].model
    sizes = {'width', 'depth', 'encoder_depth', 'heads', 'kv_heads', 'head_width', 'ff_width', 'max_length', 'window'}
    for field in dataclasses.fields(config):
        if field.name not in sizes | {'rotary_original'}:
            assert getattr(config, field.name) == getattr(published, field.name), field.name
    small = dataclasses.replace(config, width=32, depth=2, head_width=8 if config.head_width else 0, ff_width=48, window=0)
    small = dataclasses.replace(small, global_every=0, encoder_depth=min(2, config.encoder_depth))
    model = build(small, vocab_size=32, seq_len=16)
    params = jax.jit(model.init)(jax.random.key(0), {})
    ids = jnp.asarray(np.random.default_rng(0).permutation(32)[None, :17], jnp.int32)
    inputs = Inputs(ids[:, :-1], source_ids=ids[:, ::-1] if model.traits.sourced else None)

    def loss(params):
        return -model.score(params, model.apply(params, inputs).hidden, ids[:, 1:]).logprob.mean()

    @jax.jit
    def step(params, speed):
        value, slope = jax.value_and_grad(loss)(params)
        speed = jax.tree.map(lambda v, g: 0.9 * v + jnp.sign(g) * 0.1, speed, slope)
        return jax.tree.map(lambda p, v: p - 0.01 * v, params, speed), speed, value

    speed, first = jax.tree.map(jnp.zeros_like, params), loss(params)
    for _ in range(80):
        params, speed, value = step(params, speed)
    assert first > 3.0
    assert value < 0.3, value


def test_a_preset_leaves_the_table_as_it_is():
    get_config = importlib.import_module('configs.family').get_config
    config = get_config('gpt2-xl')
    config.model.width = 1
    assert get_config('gpt2-xl').model.width == 1600
    with pytest.raises(UsageError, match=r"family='gpt-2': no such choice; choose one of: gpt2, "):
        get_config('gpt-2')
