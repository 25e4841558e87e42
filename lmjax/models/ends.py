"""The ends of a transformer: where tokens come in, and where scores and a row's vector go out."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lmjax.models.blocks import norm_of
from lmjax.models.cache import in_order
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import dense
from lmjax.models.initial import init_of
from lmjax.models.params import DTYPES, weight, zeros
from lmjax.ops.activations import ACTIVATIONS
from lmjax.ops.positions import POSITIONS
from lmjax.ops.prefixes import with_prefix
from lmjax.ops.products import product, repeat_rows


class Embedding(nn.Module):
    """Token vectors, scaled if asked for, plus what the position scheme and the token types add; then a norm if asked for."""

    config: TransformerConfig
    vocab_size: int
    max_length: int

    @nn.compact
    def __call__(
        self,
        ids_BxT: Any,
        positions_BxT: Any = None,
        types_BxT: Any = None,
        prefix_BxPxD: Any = None,
        segments_BxT: Any = None,
        shift_BxTxD: Any = None,
    ) -> Any:
        """B x T x D; positions None: 0 .. T-1; types None: all 0; of a prefix vectors stand instead of those of tokens."""
        c, scheme = self.config, POSITIONS[self.config.position]
        x_BxTxD = self.table('tokens', self.vocab_size, 'vocab')[ids_BxT]
        if prefix_BxPxD is not None:
            x_BxTxD = with_prefix(x_BxTxD, prefix_BxPxD, segments_BxT)
        if shift_BxTxD is not None:
            x_BxTxD = x_BxTxD + shift_BxTxD.astype(x_BxTxD.dtype)
        if c.embed_scale:
            x_BxTxD = x_BxTxD * math.sqrt(c.width)
        if scheme.added:
            x_BxTxD = x_BxTxD + scheme.added(in_order(positions_BxT, ids_BxT.shape[1]), c.width)
        if scheme.learned:
            table = self.table('positions', c.unused_positions + self.max_length, 'positions')[c.unused_positions :]
            own = repeat_rows(table[: ids_BxT.shape[1]], len(ids_BxT)) if positions_BxT is None else table[positions_BxT]
            x_BxTxD = x_BxTxD + own
        if c.token_types:
            table = self.table('types', c.token_types, 'types')
            plain = types_BxT is None or c.token_types == 1  # RoBERTa's tell no texts apart
            x_BxTxD = x_BxTxD + (table[:1][None] if plain else table[types_BxT])
        x_BxTxD = x_BxTxD.astype(DTYPES[c.dtype])
        return norm_of(c, 'norm')(x_BxTxD) if c.embed_norm else x_BxTxD

    def table(self, name: str, rows: int, axis: str) -> Any:
        c = self.config
        return weight(self, name, (rows, c.width), (axis, 'embed'), init_of(c.init, 'embedding', rows, c.width, c.depth))


class Pooler(nn.Module):
    """tanh(x W + b) of one token a row (Devlin et al. 2019, section 3.1), B x D."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, first_BxD: Any) -> Any:
        c = self.config
        w_DxD = weight(self, 'w', (c.width, c.width), ('embed', 'pooled'), init_of(c.init, 'inner', c.width, c.width, c.depth))
        b_D = weight(self, 'b', (c.width,), ('pooled',), zeros())
        return jnp.tanh(product(first_BxD, w_DxD.astype(first_BxD.dtype)) + b_D.astype(first_BxD.dtype)[None])


class Classifier(nn.Module):
    """Logits of each row's classes from its pooled state, B x classes float32."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, pooled_BxD: Any) -> Any:
        c = self.config
        init = init_of(c.init, 'head', c.width, c.classes, c.depth)
        w_DxC = weight(self, 'w', (c.width, c.classes), ('embed', 'classes'), init)
        b_C = weight(self, 'b', (c.classes,), ('classes',), zeros())
        return product(pooled_BxD, w_DxC.astype(pooled_BxD.dtype)).astype(jnp.float32) + b_C[None]


class Head(nn.Module):
    """What the head owns: a transform and a bias if asked for, a matrix unless it is tied to the embedding."""

    config: TransformerConfig
    vocab_size: int

    @nn.compact
    def __call__(self, hidden_CxD: Any, embedding_VxD: Any) -> Any:
        """Logits in float32, of rows (C, D)."""
        c = self.config
        if c.head_transform != 'none':
            hidden_CxD = self.transform(hidden_CxD)
        if c.head_scale:
            hidden_CxD = hidden_CxD * c.width**-0.5
        if c.tied:
            logits = product(hidden_CxD, embedding_VxD.astype(hidden_CxD.dtype), transposed=True)
        else:
            init = init_of(c.init, 'head', c.width, self.vocab_size, c.depth)
            w_DxV = weight(self, 'w', (c.width, self.vocab_size), ('embed', 'vocab'), init)
            logits = product(hidden_CxD, w_DxV.astype(hidden_CxD.dtype))
        logits = logits.astype(jnp.float32)
        if c.head_bias:
            logits = logits + weight(self, 'b', (self.vocab_size,), ('vocab',), zeros())[None]
        return c.final_logit_cap * jnp.tanh(logits / c.final_logit_cap) if c.final_logit_cap else logits

    def transform(self, hidden_CxD: Any) -> Any:
        """norm(activation(x W + b)), which stands before the logits of a masked language model (Devlin et al. 2019)."""
        c = self.config
        y_CxD = dense(self, 'transform', hidden_CxD, c.width, ('embed', 'transformed'), 'inner', c)
        return norm_of(c, 'transform_norm')(ACTIVATIONS[c.head_transform](y_CxD))
