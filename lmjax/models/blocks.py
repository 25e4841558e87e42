"""The transformer's block: attention and feed-forward, each wrapped in norm, dropout and residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from lmjax.models.attention import Context, CrossAttention, SelfAttention, Source, SourceKeys
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import FEED_FORWARDS
from lmjax.models.params import constant, weight, zeros
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.norms import NORMS

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


class Block(nn.Module):
    """Self-attention, attention over the source where there is one, feed-forward; by default over one whole window."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context | None = None, cache: Any = None, source: Any = None) -> tuple[Any, Any]:
        """The stream and the layer's cache after this layer; `source`: its keys and values of the source, if they are known."""
        context = context or alone(x_CxD)
        attention, feed_forward = self.sublayers(context, cache)
        y_CxD, cache = self.branch('attention', attention, x_CxD, context)
        x_CxD = self.join('attention', x_CxD, y_CxD)
        if self.config.encoder_depth:
            y_CxD, _ = self.branch('cross_attention', self.over_source(context, source), x_CxD, context)
            x_CxD = self.join('cross_attention', x_CxD, y_CxD)
        y_CxD, _ = self.branch('feed_forward', feed_forward, x_CxD, context)
        return self.join('feed_forward', x_CxD, y_CxD), cache

    def sublayers(self, context: Context, cache: Any) -> tuple[Sublayer, Sublayer]:
        attention = SelfAttention(self.config, name='attention')
        feed_forward = FEED_FORWARDS[self.config.feed_forward](self.config, name='feed_forward')
        return lambda y_CxD: attention(y_CxD, context, cache), lambda y_CxD: (feed_forward(y_CxD), None)

    def over_source(self, context: Context, keys: Any) -> Sublayer:
        source = context.source or Source()
        if keys is None:
            keys = SourceKeys(self.config, name='cross_keys')(source.states, context.batch)
        attention = CrossAttention(self.config, name='cross_attention')
        return lambda y_CxD: (attention(y_CxD, context, keys, source.sight), None)

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


def alone(x_CxD: Any) -> Context:
    """The context of one window that is its own source."""
    return Context(1, jnp.arange(x_CxD.shape[0])[None], source=Source(x_CxD))


class ParallelBlock(Block):
    """x + attention(norm(x)) + feed_forward(norm'(x)): neither waits for the other (Wang and Komatsuzaki 2021, GPT-J)."""

    @nn.compact
    def __call__(self, x_CxD: Any, context: Context | None = None, cache: Any = None, source: Any = None) -> tuple[Any, Any]:
        context = context or alone(x_CxD)
        attention, feed_forward = self.sublayers(context, cache)
        seen_CxD, cache = self.branch('attention', attention, x_CxD, context)
        thought_CxD, _ = self.branch('feed_forward', feed_forward, x_CxD, context)
        return x_CxD + seen_CxD + thought_CxD, cache


BLOCKS: dict[str, type[Block]] = {'sequential': Block, 'parallel': ParallelBlock}
