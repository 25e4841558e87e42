"""Which tensors of a decoder's checkpoint are which parameters of ours."""

from __future__ import annotations

from typing import NamedTuple

from lmjax.interop.layouts import (
    FROM_HEADS,
    FROM_HEADS_PLAIN,
    HEADS_BIAS,
    QKV_BY_HEAD,
    QKV_BY_HEAD_BIAS,
    QKV_THIRDS,
    QKV_THIRDS_BIAS,
    SAME,
    TO_HEADS,
    TRANSPOSED,
    Layout,
)


class Name(NamedTuple):
    """One of their tensors; '{i}' stands for the layer in both names. Ours that a network lacks are left out with it."""

    theirs: str
    ours: tuple[str, ...]
    layout: Layout = SAME


def affine(theirs: str, ours: str, layers: str) -> tuple[Name, Name]:
    """A layer's norm: its weight and its bias."""
    return tuple(  # type: ignore[return-value]
        Name(f'{layers}.{{i}}.{theirs}.{kind}', (f'layers/{{i}}/{ours}/{name}',))
        for kind, name in (('weight', 'scale'), ('bias', 'bias'))
    )


def llama_names(*norms: tuple[str, str]) -> tuple[Name, ...]:
    def inner(theirs: str, ours: str, layout: Layout) -> Name:
        return Name(f'layers.{{i}}.{theirs}', (f'layers/{{i}}/{ours}',), layout)

    return (
        Name('embed_tokens.weight', ('embedding/tokens',)),
        *(inner(f'self_attn.{n}_proj.weight', f'attention/w_{n}', TO_HEADS) for n in 'qkv'),
        *(inner(f'self_attn.{n}_proj.bias', f'attention/b_{n}', HEADS_BIAS) for n in 'qkv'),
        inner('self_attn.o_proj.weight', 'attention/w_o', FROM_HEADS),
        inner('self_attn.o_proj.bias', 'attention/b_o', SAME),
        *(inner(f'self_attn.{n}_norm.weight', f'attention/{n}_norm', SAME) for n in 'qk'),
        *(inner(f'mlp.{n}_proj.weight', f'feed_forward/w_{n}', TRANSPOSED) for n in ('gate', 'up', 'down')),
        *(inner(f'mlp.{n}_proj.bias', f'feed_forward/b_{n}', SAME) for n in ('gate', 'up', 'down')),
        *(inner(f'{theirs}.weight', f'{ours}/scale', SAME) for theirs, ours in norms),
        Name('norm.weight', ('final_norm/scale',)),
    )


PRE = (('input_layernorm', 'attention_norm'), ('post_attention_layernorm', 'feed_forward_norm'))
BOTH = (
    ('input_layernorm', 'attention_norm'),
    ('post_attention_layernorm', 'attention_output_norm'),
    ('pre_feedforward_layernorm', 'feed_forward_norm'),
    ('post_feedforward_layernorm', 'feed_forward_output_norm'),
)


def qkv(kind: str) -> tuple[str, ...]:
    return tuple(f'layers/{{i}}/attention/{kind}_{n}' for n in 'qkv')


GPT2_NAMES = (
    Name('wte.weight', ('embedding/tokens',)),
    Name('wpe.weight', ('embedding/positions',)),
    *affine('ln_1', 'attention_norm', 'h'),
    Name('h.{i}.attn.c_attn.weight', qkv('w'), QKV_THIRDS),
    Name('h.{i}.attn.c_attn.bias', qkv('b'), QKV_THIRDS_BIAS),
    Name('h.{i}.attn.c_proj.weight', ('layers/{i}/attention/w_o',), FROM_HEADS_PLAIN),
    Name('h.{i}.attn.c_proj.bias', ('layers/{i}/attention/b_o',)),
    *affine('ln_2', 'feed_forward_norm', 'h'),
    Name('h.{i}.mlp.c_fc.weight', ('layers/{i}/feed_forward/w_up',)),
    Name('h.{i}.mlp.c_fc.bias', ('layers/{i}/feed_forward/b_up',)),
    Name('h.{i}.mlp.c_proj.weight', ('layers/{i}/feed_forward/w_down',)),
    Name('h.{i}.mlp.c_proj.bias', ('layers/{i}/feed_forward/b_down',)),
    Name('ln_f.weight', ('final_norm/scale',)),
    Name('ln_f.bias', ('final_norm/bias',)),
)
NEOX_NAMES = (
    Name('embed_in.weight', ('embedding/tokens',)),
    *affine('input_layernorm', 'attention_norm', 'layers'),
    *affine('post_attention_layernorm', 'feed_forward_norm', 'layers'),
    Name('layers.{i}.attention.query_key_value.weight', qkv('w'), QKV_BY_HEAD),
    Name('layers.{i}.attention.query_key_value.bias', qkv('b'), QKV_BY_HEAD_BIAS),
    Name('layers.{i}.attention.dense.weight', ('layers/{i}/attention/w_o',), FROM_HEADS),
    Name('layers.{i}.attention.dense.bias', ('layers/{i}/attention/b_o',)),
    Name('layers.{i}.mlp.dense_h_to_4h.weight', ('layers/{i}/feed_forward/w_up',), TRANSPOSED),
    Name('layers.{i}.mlp.dense_h_to_4h.bias', ('layers/{i}/feed_forward/b_up',)),
    Name('layers.{i}.mlp.dense_4h_to_h.weight', ('layers/{i}/feed_forward/w_down',), TRANSPOSED),
    Name('layers.{i}.mlp.dense_4h_to_h.bias', ('layers/{i}/feed_forward/b_down',)),
    Name('final_layer_norm.weight', ('final_norm/scale',)),
    Name('final_layer_norm.bias', ('final_norm/bias',)),
)
