"""The network of a run: what the config describes, what its objective puts on top, and what of it is learned."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from lmjax.data.frames import medium_of
from lmjax.models import build
from lmjax.models.classifiers import with_row_classifier, with_token_classifier
from lmjax.models.frames import with_frame_encoder
from lmjax.objectives.answers import ENDS
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.optim.adapters import learner
from lmjax.optim.rates import frozen
from lmjax.training.config import Config
from lmjax.types import Model, Tree

NUMBERS = {'number': 1, 'span': ENDS}  # told of each text, or token, whatever its classes are
UNKNOWN = 2  # classes, where the text has yet to say how many


def network_of(config: Config, vocab_size: int) -> Model:
    """The whole network. Raises UsageError for a choice that does not exist, or sizes that contradict each other."""
    return _with_encoder(config, _with_classifier(config, bare_network(config, vocab_size)))


def learner_of(config: Config, model: Model, base: Tree = None) -> Model:
    """The whole network as it learns: beside a `base`, if the config adapts one, and with no gradient to what is frozen.

    Raises UsageError for patterns that decide about nothing.
    """
    adapts, rates = bool(config.adapt.kind), config.optim.rates
    learns = learner(model, base, config.adapt) if adapts else model
    return with_frozen(learns, rates) if rates and model.traits.trainable else learns


def learned_shapes(config: Config, model: Model) -> Tree | None:
    """Shapes of what a run learns; None of a network that counts, which has as much as its text asks for."""
    if not model.traits.trainable:
        return None
    init = lambda key, base: learner_of(config, model, base).init(key, {})  # noqa: E731
    return jax.eval_shape(init, jax.random.key(0), base_shapes(config, model.vocab_size) if config.adapt.kind else None)


def base_shapes(config: Config, vocab_size: int) -> Tree:
    """Shapes of the parameters of the network that the config adapts; computes nothing."""
    return jax.eval_shape(bare_network(config, vocab_size).init, jax.random.key(0), {})


def with_frozen(model: Model, rules: Sequence[str]) -> Model:
    """The network with no gradient to parameters whose rate is 0. Raises UsageError for rules that decide about nothing."""
    stops = frozen(rules, model.axes)

    def held(params: Tree) -> Tree:
        return jax.tree.map(lambda leaf, stop: jax.lax.stop_gradient(leaf) if stop else leaf, params, stops)

    return model._replace(
        apply=lambda params, *args, **kwargs: model.apply(held(params), *args, **kwargs),
        score=lambda params, *args, **kwargs: model.score(held(params), *args, **kwargs),
    )


def _with_classifier(config: Config, model: Model) -> Model:
    o = config.objective
    made = CLASSIFIERS.get(objective_of(o).labels)
    return made(model, classes_of(o), o) if made and model.traits.trainable else model


def _with_encoder(config: Config, model: Model) -> Model:
    if objective_of(config.objective).labels != 'caption' or not (model.traits.trainable and model.traits.prefixed):
        return model
    count, width = medium_of(config.data.source).shape(config.data)
    return with_frame_encoder(model, count=count, width=width)


def of_rows(model: Model, outputs: int, objective: ObjectiveConfig) -> Model:
    return with_row_classifier(model, outputs=outputs, pooling=objective.pooling)


def of_tokens(model: Model, outputs: int, objective: ObjectiveConfig) -> Model:
    return with_token_classifier(model, outputs=outputs)


# what is told -> what is put on top to tell it; what has no row is told by the network itself
CLASSIFIERS = {**dict.fromkeys(('class', 'classes', 'number'), of_rows), 'tags': of_tokens, 'span': of_tokens}


def classes_of(objective: ObjectiveConfig) -> int:
    """How many numbers are told of each text, or of each word."""
    return NUMBERS.get(objective_of(objective).labels) or len(objective.classes) or UNKNOWN


def bare_network(config: Config, vocab_size: int) -> Model:
    """The same without what the objective puts on top, which a start from elsewhere does not have."""
    return build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
