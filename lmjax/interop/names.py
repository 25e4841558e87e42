"""Which tensors of a checkpoint are which parameters of ours."""

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


def linear(theirs: str, ours: str, weight: Layout = TRANSPOSED, bias: Layout = SAME) -> tuple[Name, Name]:
    """A dense layer's matrix and bias; `ours` has '{}' where 'w' or 'b' stands."""
    own = {kind: (ours.replace('{}', kind),) for kind in 'wb'}
    return Name(f'{theirs}.weight', own['w'], weight), Name(f'{theirs}.bias', own['b'], bias)


def norm(theirs: str, ours: str) -> tuple[Name, Name]:
    return Name(f'{theirs}.weight', (f'{ours}/scale',)), Name(f'{theirs}.bias', (f'{ours}/bias',))


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
    *norm('h.{i}.ln_1', 'layers/{i}/attention_norm'),
    Name('h.{i}.attn.c_attn.weight', qkv('w'), QKV_THIRDS),
    Name('h.{i}.attn.c_attn.bias', qkv('b'), QKV_THIRDS_BIAS),
    Name('h.{i}.attn.c_proj.weight', ('layers/{i}/attention/w_o',), FROM_HEADS_PLAIN),
    Name('h.{i}.attn.c_proj.bias', ('layers/{i}/attention/b_o',)),
    *norm('h.{i}.ln_2', 'layers/{i}/feed_forward_norm'),
    Name('h.{i}.mlp.c_fc.weight', ('layers/{i}/feed_forward/w_up',)),
    Name('h.{i}.mlp.c_fc.bias', ('layers/{i}/feed_forward/b_up',)),
    Name('h.{i}.mlp.c_proj.weight', ('layers/{i}/feed_forward/w_down',)),
    Name('h.{i}.mlp.c_proj.bias', ('layers/{i}/feed_forward/b_down',)),
    *norm('ln_f', 'final_norm'),
)
NEOX_NAMES = (
    Name('embed_in.weight', ('embedding/tokens',)),
    *norm('layers.{i}.input_layernorm', 'layers/{i}/attention_norm'),
    *norm('layers.{i}.post_attention_layernorm', 'layers/{i}/feed_forward_norm'),
    Name('layers.{i}.attention.query_key_value.weight', qkv('w'), QKV_BY_HEAD),
    Name('layers.{i}.attention.query_key_value.bias', qkv('b'), QKV_BY_HEAD_BIAS),
    Name('layers.{i}.attention.dense.weight', ('layers/{i}/attention/w_o',), FROM_HEADS),
    Name('layers.{i}.attention.dense.bias', ('layers/{i}/attention/b_o',)),
    Name('layers.{i}.mlp.dense_h_to_4h.weight', ('layers/{i}/feed_forward/w_up',), TRANSPOSED),
    Name('layers.{i}.mlp.dense_h_to_4h.bias', ('layers/{i}/feed_forward/b_up',)),
    Name('layers.{i}.mlp.dense_4h_to_h.weight', ('layers/{i}/feed_forward/w_down',), TRANSPOSED),
    Name('layers.{i}.mlp.dense_4h_to_h.bias', ('layers/{i}/feed_forward/b_down',)),
    *norm('final_layer_norm', 'final_norm'),
)


def encoder_layer(attention: dict[str, str], *, out: str, up: str, down: str, norms: tuple[str, str]) -> tuple[Name, ...]:
    """One layer of the BERT kind; `attention` maps q, k and v to what they are called there."""
    ours = 'layers/{i}/'
    projections = [linear(theirs, f'{ours}attention/{{}}_{n}', TO_HEADS, HEADS_BIAS) for n, theirs in attention.items()]
    return (
        *(name for pair in projections for name in pair),
        *linear(out, ours + 'attention/{}_o', FROM_HEADS),
        *norm(norms[0], 'layers/{i}/attention_norm'),
        *linear(up, ours + 'feed_forward/{}_up'),
        *linear(down, ours + 'feed_forward/{}_down'),
        *norm(norms[1], 'layers/{i}/feed_forward_norm'),
    )


def embeddings(**more: str) -> tuple[Name, ...]:
    tables = {'tokens': 'word_embeddings', 'positions': 'position_embeddings', **more}
    own = (Name(f'embeddings.{theirs}.weight', (f'embedding/{ours}',)) for ours, theirs in tables.items())
    return (*own, *norm('embeddings.LayerNorm', 'embedding/norm'))


def masked_head(dense: str, layer_norm: str, bias: str) -> tuple[Name, ...]:
    return (*linear(dense, 'head/{}_transform'), *norm(layer_norm, 'head/transform_norm'), Name(bias, ('head/b',)))


BERT_LAYERS = (
    *embeddings(types='token_type_embeddings'),
    *encoder_layer(
        {n: f'encoder.layer.{{i}}.attention.self.{long}' for n, long in (('q', 'query'), ('k', 'key'), ('v', 'value'))},
        out='encoder.layer.{i}.attention.output.dense',
        up='encoder.layer.{i}.intermediate.dense',
        down='encoder.layer.{i}.output.dense',
        norms=('encoder.layer.{i}.attention.output.LayerNorm', 'encoder.layer.{i}.output.LayerNorm'),
    ),
    *linear('pooler.dense', 'pooler/{}'),
)
BERT_HEAD = (
    *masked_head('cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm', 'cls.predictions.bias'),
    *linear('cls.seq_relationship', 'classifier/{}'),
)
ROBERTA_HEAD = masked_head('lm_head.dense', 'lm_head.layer_norm', 'lm_head.bias')
DISTILBERT_NAMES = (
    *embeddings(),
    *encoder_layer(
        {n: f'transformer.layer.{{i}}.attention.{n}_lin' for n in 'qkv'},
        out='transformer.layer.{i}.attention.out_lin',
        up='transformer.layer.{i}.ffn.lin1',
        down='transformer.layer.{i}.ffn.lin2',
        norms=('transformer.layer.{i}.sa_layer_norm', 'transformer.layer.{i}.output_layer_norm'),
    ),
)
DISTILBERT_HEAD = masked_head('vocab_transform', 'vocab_layer_norm', 'vocab_projector.bias')
