"""How an encoder-decoder's config.json reads as a TransformerConfig, and back: a pair of functions for each family."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from lmjax.config import choose, require
from lmjax.interop.decoder_configs import PLAIN, Json, only, sizes_read, sizes_write, theirs_of, value
from lmjax.models.attention import head_sizes
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import inner_width

T5_SIZES = {
    'width': ('d_model',),
    'encoder_depth': ('num_layers',),
    'heads': ('num_heads',),
    'head_width': ('d_kv',),
    'ff_width': ('d_ff',),
    'relative_buckets': ('relative_attention_num_buckets',),
    'norm_eps': ('layer_norm_epsilon',),
}
# 'gated-gelu' means the tanh form there.
T5_FEED_FORWARDS = {
    'relu': 'relu',
    'gated-gelu': 'geglu_tanh',
    'gated-gelu_new': 'geglu_tanh',
    'gated-silu': 'swiglu',
    'gated-relu': 'reglu',
    'gelu_new': 'gelu_tanh',
    'gelu': 'gelu',
    'silu': 'silu',
}
BART_SIZES = {
    'width': ('d_model',),
    'depth': ('decoder_layers',),
    'encoder_depth': ('encoder_layers',),
    'heads': ('decoder_attention_heads',),
    'ff_width': ('decoder_ffn_dim',),
    'context': ('max_position_embeddings',),
}
ALIKE = ('attention_heads', 'ffn_dim')  # what both stacks of a BART must have of the same size here


def t5_read(config: Json) -> TransformerConfig:
    """Version 1.0 scales the states before the head and 1.1 does not, which `tie_word_embeddings` told at first."""
    only(config, 'is_encoder_decoder', True)
    is_scaled = bool(config.get('scale_decoder_outputs', config.get('tie_word_embeddings') is not False))
    depth = config.get('num_decoder_layers')
    return TransformerConfig(
        **sizes_read(config, T5_SIZES),
        depth=value(config, 'num_layers') if depth is None else depth,
        relative_distance=config.get('relative_attention_max_distance') or 128,  # older ones do not say it
        context=config.get('n_positions') or 512,
        position='relative',
        attention_scale=1.0,
        norm='rms',
        feed_forward=choose(T5_FEED_FORWARDS, config.get('feed_forward_proj', 'relu'), 'config.json: feed_forward_proj'),
        head_scale=is_scaled,
        tied=is_scaled,
    )


def t5_held(config: TransformerConfig, names: Collection[str]) -> TransformerConfig:
    """Version 1.1's head is its own, unless the checkpoint has none."""
    return config if config.tied else dataclasses.replace(config, tied='lm_head.weight' not in names)


def t5_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    _, _, head_width = head_sizes(c)
    return {
        **sizes_write(dataclasses.replace(c, head_width=head_width, ff_width=inner_width(c)), T5_SIZES),
        'num_decoder_layers': c.depth,
        'relative_attention_max_distance': c.relative_distance,
        'n_positions': c.context,
        'feed_forward_proj': theirs_of(T5_FEED_FORWARDS, c.feed_forward),
        'tie_word_embeddings': c.head_scale,
        'dropout_rate': c.dropout,
        'is_encoder_decoder': True,
    }


def bart_read(config: Json) -> TransformerConfig:
    only(config, 'is_encoder_decoder', True)
    only(config, 'normalize_before', False)
    only(config, 'add_final_layer_norm', False)
    only(config, 'tie_word_embeddings', True)
    for part in ALIKE:
        theirs, own = (value(config, f'{stack}_{part}') for stack in ('encoder', 'decoder'))
        require(theirs == own, f'config.json: encoder_{part}', theirs, f'only equal to decoder_{part}={own} is known here')
    sizes = sizes_read(config, BART_SIZES)
    return TransformerConfig(
        **sizes,
        max_length=sizes['context'],
        unused_positions=2,  # written in its code
        embed_scale=bool(config.get('scale_embedding', False)),
        embed_norm=True,
        position='learned',
        norm='layer',
        norm_place='post',
        final_norm=False,
        feed_forward=choose(PLAIN, value(config, 'activation_function'), 'config.json: activation_function'),
        tied=True,
        bias=True,
    )


def bart_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    sizes = sizes_write(dataclasses.replace(c, ff_width=inner_width(c)), BART_SIZES)
    return {
        **sizes,
        **{f'encoder_{part}': sizes[f'decoder_{part}'] for part in ALIKE},
        'forced_eos_token_id': None,  # theirs would be forced at the end of every text unless it is said
        'scale_embedding': c.embed_scale,
        'activation_function': theirs_of(PLAIN, c.feed_forward),
        'tie_word_embeddings': True,
        'dropout': c.dropout,
        'attention_dropout': c.dropout,
        'is_encoder_decoder': True,
    }
