"""lmjax: change one thing about a language model, run it with enough seeds, get an answer that stands up.

Names are imported when they are first used, so that `import lmjax` costs nothing.
"""

import importlib
from typing import Any

_WHERE = {
    'train': 'lmjax.api',
    'finetune': 'lmjax.api',
    'load': 'lmjax.loaded',
    'Run': 'lmjax.loaded',
    'Study': 'lmjax.study.spec',
    'run_study': 'lmjax.study.driver',
    'doctor': 'lmjax.installation',
    'UsageError': 'lmjax.config',
    'NonFiniteLossError': 'lmjax.training.ledger',
    'Config': 'lmjax.training.config',
    'TrainConfig': 'lmjax.training.config',
    'LogConfig': 'lmjax.training.config',
    'DataConfig': 'lmjax.data.config',
    'OptimConfig': 'lmjax.optim.config',
    'AdaptConfig': 'lmjax.optim.config',
    'AdversaryConfig': 'lmjax.optim.config',
    'ObjectiveConfig': 'lmjax.objectives.config',
    'MeshConfig': 'lmjax.parallel.mesh',
    'SamplingConfig': 'lmjax.generate.config',
    'TransformerConfig': 'lmjax.models.config',
    'RecurrentConfig': 'lmjax.models.config',
    'GraphConfig': 'lmjax.models.config',
    'NgramConfig': 'lmjax.models.config',
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module lmjax has no attribute {name!r}')
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
