"""The network as it goes on in one of the languages that it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from lmjax.config import choose, require

if TYPE_CHECKING:
    from lmjax.objectives.config import ObjectiveConfig
    from lmjax.types import Inputs, Model, Output, Tree


def speaking(model: Model, objective: ObjectiveConfig, language: str) -> Model:
    """The network reading all tokens as of a language, by default the first; of a run that knows no languages itself.

    Raises UsageError for a language that training never saw.
    """
    if objective.kind != 'languages':
        require(not language, 'sample.language', language, 'this network was told of no languages; leave it out')
        return model
    names = {name: number for number, name in enumerate(objective.classes)}
    number = choose(names, language or objective.classes[0], 'sample.language')

    def apply(params: Tree, inputs: Inputs, *args: Any, **kwargs: Any) -> Output:
        return model.apply(params, inputs._replace(types=jnp.full(inputs.ids.shape, number, jnp.int32)), *args, **kwargs)

    return model._replace(apply=apply)
