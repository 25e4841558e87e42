"""Which tensors of an encoder-decoder's checkpoint are which parameters of ours."""

from __future__ import annotations

from lmjax.interop.layouts import FROM_HEADS, HEADS_BIAS, TO_HEADS, TRANSPOSED
from lmjax.interop.names import Name, linear, norm
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import is_gated

# Our places of what an attention projects to: its own, and over the source.
OWN = {n: f'attention/{{}}_{n}' for n in 'qkvo'}
OVER_SOURCE = {'q': 'cross_attention/{}_q', 'k': 'cross_keys/{}_k', 'v': 'cross_keys/{}_v', 'o': 'cross_attention/{}_o'}
STACKS = {'encoder': 'encoder/', 'decoder': ''}  # theirs -> where ours is


def t5_names(config: TransformerConfig) -> tuple[Name, ...]:
    """T5's, whose feed-forward has other names where it is gated."""
    feed_forward = {'wi_0': 'gate', 'wi_1': 'up', 'wo': 'down'} if is_gated(config.feed_forward) else {'wi': 'up', 'wo': 'down'}
    names = [Name('shared.weight', ('embedding/tokens',))]
    for stack, at in STACKS.items():
        block, layer = f'{stack}.block.{{i}}.layer', f'{at}layers/{{i}}/'
        last = 1 if stack == 'encoder' else 2
        names.append(Name(f'{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight', (f'{at}relative/bias',)))
        names += _t5_attention(f'{block}.0', 'SelfAttention', layer, OWN, 'attention_norm')
        if stack == 'decoder':
            names += _t5_attention(f'{block}.1', 'EncDecAttention', layer, OVER_SOURCE, 'cross_attention_norm')
        for theirs, ours in feed_forward.items():
            path = f'{layer}feed_forward/w_{ours}'
            names.append(Name(f'{block}.{last}.DenseReluDense.{theirs}.weight', (path,), TRANSPOSED))
        names.append(Name(f'{block}.{last}.layer_norm.weight', (f'{layer}feed_forward_norm/scale',)))
        names.append(Name(f'{stack}.final_layer_norm.weight', (f'{at}final_norm/scale',)))
    return tuple(names)


def _t5_attention(theirs: str, kind: str, layer: str, places: dict[str, str], layer_norm: str) -> list[Name]:
    matrices = [
        Name(f'{theirs}.{kind}.{n}.weight', (layer + place.format('w'),), FROM_HEADS if n == 'o' else TO_HEADS)
        for n, place in places.items()
    ]
    return [*matrices, Name(f'{theirs}.layer_norm.weight', (f'{layer}{layer_norm}/scale',))]


def bart_names(config: TransformerConfig) -> tuple[Name, ...]:
    names = [Name('shared.weight', ('embedding/tokens',))]
    for stack, at in STACKS.items():
        theirs, layer = f'{stack}.layers.{{i}}', f'{at}layers/{{i}}/'
        names.append(Name(f'{stack}.embed_positions.weight', (f'{at}embedding/positions',)))
        names += norm(f'{stack}.layernorm_embedding', f'{at}embedding/norm')
        names += _bart_attention(f'{theirs}.self_attn', layer, OWN, 'attention_norm')
        if stack == 'decoder':
            names += _bart_attention(f'{theirs}.encoder_attn', layer, OVER_SOURCE, 'cross_attention_norm')
        names += linear(f'{theirs}.fc1', f'{layer}feed_forward/{{}}_up')
        names += linear(f'{theirs}.fc2', f'{layer}feed_forward/{{}}_down')
        names += norm(f'{theirs}.final_layer_norm', f'{layer}feed_forward_norm')
    return tuple(names)


def _bart_attention(theirs: str, layer: str, places: dict[str, str], layer_norm: str) -> list[Name]:
    names: list[Name] = []
    for n, place in places.items():
        kind = (FROM_HEADS,) if n == 'o' else (TO_HEADS, HEADS_BIAS)
        own = 'out' if n == 'o' else n
        names += linear(f'{theirs}.{own}_proj', layer + place, *kind)
    return [*names, *norm(f'{theirs}_layer_norm', layer + layer_norm)]
