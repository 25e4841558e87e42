"""How a decoder's config.json reads as a TransformerConfig, and back: a pair of functions for each family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmjax.config import UsageError, choose, require
from lmjax.models.attention import head_sizes
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import inner_width

Json = Mapping[str, Any]


def value(config: Json, *names: str) -> Any:
    """The first of the fields that is there and not null."""
    for name in names:
        if config.get(name) is not None:
            return config[name]
    raise UsageError(f'config.json: has no {names[0]}; a checkpoint of model_type={config.get("model_type")!r} needs it')


def only(config: Json, field: str, *accepted: Any) -> None:
    """Refuses values of a field (absent: the first accepted one) whose arithmetic we do not have."""
    found = config.get(field, accepted[0])
    known = ' or '.join(repr(choice) for choice in accepted)
    require(found in accepted, f'config.json: {field}', found, f'only {known} is known here')


# Sizes, ours -> theirs: the name that is written, and others that are read.
SIZES = {
    'width': ('hidden_size',),
    'depth': ('num_hidden_layers',),
    'heads': ('num_attention_heads',),
    'context': ('max_position_embeddings',),
}
GPT2_SIZES = {
    'width': ('n_embd', 'hidden_size'),
    'depth': ('n_layer', 'num_hidden_layers'),
    'heads': ('n_head', 'num_attention_heads'),
    'context': ('n_positions', 'max_position_embeddings'),
}


def sizes_read(config: Json, names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {ours: value(config, *theirs) for ours, theirs in names.items()}


def sizes_write(config: TransformerConfig, names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {theirs[0]: getattr(config, ours) for ours, theirs in names.items()}


def rotary_read(config: Json) -> dict[str, Any]:
    """Our rotary fields, from either generation of theirs (rope_theta and rope_scaling, or rope_parameters)."""
    new = config.get('rope_parameters') or {}
    scaling = new or config.get('rope_scaling') or {}
    kind = scaling.get('rope_type', scaling.get('type', 'default'))
    fields = {'rotary_base': float(new.get('rope_theta') or config.get('rope_theta') or 10000.0), 'position': 'rotary'}
    if kind == 'default':
        return fields
    require(kind in ('linear', 'llama3'), 'config.json: rope_type', kind, 'only default, linear and llama3 are known here')
    fields |= {'rotary_scaling': kind, 'rotary_factor': float(value(scaling, 'factor'))}
    if kind == 'llama3':
        fields |= {
            'rotary_low': float(value(scaling, 'low_freq_factor')),
            'rotary_high': float(value(scaling, 'high_freq_factor')),
            'rotary_original': int(value(scaling, 'original_max_position_embeddings')),
        }
    return fields


def rotary_write(config: TransformerConfig) -> dict[str, Any]:
    """The fields that every version of transformers reads."""
    c = config
    fields: dict[str, Any] = {'rope_theta': c.rotary_base}
    if c.rotary_scaling != 'none':
        fields['rope_scaling'] = {'rope_type': c.rotary_scaling, 'factor': c.rotary_factor}
    if c.rotary_scaling == 'llama3':
        fields['rope_scaling'] |= {
            'low_freq_factor': c.rotary_low,
            'high_freq_factor': c.rotary_high,
            'original_max_position_embeddings': c.rotary_original,
        }
    return fields


GATED = {'silu': 'swiglu', 'gelu': 'geglu', 'gelu_pytorch_tanh': 'geglu_tanh', 'gelu_new': 'geglu_tanh', 'relu': 'reglu'}
PLAIN = {'gelu_new': 'gelu_tanh', 'gelu_pytorch_tanh': 'gelu_tanh', 'gelu': 'gelu', 'relu': 'relu', 'silu': 'silu'}


def theirs_of(table: Mapping[str, str], ours: str) -> str:
    """The activation's name there; '' where they have none, which no config reads back as ours."""
    return next((name for name, own in table.items() if own == ours), '')


def llama_read(config: Json, **more: Any) -> TransformerConfig:
    """What Llama, Mistral, Qwen and Gemma share."""
    sizes = sizes_read(config, SIZES)
    return TransformerConfig(
        **{
            **sizes,
            'kv_heads': config.get('num_key_value_heads') or sizes['heads'],
            'head_width': config.get('head_dim') or sizes['width'] // sizes['heads'],
            'ff_width': value(config, 'intermediate_size'),
            'norm': 'rms',
            'norm_eps': value(config, 'rms_norm_eps'),
            'feed_forward': choose(GATED, value(config, 'hidden_act', 'hidden_activation'), 'config.json: hidden_act'),
            'tied': bool(config.get('tie_word_embeddings', False)),
            **rotary_read(config),
            **more,
        }
    )


def llama_write(config: TransformerConfig, **more: Any) -> dict[str, Any]:
    c = config
    _, kv_heads, head_width = head_sizes(c)
    return {
        **sizes_write(c, SIZES),
        'num_key_value_heads': kv_heads,
        'head_dim': head_width,
        'intermediate_size': inner_width(c),
        'rms_norm_eps': c.norm_eps,
        'hidden_act': theirs_of(GATED, c.feed_forward),
        'tie_word_embeddings': c.tied,
        'attention_dropout': 0.0,
        **rotary_write(c),
        **more,
    }


def biased_llama_read(config: Json) -> TransformerConfig:
    biases = {bool(config.get('attention_bias', False)), bool(config.get('mlp_bias', False))}
    require(len(biases) == 1, 'config.json: mlp_bias', config.get('mlp_bias'), 'only equal to attention_bias is known here')
    return llama_read(config, bias=biases.pop())


def mistral_read(config: Json) -> TransformerConfig:
    return llama_read(config, window=config.get('sliding_window') or 0)


def qwen2_read(config: Json) -> TransformerConfig:
    only(config, 'use_sliding_window', False)
    return llama_read(config, qkv_bias=True)


def qwen3_read(config: Json) -> TransformerConfig:
    only(config, 'use_sliding_window', False)
    only(config, 'attention_bias', False)
    return llama_read(config, qk_norm=True)


def gemma2_read(config: Json) -> TransformerConfig:
    only(config, 'attention_bias', False)
    depth = value(config, 'num_hidden_layers')
    kinds = ['full_attention' if i % 2 else 'sliding_attention' for i in range(depth)]
    only(config, 'layer_types', kinds, None)
    return llama_read(
        config,
        window=value(config, 'sliding_window'),
        global_every=2,
        attention_scale=value(config, 'query_pre_attn_scalar') ** -0.5,
        logit_cap=config.get('attn_logit_softcapping') or 0.0,
        final_logit_cap=config.get('final_logit_softcapping') or 0.0,
        norm='rms_plus_one',
        norm_place='both',
        feed_forward=choose(GATED, value(config, 'hidden_activation', 'hidden_act'), 'config.json: hidden_activation'),
        embed_scale=True,
        tied=bool(config.get('tie_word_embeddings', True)),
    )


def gemma2_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    _, _, head_width = head_sizes(c)
    scalar = (c.attention_scale or head_width**-0.5) ** -2
    return llama_write(
        c,
        hidden_activation=theirs_of(GATED, c.feed_forward),
        query_pre_attn_scalar=round(scalar) if abs(scalar - round(scalar)) < 1e-9 * scalar else scalar,
        sliding_window=c.window,
        attn_logit_softcapping=c.logit_cap or None,
        final_logit_softcapping=c.final_logit_cap or None,
    )


def gpt2_read(config: Json) -> TransformerConfig:
    only(config, 'scale_attn_weights', True)
    only(config, 'scale_attn_by_inverse_layer_idx', False)
    only(config, 'add_cross_attention', False)
    sizes = sizes_read(config, GPT2_SIZES)
    return TransformerConfig(
        **sizes,
        ff_width=config.get('n_inner') or 4 * sizes['width'],
        max_length=sizes['context'],
        position='learned',
        norm='layer',
        norm_eps=value(config, 'layer_norm_epsilon'),
        feed_forward=choose(PLAIN, value(config, 'activation_function'), 'config.json: activation_function'),
        tied=bool(config.get('tie_word_embeddings', True)),
        bias=True,
    )


def gpt2_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    return {
        **sizes_write(c, GPT2_SIZES),
        'n_inner': inner_width(c),
        'layer_norm_epsilon': c.norm_eps,
        'activation_function': theirs_of(PLAIN, c.feed_forward),
        'tie_word_embeddings': c.tied,
        **dict.fromkeys(('attn_pdrop', 'embd_pdrop', 'resid_pdrop'), c.dropout),
    }


def neox_read(config: Json) -> TransformerConfig:
    only(config, 'attention_bias', True)
    old = {'rope_theta': config.get('rotary_emb_base')}
    rotary = rotary_read({**old, **config})
    new = config.get('rope_parameters') or {}
    return TransformerConfig(
        **sizes_read(config, SIZES),
        ff_width=value(config, 'intermediate_size'),
        block='parallel' if config.get('use_parallel_residual', True) else 'sequential',
        rotary_fraction=new.get('partial_rotary_factor') or config.get('rotary_pct') or 0.25,
        norm='layer',
        norm_eps=value(config, 'layer_norm_eps'),
        feed_forward=choose(PLAIN, value(config, 'hidden_act'), 'config.json: hidden_act'),
        tied=bool(config.get('tie_word_embeddings', False)),
        bias=True,
        **rotary,
    )


def neox_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    rotary = rotary_write(c)
    return {
        **sizes_write(c, SIZES),
        'intermediate_size': inner_width(c),
        'use_parallel_residual': c.block == 'parallel',
        'rotary_pct': c.rotary_fraction,
        'rotary_emb_base': rotary['rope_theta'],
        'layer_norm_eps': c.norm_eps,
        'hidden_act': theirs_of(PLAIN, c.feed_forward),
        'tie_word_embeddings': c.tied,
        'attention_bias': True,
        **rotary,
    }


def biased_llama_write(config: TransformerConfig) -> dict[str, Any]:
    return llama_write(config, attention_bias=config.bias, mlp_bias=config.bias)


def mistral_write(config: TransformerConfig) -> dict[str, Any]:
    return llama_write(config, sliding_window=config.window or None)
