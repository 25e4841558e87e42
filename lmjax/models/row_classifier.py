"""A classifier of rows on top of any network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.models.params import hidden_width
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.pooling import POOLINGS, real_tokens
from lmjax.ops.products import product
from lmjax.types import Inputs, Model, Output

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree

OWN = 'row_classifier'  # beside the network's own parameters
STD = 0.02  # of the initial weights (Devlin et al. 2019)


def with_classifier(model: Model, *, classes: int, pooling: str) -> Model:
    """The network with `Output.row_logits`, B x classes: one vector of each row (a row of POOLINGS), dropout, x W + b.

    Its parameters stand beside the network's, under `row_classifier`.
    """
    width = hidden_width(model)

    def init(key: Any, hparams: HParams) -> Tree:
        own_key = jax.random.fold_in(key, 1)
        w_DxC = STD * jax.random.normal(own_key, (width, classes), jnp.float32)
        return {**model.init(key, hparams), OWN: {'w': w_DxC, 'b': jnp.zeros(classes)}}

    def apply(params: Tree, inputs: Inputs, cache: Any = None, key: Any = None, hparams: Any = None) -> Output:
        hparams = hparams or {}
        output = model.apply(network_part(params), inputs, cache=cache, key=key, hparams=hparams)
        vectors_BxD = POOLINGS[pooling](output, real_tokens(inputs)).astype(jnp.float32)
        if key is not None and 'dropout' in hparams:
            vectors_BxD = dropout(vectors_BxD, fold_name(key, OWN), hparams['dropout'])
        own = params[OWN]
        return output._replace(row_logits=product(vectors_BxD, own['w']) + own['b'][None])

    axes = {**model.axes, OWN: {'w': ('embed', 'classes'), 'b': ('classes',)}}
    return model._replace(
        init=init,
        apply=apply,
        axes=axes,
        score=lambda params, *args, **kwargs: model.score(network_part(params), *args, **kwargs),
        init_cache=lambda params, *args, **kwargs: model.init_cache(network_part(params), *args, **kwargs),
    )


def network_part(params: Tree) -> Tree:
    """Parameters without those of a classifier on top."""
    return {name: leaf for name, leaf in params.items() if name != OWN}
