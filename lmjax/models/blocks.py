"""The transformer's block: self-attention and feed-forward, each wrapped in norm, dropout and residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from lmjax.models.cache import write
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import FEED_FORWARDS
from lmjax.models.initial import init_of
from lmjax.models.params import constant, weight, zeros
from lmjax.ops.attention import Score, Sight, attend
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.norms import NORMS, rms_norm
from lmjax.ops.positions import POSITIONS, ROTARY_SCALINGS, rotary_rates
from lmjax.ops.products import product

RESIDUALS: dict[str, Callable[[Any, Any], Any]] = {  # (stream, sublayer's output) -> stream
    'add': lambda x, y: x + y,
    'none': lambda x, y: y,
}


Sublayer = Callable[[Any], tuple[Any, Any]]  # rows -> rows, and what else it returns


class Place(NamedTuple):
    """Where a sublayer's norms stand."""

    before: bool = False  # on the sublayer's input
    inside: bool = False  # on its output, before it joins the stream
    after: bool = False  # on the stream


NORM_PLACES = {
    'pre': Place(before=True),
    'post': Place(after=True),
    'both': Place(before=True, inside=True),
}


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


def drop(x_CxD: Any, context: Context, name: str) -> Any:
    """Dropout at the place `name`, if there is any."""
    if context.keys is None:
        return x_CxD
    x_BxTxD = x_CxD.reshape(context.batch, -1, x_CxD.shape[-1])
    return dropout(x_BxTxD, fold_name(context.keys, name), context.rate).reshape(x_CxD.shape)


class NormLayer(nn.Module):
    """The row `name` of NORMS with its parameters."""

    name_of_norm: str
    bias: bool
    eps: float

    @nn.compact
    def __call__(self, x: Any) -> Any:
        row, shape = NORMS[self.name_of_norm], x.shape[-1:]
        scale = weight(self, 'scale', shape, ('embed',), constant(row.first_scale)) if row.has_scale else None
        bias = weight(self, 'bias', shape, ('embed',), zeros()) if row.has_bias and self.bias else None
        return row.function(x, scale, bias, eps=self.eps)


def norm_of(config: TransformerConfig, name: str | None) -> NormLayer:
    return NormLayer(config.norm, config.bias, config.norm_eps, name=name)


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


class SelfAttention(nn.Module):
    """Concat(heads) W_O over the keys and values of this call, or of the cache after they are written to it."""

    config: TransformerConfig

    def project(self, name: str, x_CxD: Any, context: Context, heads: int, axis: str) -> Any:
        """x W (+ b), split into rows and heads."""
        c, (_, _, K) = self.config, head_sizes(self.config)
        init = init_of(c.init, 'inner', c.width, heads * K, c.depth)
        w_DxHxK = weight(self, f'w_{name}', (c.width, heads, K), ('embed', axis, 'head_width'), init)
        y_CxJ = product(x_CxD, w_DxHxK.astype(x_CxD.dtype).reshape(c.width, heads * K))
        y_BxTxHxK = y_CxJ.reshape(context.batch, -1, heads, K)
        if c.bias or c.qkv_bias:
            b_HxK = weight(self, f'b_{name}', (heads, K), (axis, 'head_width'), zeros())
            y_BxTxHxK = y_BxTxHxK + b_HxK.astype(y_BxTxHxK.dtype)[None, None]
        return y_BxTxHxK

    def prepare(self, q_BxTxHxK: Any, k_BxTxGxK: Any, context: Context) -> tuple[Any, Any]:
        """Query/key norm, then rotation."""
        c, (_, _, K) = self.config, head_sizes(self.config)
        if c.qk_norm:
            q_BxTxHxK = rms_norm(q_BxTxHxK, weight(self, 'q_norm', (K,), ('head_width',), constant(1.0)), eps=c.norm_eps)
            k_BxTxGxK = rms_norm(k_BxTxGxK, weight(self, 'k_norm', (K,), ('head_width',), constant(1.0)), eps=c.norm_eps)
        turn = POSITIONS[c.position].rotated
        if turn:
            rates_J = rates_of(c, K)
            q_BxTxHxK = turn(q_BxTxHxK, context.positions, rates_J=rates_J)
            k_BxTxGxK = turn(k_BxTxGxK, context.positions, rates_J=rates_J)
        return q_BxTxHxK, k_BxTxGxK

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context, cache: Any = None) -> tuple[Any, Any]:
        c, (H, G, K) = self.config, head_sizes(self.config)
        q_BxTxHxK = self.project('q', x_CxD, context, H, 'heads')
        k_BxSxGxK = self.project('k', x_CxD, context, G, 'kv_heads')
        v_BxSxGxK = self.project('v', x_CxD, context, G, 'kv_heads')
        q_BxTxHxK, k_BxSxGxK = self.prepare(q_BxTxHxK, k_BxSxGxK, context)
        if cache is not None:
            k_BxSxGxK, v_BxSxGxK, cache = write(cache, k_BxSxGxK, v_BxSxGxK, context.write_at)
        slopes = POSITIONS[c.position].slopes
        score = Score(
            scale=c.attention_scale or K**-0.5, window=context.window, cap=c.logit_cap, slopes=slopes(H) if slopes else None
        )
        if context.keys is not None:
            keys = fold_name(context.keys, 'attention_weights')
            score = score._replace(dropout_keys=keys, dropout_rate=context.rate)
        heads_BxTxHxK = attend(q_BxTxHxK, k_BxSxGxK, v_BxSxGxK, sight=context.sight, score=score, how=c.attention)
        return self.join(heads_BxTxHxK), cache

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


class Block(nn.Module):
    """Self-attention, then feed-forward; by default over one whole window, without dropout."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context | None = None, cache: Any = None) -> tuple[Any, Any]:
        context = context or Context(1, jnp.arange(x_CxD.shape[0])[None])
        attention, feed_forward = self.sublayers(context, cache)
        y_CxD, cache = self.branch('attention', attention, x_CxD, context)
        x_CxD = self.join('attention', x_CxD, y_CxD)
        y_CxD, _ = self.branch('feed_forward', feed_forward, x_CxD, context)
        return self.join('feed_forward', x_CxD, y_CxD), cache

    def sublayers(self, context: Context, cache: Any) -> tuple[Sublayer, Sublayer]:
        attention = SelfAttention(self.config, name='attention')
        feed_forward = FEED_FORWARDS[self.config.feed_forward](self.config, name='feed_forward')
        return lambda y_CxD: attention(y_CxD, context, cache), lambda y_CxD: (feed_forward(y_CxD), None)

    def branch(self, name: str, sublayer: Sublayer, x: Any, context: Context) -> tuple[Any, Any]:
        """What a sublayer adds to the stream: its output between the norms on its way, dropped out."""
        c, place = self.config, NORM_PLACES[self.config.norm_place]
        y, rest = sublayer(norm_of(c, f'{name}_norm')(x) if place.before else x)
        if place.inside:
            y = norm_of(c, f'{name}_output_norm')(y)
        return drop(y, context, name), rest

    def join(self, name: str, x: Any, y: Any) -> Any:
        """The stream after a branch has joined it."""
        x = RESIDUALS[self.config.residual](x, y)
        return norm_of(self.config, f'{name}_norm')(x) if NORM_PLACES[self.config.norm_place].after else x


class ParallelBlock(Block):
    """x + attention(norm(x)) + feed_forward(norm'(x)): neither waits for the other (Wang and Komatsuzaki 2021, GPT-J)."""

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context | None = None, cache: Any = None) -> tuple[Any, Any]:
        context = context or Context(1, jnp.arange(x_CxD.shape[0])[None])
        attention, feed_forward = self.sublayers(context, cache)
        seen_CxD, cache = self.branch('attention', attention, x_CxD, context)
        thought_CxD, _ = self.branch('feed_forward', feed_forward, x_CxD, context)
        return x_CxD + seen_CxD + thought_CxD, cache


BLOCKS: dict[str, type[Block]] = {'sequential': Block, 'parallel': ParallelBlock}
