"""lmjax: change one thing about a language model, run it with enough seeds, get an answer that stands up.

Names are imported when they are first used, so that `import lmjax` costs nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_WHERE = {
    'train': 'lmjax.api',
    'load': 'lmjax.api',
    'Run': 'lmjax.api',
    'doctor': 'lmjax.doctor',
    'UsageError': 'lmjax.config',
    'NonFiniteLossError': 'lmjax.train.ledger',
    'Config': 'lmjax.train.config',
    'TrainConfig': 'lmjax.train.config',
    'LogConfig': 'lmjax.train.config',
    'DataConfig': 'lmjax.data.config',
    'OptimConfig': 'lmjax.optim.config',
    'ObjectiveConfig': 'lmjax.objectives.config',
    'MeshConfig': 'lmjax.parallel.mesh',
    'SamplingConfig': 'lmjax.generate.config',
    'TransformerConfig': 'lmjax.models.config',
    'RecurrentConfig': 'lmjax.models.config',
    'NgramConfig': 'lmjax.models.config',
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module lmjax has no attribute {name!r}')
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__


class _CallableModule(ModuleType):
    """`lmjax.train` and `lmjax.doctor` are functions to a user and modules to the import system: this is both."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__(self.__name__.rpartition('.')[2])(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Importing lmjax.train.x sets the attribute `train` to the module, which would hide the function.
        if name in _WHERE and type(value) is ModuleType:
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
