"""Optimizers, schedules and parameter masks: the only place that builds optax transformations.

Names are resolved when first used, so that reading a config does not import optax.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmjax.optim.optimizers import build_optimizer, global_norm
    from lmjax.optim.schedules import schedule

__all__ = ['build_optimizer', 'global_norm', 'schedule']

_HOMES = {
    'build_optimizer': 'lmjax.optim.optimizers',
    'global_norm': 'lmjax.optim.optimizers',
    'schedule': 'lmjax.optim.schedules',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOMES[name]), name)
