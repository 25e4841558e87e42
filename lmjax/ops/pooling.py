"""One vector for each row, from a network's hidden states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from lmjax.config import UsageError

if TYPE_CHECKING:
    from lmjax.types import Array, Inputs, Output


def real_tokens(inputs: Inputs) -> Any:
    """Which tokens are no padding, B x T bool."""
    return jnp.ones(inputs.ids.shape, bool) if inputs.segments is None else inputs.segments > 0


def mean(output: Output, real_BxT: Array) -> Any:
    """The average over a text's tokens (Reimers and Gurevych 2019); zero where there is none."""
    weight_BxTx1 = real_BxT[:, :, None].astype(jnp.float32)
    return (output.hidden * weight_BxTx1).sum(1) / jnp.maximum(weight_BxTx1.sum(1), 1.0)


def first(output: Output, real_BxT: Array) -> Any:
    """The first token's."""
    return _at(output, jnp.argmax(real_BxT, axis=1))


def last(output: Output, real_BxT: Array) -> Any:
    """The last token's, which is the one that has seen the text where a network is causal."""
    return _at(output, real_BxT.shape[1] - 1 - jnp.argmax(real_BxT[:, ::-1], axis=1))


def _at(output: Output, index_B: Array) -> Any:
    return jnp.take_along_axis(output.hidden, index_B[:, None, None], axis=1)[:, 0]


def pooled(output: Output, real_BxT: Array) -> Any:
    """The pooler's, which knows the row as a whole alone."""
    if output.pooled is None:
        raise UsageError("pooling='pooler': this network has no pooler; choose one of: mean, first, last")
    return output.pooled


# name -> (output, real_BxT bool, which tokens of each row are the text) -> B x D
POOLINGS: dict[str, Callable[[Output, Any], Any]] = {'mean': mean, 'first': first, 'last': last, 'pooler': pooled}


def unit(vectors: Array) -> Any:
    """Vectors (... x D) divided by their lengths, float32: a product of two is then their cosine; a zero vector stays zero."""
    vectors = jnp.asarray(vectors, jnp.float32)
    squares = jnp.square(vectors).sum(-1, keepdims=True)
    return vectors * jnp.where(squares > 0, squares, 1.0) ** -0.5
