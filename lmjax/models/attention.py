"""Attention with its projections: of the tokens over themselves, and of a decoder over what its encoder read."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from lmjax.models.cache import write
from lmjax.models.config import TransformerConfig
from lmjax.models.initial import init_of
from lmjax.models.params import constant, weight, zeros
from lmjax.ops.attention import Score, Sight, attend
from lmjax.ops.dropout import fold_name
from lmjax.ops.norms import rms_norm
from lmjax.ops.positions import POSITIONS, ROTARY_SCALINGS, relative_buckets, rotary_rates
from lmjax.ops.products import product


class Source(NamedTuple):
    """What a decoder sees of its source: the encoder's states, or each layer's keys and values of them."""

    states: Any = None  # C x D, C = B x S rows
    layers: Any = None  # laid out like a stack's layers, each {'k', 'v'}: B x G x S x K
    sight: Sight = Sight(open=True)


class Context(NamedTuple):
    """What every layer of one call shares.

    The stream between layers is C x D, C = B x T rows: XLA on CPU then computes a residual sum once, where it computes one
    that has to be reshaped before it is multiplied again for each reader, with all the sums before it.
    """

    batch: int  # B
    positions: Any  # (1 or B) x T
    sight: Sight = Sight()
    keys: Any = None  # B typed keys; None: no dropout
    rate: Any = None
    write_at: Any = None  # the cache slot of the first token; None: no cache
    window: Any = 0  # of the layer at hand, in tokens; 0: none
    bias: Any = None  # (1 or B) x H x T x S, to the logits of self-attention
    source: Source | None = None


def head_sizes(config: TransformerConfig) -> tuple[int, int, int]:
    """Query heads, key/value heads, head width."""
    c = config
    return c.heads, c.kv_heads or c.heads, c.head_width or c.width // c.heads


def rates_of(config: TransformerConfig, head_width: int) -> np.ndarray:
    """How fast each rotated pair of a head's channels turns, in radians a token."""
    c = config
    rates_J = rotary_rates(rotated_width(c, head_width), base=c.rotary_base)
    scaling = ROTARY_SCALINGS[c.rotary_scaling]
    return scaling(rates_J, factor=c.rotary_factor, low=c.rotary_low, high=c.rotary_high, original=c.rotary_original)


def rotated_width(config: TransformerConfig, head_width: int) -> int:
    """How many of a head's channels are rotated."""
    return int(head_width * config.rotary_fraction)


class RelativeBias(nn.Module):
    """A learned number for each head and bucket of distances, added to the logits of all layers alike."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, distances_BxTxS: Any) -> Any:
        """(1 or B) x H x T x S float32, of how far each query is after each key."""
        c = self.config
        init = init_of(c.init, 'embedding', c.relative_buckets, c.width, c.depth)
        table_JxH = weight(self, 'bias', (c.relative_buckets, c.heads), ('buckets', 'heads'), init)
        both_sides = not c.causal
        buckets_BxTxS = relative_buckets(
            distances_BxTxS, buckets=c.relative_buckets, farthest=c.relative_distance, both_sides=both_sides
        )
        return table_JxH.T[:, buckets_BxTxS].swapaxes(0, 1)


class Heads(nn.Module):
    """What attention layers have in common."""

    config: TransformerConfig

    def project(self, name: str, x_CxD: Any, batch: int, heads: int, axis: str) -> Any:
        """x W (+ b), split into rows and heads, then normed if queries and keys are; B x T x heads x K."""
        c, (_, _, K) = self.config, head_sizes(self.config)
        init = init_of(c.init, 'inner', c.width, heads * K, c.depth)
        w_DxHxK = weight(self, f'w_{name}', (c.width, heads, K), ('embed', axis, 'head_width'), init)
        y_CxJ = product(x_CxD, w_DxHxK.astype(x_CxD.dtype).reshape(c.width, heads * K))
        y_BxTxHxK = y_CxJ.reshape(batch, -1, heads, K)
        if c.bias or c.qkv_bias:
            b_HxK = weight(self, f'b_{name}', (heads, K), (axis, 'head_width'), zeros())
            y_BxTxHxK = y_BxTxHxK + b_HxK.astype(y_BxTxHxK.dtype)[None, None]
        if c.qk_norm and name != 'v':
            y_BxTxHxK = rms_norm(y_BxTxHxK, weight(self, f'{name}_norm', (K,), ('head_width',), constant(1.0)), eps=c.norm_eps)
        return y_BxTxHxK

    def score(self, context: Context) -> Score:
        """What is done to the logits in every attention of a network."""
        c, (_, _, K) = self.config, head_sizes(self.config)
        score = Score(scale=c.attention_scale or K**-0.5, cap=c.logit_cap)
        if context.keys is None:
            return score
        keys = fold_name(context.keys, f'{self.name}_weights')
        return score._replace(dropout_keys=keys, dropout_rate=context.rate)

    def join(self, heads_BxTxHxK: Any) -> Any:
        """Concat(heads) W_O (+ b), C x D."""
        c, (H, _, K) = self.config, head_sizes(self.config)
        init = init_of(c.init, 'residual', H * K, c.width, c.depth)
        w_HxKxD = weight(self, 'w_o', (H, K, c.width), ('heads', 'head_width', 'embed'), init)
        heads_CxJ = heads_BxTxHxK.reshape(-1, H * K)
        y_CxD = product(heads_CxJ, w_HxKxD.astype(heads_CxJ.dtype).reshape(H * K, c.width))
        if c.bias:
            y_CxD = y_CxD + weight(self, 'b_o', (c.width,), ('embed',), zeros()).astype(y_CxD.dtype)[None]
        return y_CxD


class SelfAttention(Heads):
    """Concat(heads) W_O over the keys and values of this call, or of the cache after they are written to it."""

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context, cache: Any = None) -> tuple[Any, Any]:
        c, (H, G, K) = self.config, head_sizes(self.config)
        q_BxTxHxK = self.project('q', x_CxD, context.batch, H, 'heads')
        k_BxSxGxK = self.project('k', x_CxD, context.batch, G, 'kv_heads')
        v_BxSxGxK = self.project('v', x_CxD, context.batch, G, 'kv_heads')
        scheme = POSITIONS[c.position]
        if scheme.rotated:
            rates_J = rates_of(c, K)
            q_BxTxHxK = scheme.rotated(q_BxTxHxK, context.positions, rates_J=rates_J)
            k_BxSxGxK = scheme.rotated(k_BxSxGxK, context.positions, rates_J=rates_J)
        if cache is not None:
            k_BxSxGxK, v_BxSxGxK, cache = write(cache, k_BxSxGxK, v_BxSxGxK, context.write_at)
        slopes = scheme.slopes(H) if scheme.slopes else None
        score = self.score(context)._replace(window=context.window, slopes=slopes, bias=context.bias)
        heads_BxTxHxK = attend(q_BxTxHxK, k_BxSxGxK, v_BxSxGxK, sight=context.sight, score=score, how=c.attention)
        return self.join(heads_BxTxHxK), cache


class SourceKeys(Heads):
    """The keys and values of an encoder's states for one layer of its decoder, {'k', 'v'}: each B x G x S x K."""

    @nn.compact
    def __call__(self, states_CxD: Any, batch: int) -> dict[str, Any]:
        _, G, _ = head_sizes(self.config)
        return {name: self.project(name, states_CxD, batch, G, 'kv_heads').swapaxes(1, 2) for name in ('k', 'v')}


class CrossAttention(Heads):
    """Concat(heads) W_O over the keys and values of a source, all of which each token sees (Vaswani et al. 2017, 3.2.3)."""

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context, source: dict[str, Any], sight: Sight) -> Any:
        c, (H, _, _) = self.config, head_sizes(self.config)
        q_BxTxHxK = self.project('q', x_CxD, context.batch, H, 'heads')
        k_BxSxGxK, v_BxSxGxK = source['k'].swapaxes(1, 2), source['v'].swapaxes(1, 2)
        heads_BxTxHxK = attend(q_BxTxHxK, k_BxSxGxK, v_BxSxGxK, sight=sight, score=self.score(context), how=c.attention)
        return self.join(heads_BxTxHxK)
