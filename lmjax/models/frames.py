"""A small encoder below any network: frames (patches of a picture, pieces of a sound) become the vectors of a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.models.params import without
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.products import product
from lmjax.types import Inputs, Model, Output

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree

FRAMES = 'frame_encoder'  # beside the network's own parameters
STD = 0.02  # of the initial vectors of places (Dosovitskiy et al. 2021, as their code has it)


def with_frame_encoder(model: Model, *, count: int, width: int) -> Model:
    """The network that reads frames, B x count x width, as `Inputs.prefix`: gelu(x W + b + p) U + c, p learned for each place.

    So patches become vectors by a linear map with positions (Dosovitskiy et al. 2021, eq. 1), and these reach a language model
    by one hidden layer in place of tokens (Liu et al. 2023, section 4.1, and 2024, Improved Baselines with Visual Instruction
    Tuning). Without frames it is the network as it was.
    """
    D = embedding_width(model)

    def init(key: Any, hparams: HParams) -> Tree:
        first, second, third = jax.random.split(jax.random.fold_in(key, 2), 3)
        own = {
            'w': width**-0.5 * jax.random.normal(first, (width, D), jnp.float32),
            'b': jnp.zeros(D),
            'positions': STD * jax.random.normal(second, (count, D), jnp.float32),
            'u': D**-0.5 * jax.random.normal(third, (D, D), jnp.float32),
            'c': jnp.zeros(D),
        }
        return {**model.init(key, hparams), FRAMES: own}

    def apply(params: Tree, inputs: Inputs, cache: Any = None, key: Any = None, hparams: Any = None) -> Output:
        hparams = hparams or {}
        if inputs.prefix is not None:
            inputs = inputs._replace(prefix=encoded(params[FRAMES], inputs.prefix, key, hparams))
        return model.apply(without(params, FRAMES), inputs, cache=cache, key=key, hparams=hparams)

    axes = {
        'w': ('frame', 'embed'),
        'b': ('embed',),
        'positions': ('positions', 'embed'),
        'u': ('inner', 'embed'),
        'c': ('embed',),
    }
    return model._replace(
        init=init,
        apply=apply,
        axes={**model.axes, FRAMES: axes},
        score=lambda params, *args, **kwargs: model.score(without(params, FRAMES), *args, **kwargs),
        init_cache=lambda params, *args, **kwargs: model.init_cache(without(params, FRAMES), *args, **kwargs),
    )


def encoded(own: Tree, frames_BxPxF: Any, key: Any, hparams: HParams) -> Any:
    """The vectors of frames, B x P x D."""
    x_BxPxD = product(jnp.asarray(frames_BxPxF), own['w']) + own['b'][None, None] + own['positions'][None]
    x_BxPxD = jax.nn.gelu(x_BxPxD)
    if key is not None and 'dropout' in hparams:
        x_BxPxD = dropout(x_BxPxD, fold_name(key, FRAMES), hparams['dropout'])
    return product(x_BxPxD, own['u']) + own['c'][None, None]


def embedding_width(model: Model) -> int:
    """The width of a network's vectors of tokens; computes nothing."""
    return jax.eval_shape(model.init, jax.random.key(0), {})['embedding']['tokens'].shape[-1]
