"""The published networks, each a row: a TransformerConfig, its vocabulary and its context.

Rows named `*-tiny` are of no one's making: a family's blocks at a size that trains on a laptop in seconds.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

from lmjax.models.config import TransformerConfig


class Family(NamedTuple):
    """One published network."""

    model: TransformerConfig
    vocab_size: int
    context: int  # the most tokens that it was trained to read at once


def gpt2(width: int, depth: int, heads: int, *, context: int = 1024) -> Family:
    """Radford et al. 2019, table 2; Brown et al. 2020, table 2.1 (GPT-3, whose sparse layers are dense here)."""
    model = TransformerConfig(
        width=width,
        depth=depth,
        heads=heads,
        max_length=context,
        position='learned',
        norm='layer',
        feed_forward='gelu_tanh',
        tied=True,
        bias=True,
    )
    return Family(model, vocab_size=50257, context=context)


gpt3 = partial(gpt2, context=2048)


def neox(width: int, depth: int, heads: int, *, vocab_size: int = 50304) -> Family:
    """Black et al. 2022 and Biderman et al. 2023, table 1 (Pythia)."""
    model = TransformerConfig(
        width=width,
        depth=depth,
        heads=heads,
        block='parallel',
        position='rotary',
        rotary_fraction=0.25,
        norm='layer',
        feed_forward='gelu',
        tied=False,
        bias=True,
    )
    return Family(model, vocab_size=vocab_size, context=2048)


def llama(
    width: int, depth: int, heads: int, kv_heads: int, ff_width: int, vocab_size: int, context: int, **more: Any
) -> Family:
    """Touvron et al. 2023 and what is built alike; `more` are fields of TransformerConfig."""
    fields: dict[str, Any] = {'position': 'rotary', 'norm': 'rms', 'feed_forward': 'swiglu', 'tied': False, **more}
    if kv_heads != heads:
        fields['kv_heads'] = kv_heads
    model = TransformerConfig(width=width, depth=depth, heads=heads, ff_width=ff_width, **fields)
    return Family(model, vocab_size=vocab_size, context=context)


# Grattafiori et al. 2024; the small ones of 3.2 stretch their context by more.
LLAMA3: dict[str, Any] = {'vocab_size': 128256, 'rotary_base': 500000.0}
STRETCHED: dict[str, Any] = {**LLAMA3, 'context': 131072, 'rotary_scaling': 'llama3', 'rotary_factor': 8.0}
SMALL: dict[str, Any] = {**STRETCHED, 'rotary_factor': 32.0, 'tied': True}
QWEN2: dict[str, Any] = {
    'vocab_size': 151936,
    'context': 32768,
    'rotary_base': 1e6,
    'norm_eps': 1e-6,
    'qkv_bias': True,
    'tied': True,
}
QWEN3: dict[str, Any] = {
    'vocab_size': 151936,
    'context': 40960,
    'rotary_base': 1e6,
    'norm_eps': 1e-6,
    'qk_norm': True,
    'head_width': 128,
    'tied': True,
}
SMOLLM2: dict[str, Any] = {'vocab_size': 49152, 'context': 8192, 'rotary_base': 100000.0, 'tied': True}


def gemma2(width: int, depth: int, heads: int, kv_heads: int, head_width: int, ff_width: int, scaled_by: int) -> Family:
    """Riviere et al. 2024, table 1; the attention logits are divided by sqrt(scaled_by)."""
    return llama(
        *(width, depth, heads, kv_heads, ff_width, 256000, 8192),
        head_width=head_width,
        attention_scale=scaled_by**-0.5,
        window=4096,
        global_every=2,
        norm='rms_plus_one',
        norm_place='both',
        norm_eps=1e-6,
        feed_forward='geglu_tanh',
        logit_cap=50.0,
        final_logit_cap=30.0,
        embed_scale=True,
        tied=True,
    )


def bert(width: int, depth: int, heads: int, vocab_size: int = 30522, context: int = 512, **more: Any) -> Family:
    """Devlin et al. 2019, section 3, and what is built alike; `more` are fields of TransformerConfig."""
    fields: dict[str, Any] = {
        'causal': False,
        'max_length': context,
        'position': 'learned',
        'token_types': 2,
        'embed_norm': True,
        'norm': 'layer',
        'norm_place': 'post',
        'norm_eps': 1e-12,
        'final_norm': False,
        'feed_forward': 'gelu',
        'tied': True,
        'bias': True,
        'head_bias': True,
        'head_transform': 'gelu',
        **more,
    }
    return Family(TransformerConfig(width=width, depth=depth, heads=heads, **fields), vocab_size, context)


PAIRED: dict[str, Any] = {'pooler': True, 'classes': 2}  # BERT tells whether one text follows another
ROBERTA: dict[str, Any] = {'vocab_size': 50265, 'token_types': 1, 'unused_positions': 2, 'norm_eps': 1e-5}


def t5(width: int, depth: int, heads: int, ff_width: int, head_width: int = 64, **more: Any) -> Family:
    """Raffel et al. 2020, section 2.1 and 3.7; `more` are fields of TransformerConfig."""
    fields: dict[str, Any] = {
        'encoder_depth': depth,
        'head_width': head_width,
        'ff_width': ff_width,
        'position': 'relative',
        'attention_scale': 1.0,
        'norm': 'rms',
        'norm_eps': 1e-6,
        'feed_forward': 'relu',
        'tied': True,
        'head_scale': True,
        **more,
    }
    return Family(TransformerConfig(width=width, depth=depth, heads=heads, **fields), vocab_size=32128, context=512)


T5_1_1: dict[str, Any] = {'feed_forward': 'geglu_tanh', 'tied': False, 'head_scale': False}  # Shazeer 2020, as released


def bart(width: int, depth: int, heads: int) -> Family:
    """Lewis et al. 2020, section 2.1."""
    fields: dict[str, Any] = {
        'max_length': 1024,
        'unused_positions': 2,
        'position': 'learned',
        'embed_norm': True,
        'norm': 'layer',
        'norm_place': 'post',
        'final_norm': False,
        'feed_forward': 'gelu',
        'bias': True,
    }
    model = TransformerConfig(width=width, depth=depth, encoder_depth=depth, heads=heads, **fields)
    return Family(model, vocab_size=50265, context=1024)


def textbook(**more: Any) -> Family:
    """Vaswani et al. 2017, table 3, as PyTorch's nn.Transformer computes it: a norm after each stack too."""
    fields: dict[str, Any] = {
        'width': 512,
        'depth': 6,
        'heads': 8,
        'ff_width': 2048,
        'norm': 'layer',
        'norm_place': 'post',
        'feed_forward': 'relu',
        'embed_scale': True,
        'bias': True,
        'dropout': 0.1,
        'init': 'xavier',
        **more,
    }
    return Family(TransformerConfig(**fields), vocab_size=10_000, context=512)


PUBLISHED = {
    'gpt2': gpt2(768, 12, 12),
    'gpt2-medium': gpt2(1024, 24, 16),
    'gpt2-large': gpt2(1280, 36, 20),
    'gpt2-xl': gpt2(1600, 48, 25),
    # The table's 24 heads of 128 in 1.3B and its width of 5140 in 13B do not fit together: 16 heads, and 5120.
    'gpt3-125m': gpt3(768, 12, 12),
    'gpt3-350m': gpt3(1024, 24, 16),
    'gpt3-760m': gpt3(1536, 24, 16),
    'gpt3-1.3b': gpt3(2048, 24, 16),
    'gpt3-2.7b': gpt3(2560, 32, 32),
    'gpt3-6.7b': gpt3(4096, 32, 32),
    'gpt3-13b': gpt3(5120, 40, 40),
    'gpt3-175b': gpt3(12288, 96, 96),
    'pythia-70m': neox(512, 6, 8),
    'pythia-160m': neox(768, 12, 12),
    'pythia-410m': neox(1024, 24, 16),
    'pythia-1b': neox(2048, 16, 8),
    'pythia-1.4b': neox(2048, 24, 16),
    'pythia-2.8b': neox(2560, 32, 32),
    'pythia-6.9b': neox(4096, 32, 32, vocab_size=50432),
    'pythia-12b': neox(5120, 36, 40, vocab_size=50688),
    'gpt-neox-20b': neox(6144, 44, 64, vocab_size=50432),
    'llama-7b': llama(4096, 32, 32, 32, 11008, 32000, 2048, norm_eps=1e-6),
    'llama-13b': llama(5120, 40, 40, 40, 13824, 32000, 2048, norm_eps=1e-6),
    'llama2-7b': llama(4096, 32, 32, 32, 11008, 32000, 4096),
    'llama2-70b': llama(8192, 80, 64, 8, 28672, 32000, 4096),
    'llama3-8b': llama(4096, 32, 32, 8, 14336, context=8192, **LLAMA3),
    'llama3.1-8b': llama(4096, 32, 32, 8, 14336, **STRETCHED),
    'llama3.2-1b': llama(2048, 16, 32, 8, 8192, **SMALL),
    'llama3.2-3b': llama(3072, 28, 24, 8, 8192, **SMALL),
    'mistral-7b': llama(4096, 32, 32, 8, 14336, 32000, 32768, window=4096),
    'qwen2.5-0.5b': llama(896, 24, 14, 2, 4864, **QWEN2),
    'qwen2.5-1.5b': llama(1536, 28, 12, 2, 8960, **QWEN2),
    'qwen2.5-3b': llama(2048, 36, 16, 2, 11008, **QWEN2),
    'qwen2.5-7b': llama(3584, 28, 28, 4, 18944, **{**QWEN2, 'vocab_size': 152064, 'tied': False}),
    'qwen3-0.6b': llama(1024, 28, 16, 8, 3072, **QWEN3),
    'qwen3-1.7b': llama(2048, 28, 16, 8, 6144, **QWEN3),
    'qwen3-4b': llama(2560, 36, 32, 8, 9728, **QWEN3),
    'qwen3-8b': llama(4096, 36, 32, 8, 12288, **{**QWEN3, 'tied': False}),
    'gemma2-2b': gemma2(2304, 26, 8, 4, 256, 9216, scaled_by=256),
    'gemma2-9b': gemma2(3584, 42, 16, 8, 256, 14336, scaled_by=256),
    'gemma2-27b': gemma2(4608, 46, 32, 16, 128, 36864, scaled_by=144),
    'smollm2-135m': llama(576, 30, 9, 3, 1536, **SMOLLM2),
    'smollm2-360m': llama(960, 32, 15, 5, 2560, **SMOLLM2),
    'smollm2-1.7b': llama(2048, 24, 32, 32, 8192, **{**SMOLLM2, 'rotary_base': 130000.0}),
    'bert-base': bert(768, 12, 12, **PAIRED),
    'bert-large': bert(1024, 24, 16, **PAIRED),
    'roberta-base': bert(768, 12, 12, **ROBERTA),  # Liu et al. 2019
    'roberta-large': bert(1024, 24, 16, **ROBERTA),
    'distilbert-base': bert(768, 6, 12, token_types=0),  # Sanh et al. 2019
    'minilm-l6': bert(384, 6, 12, **PAIRED),  # Wang et al. 2020, as all-MiniLM-L6-v2 has it
    'minilm-l12': bert(384, 12, 12, **PAIRED),
    't5-small': t5(512, 6, 8, 2048),
    't5-base': t5(768, 12, 12, 3072),
    't5-large': t5(1024, 24, 16, 4096),
    't5-3b': t5(1024, 24, 32, 16384, 128),
    't5-11b': t5(1024, 24, 128, 65536, 128),
    't5-v1.1-small': t5(512, 8, 6, 1024, **T5_1_1),
    't5-v1.1-base': t5(768, 12, 12, 2048, **T5_1_1),
    't5-v1.1-large': t5(1024, 24, 16, 2816, **T5_1_1),
    't5-v1.1-xl': t5(2048, 24, 32, 5120, **T5_1_1),
    't5-v1.1-xxl': t5(4096, 24, 64, 10240, **T5_1_1),
    'bart-base': bart(768, 6, 12),
    'bart-large': bart(1024, 12, 16),
    'seq2seq_2017': textbook(encoder_depth=6, position='sinusoidal'),
    'transformer_learned': textbook(position='learned'),
}


def tiny(family: Family) -> Family:
    """The same blocks at width 64 and depth 4, with grouped heads and windows where the family has them."""
    c = family.model
    model = dataclasses.replace(
        c,
        width=64,
        depth=4,
        encoder_depth=4 if c.encoder_depth else 0,
        heads=4,
        kv_heads=2 if c.kv_heads else 0,
        head_width=32 if c.head_width else 0,
        ff_width=176 if c.ff_width else 0,
        max_length=256 if c.max_length else 0,
        window=64 if c.window else 0,
        rotary_original=64 if c.rotary_scaling != 'none' else c.rotary_original,
    )
    return Family(model, vocab_size=512, context=256)


KINDS = {  # family -> one of its published networks
    'gpt2': 'gpt2',
    'pythia': 'pythia-70m',
    'llama': 'llama-7b',
    'llama3': 'llama3.2-1b',
    'mistral': 'mistral-7b',
    'qwen2.5': 'qwen2.5-0.5b',
    'qwen3': 'qwen3-0.6b',
    'gemma2': 'gemma2-2b',
    'smollm2': 'smollm2-135m',
    'bert': 'bert-base',
    'roberta': 'roberta-base',
    'distilbert': 'distilbert-base',
    't5': 't5-small',
    't5-v1.1': 't5-v1.1-small',
    'bart': 'bart-base',
    'seq2seq_2017': 'seq2seq_2017',
}

# name -> Family, for --config=configs/family.py:name
FAMILIES: dict[str, Family] = PUBLISHED | {f'{kind}-tiny': tiny(PUBLISHED[name]) for kind, name in KINDS.items()}
