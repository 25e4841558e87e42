"""The network of a run: what the config describes, and what its objective puts on top."""

from __future__ import annotations

from lmjax.models import build
from lmjax.models.row_classifier import with_classifier
from lmjax.objectives.table import objective_of
from lmjax.training.config import Config
from lmjax.types import Model

UNKNOWN = 2  # classes, where the text has yet to say how many


def network_of(config: Config, vocab_size: int) -> Model:
    """The whole network. Raises UsageError for a choice that does not exist, or sizes that contradict each other."""
    model, o = bare_network(config, vocab_size), config.objective
    if not objective_of(o).labelled or not model.traits.trainable:
        return model
    return with_classifier(model, classes=len(o.classes) or UNKNOWN, pooling=o.pooling)


def bare_network(config: Config, vocab_size: int) -> Model:
    """The same without what the objective puts on top, which a start from elsewhere does not have."""
    return build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
