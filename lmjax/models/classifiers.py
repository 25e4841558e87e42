"""Classifiers on top of any network: of rows, and of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.models.frames import FRAMES
from lmjax.models.params import hidden_width, without
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.pooling import POOLINGS, real_tokens
from lmjax.ops.products import product
from lmjax.types import Inputs, Model, Output

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree

ROWS, TOKENS = 'row_classifier', 'token_classifier'  # beside the network's own parameters
ADDITIONS = (ROWS, TOKENS, FRAMES)
STD = 0.02  # of the initial weights (Devlin et al. 2019)


def with_row_classifier(model: Model, *, outputs: int, pooling: str) -> Model:
    """The network with `Output.row_logits`, B x outputs: one vector of each row (a row of POOLINGS), dropout, x W + b."""

    def vectors_of(output: Output, inputs: Inputs) -> Any:
        return POOLINGS[pooling](output, real_tokens(inputs))

    return _with_classifier(model, ROWS, 'row_logits', vectors_of, outputs=outputs)


def with_token_classifier(model: Model, *, outputs: int) -> Model:
    """The network with `Output.token_logits`, B x T x outputs: each token's state, dropout, x W + b."""
    return _with_classifier(model, TOKENS, 'token_logits', lambda output, inputs: output.hidden, outputs=outputs)


def _with_classifier(
    model: Model, name: str, field: str, vectors_of: Callable[[Output, Inputs], Any], *, outputs: int
) -> Model:
    """The network with one more field of its output, made of vectors (B x .. x D) by parameters that stand under `name`."""
    width = hidden_width(model)

    def init(key: Any, hparams: HParams) -> Tree:
        own_key = jax.random.fold_in(key, 1)
        w_DxC = STD * jax.random.normal(own_key, (width, outputs), jnp.float32)
        return {**model.init(key, hparams), name: {'w': w_DxC, 'b': jnp.zeros(outputs)}}

    def apply(params: Tree, inputs: Inputs, cache: Any = None, key: Any = None, hparams: Any = None) -> Output:
        hparams = hparams or {}
        output = model.apply(network_part(params), inputs, cache=cache, key=key, hparams=hparams)
        vectors = vectors_of(output, inputs).astype(jnp.float32)
        if key is not None and 'dropout' in hparams:
            vectors = dropout(vectors, fold_name(key, name), hparams['dropout'])
        own = params[name]
        return output._replace(**{field: product(vectors, own['w']) + own['b'].reshape((1,) * (vectors.ndim - 1) + (-1,))})

    axes = {**model.axes, name: {'w': ('embed', 'classes'), 'b': ('classes',)}}
    return model._replace(
        init=init,
        apply=apply,
        axes=axes,
        score=lambda params, *args, **kwargs: model.score(network_part(params), *args, **kwargs),
        init_cache=lambda params, *args, **kwargs: model.init_cache(network_part(params), *args, **kwargs),
    )


def has_additions(params: Tree) -> bool:
    """Whether a classifier stands on top of a network of these parameters, or an encoder of frames below it."""
    return any(name in params for name in ADDITIONS)


def network_part(params: Tree) -> Tree:
    """Parameters without those of such additions."""
    return without(params, *ADDITIONS)
