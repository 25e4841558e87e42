"""Every network behind the one Model contract; a network's file is imported when it is first built."""

from __future__ import annotations

import importlib

from lmjax.config import choose
from lmjax.models.config import ModelConfig
from lmjax.types import Model

# kind -> 'module:function' with signature build(config, *, vocab_size, seq_len) -> Model
MODELS = {
    'transformer': 'lmjax.models.transformer:build',
    'recurrent': 'lmjax.models.recurrent:build',
    'graph': 'lmjax.models.graph:build',
    'ngram': 'lmjax.models.ngram:build',
}


def build(config: ModelConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The network that a config describes, over `vocab_size` tokens and windows of `seq_len`.

    Raises UsageError for a config that cannot be built; touches no device.
    """
    module, _, function = choose(MODELS, config.kind, 'model.kind').partition(':')
    return getattr(importlib.import_module(module), function)(config, vocab_size=vocab_size, seq_len=seq_len)
