"""The network of a run: what the config describes, and what its objective puts on top."""

from __future__ import annotations

from lmjax.models import build
from lmjax.models.classifiers import with_row_classifier, with_token_classifier
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.training.config import Config
from lmjax.types import Model

UNKNOWN = 2  # classes, where the text has yet to say how many


def network_of(config: Config, vocab_size: int) -> Model:
    """The whole network. Raises UsageError for a choice that does not exist, or sizes that contradict each other."""
    model, o = bare_network(config, vocab_size), config.objective
    labels = objective_of(o).labels
    if not labels or not model.traits.trainable:
        return model
    if labels == 'tags':
        return with_token_classifier(model, outputs=classes_of(o))
    return with_row_classifier(model, outputs=classes_of(o), pooling=o.pooling)


def classes_of(objective: ObjectiveConfig) -> int:
    """How many numbers are told of each text, or of each word."""
    return 1 if objective_of(objective).labels == 'number' else len(objective.classes) or UNKNOWN


def bare_network(config: Config, vocab_size: int) -> Model:
    """The same without what the objective puts on top, which a start from elsewhere does not have."""
    return build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
