"""What a training run carries from step to step, and the scalars that a study may vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp

from lmjax.objectives.table import objective_of
from lmjax.training.config import Config
from lmjax.types import Array, HParams, Model, Tree

_ALWAYS = ('learning_rate', 'beta1', 'beta2', 'momentum')
_WHEN_ON = {
    'dropout': 'model',
    'n3': 'model',
    'label_smoothing': 'objective',
    'z_loss': 'objective',
    'weight_decay': 'optim',
    'ema': 'optim',
}


class TrainState(NamedTuple):
    """Everything that a resumed run needs besides its config and the data; `root` is the only randomness in it."""

    step: Array  # optimizer steps taken
    root: Array  # the typed key from which every random stream is derived
    params: Tree
    opt_state: Tree
    ema: Tree | None = None  # moving average of the parameters
    carry: Tree | None = None  # recurrent state across windows


def scored_part(has_ema: bool) -> str:
    """The field whose parameters evaluation and sampling use: the moving average where there is one."""
    return 'ema' if has_ema else 'params'


def hparams_of(config: Config) -> dict[str, float]:
    """The scalars that may vary without recompiling; what is off (dropout, smoothing, ...) is left out altogether."""
    always = dict.fromkeys(_ALWAYS, 'optim') | {'init_scale': 'model'}
    values = {name: float(getattr(getattr(config, section), name, 1.0)) for name, section in always.items()}
    for name, section in _optional(config).items():
        if value := float(getattr(getattr(config, section), name, 0.0)):
            values[name] = value
    return values


def scalar_paths(config: Config) -> dict[str, str]:
    """The field of each of `hparams_of`: dotted path -> name. Two configs that differ there alone share a program."""
    homes = dict.fromkeys(_ALWAYS, 'optim') | {'init_scale': 'model'} | _optional(config)
    return {f'{homes[name]}.{name}': name for name in hparams_of(config)}


def _optional(config: Config) -> dict[str, str]:
    return _WHEN_ON | dict.fromkeys(objective_of(config.objective).scalars, 'objective')


def stream(root: Array, name: str, step: Array | int = 0) -> Array:
    """The key of a named random stream at a step: derived, never carried."""
    return jax.random.fold_in(jax.random.fold_in(root, crc32(name.encode()) & 0x7FFFFFFF), step)


def row_keys(key: Array, rows: int) -> Array:
    """One key a row (shape (rows,)), so that a row's noise does not depend on how the batch is split."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows))


def init_state(
    model: Model, make_tx: Callable[[HParams], Any], root: Array, hparams: HParams, *, carry_rows: int = 0
) -> TrainState:
    """A fresh state; `carry_rows` > 0 makes room for that many rows' recurrent state."""
    params = model.init(stream(root, 'init'), hparams)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        root=root,
        params=params,
        opt_state=make_tx(hparams).init(params),
        ema=jax.tree.map(jnp.copy, params) if 'ema' in hparams else None,
        carry=model.init_cache(params, carry_rows, 0) if carry_rows else None,
    )
