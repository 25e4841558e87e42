"""States and parameters out of a run's checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lmjax.config import UsageError
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.state import TrainState, scored_part
from lmjax.types import Tree


def storable(state: TrainState) -> TrainState:
    """The state with its key as plain numbers, as it lies on disk."""
    return state._replace(root=jax.random.key_data(state.root))


def restore_state(checkpoints: Checkpointer, like: TrainState) -> TrainState | None:
    """The newest valid checkpoint's state, on the shardings of `like`; None where nothing was saved yet.

    Raises:
      UsageError: the stored state does not fit, or every checkpoint is damaged.
    """
    step = checkpoints.latest()
    if step is None:
        return None
    key: Any = like.root
    root: Any = jax.eval_shape(jax.random.key_data, key)
    root = jax.ShapeDtypeStruct(root.shape, root.dtype, sharding=key.sharding)
    stored = checkpoints.restore(step, like._replace(root=root))
    return stored._replace(root=jax.random.wrap_key_data(stored.root))


def load_params(
    workdir: str, like: Tree | None, *, step: int | None = None, best: bool = False, flag: str = '--workdir'
) -> Tree:
    """What a run learned, in the structure of `like` (None: as it was stored); the moving average where the run keeps one.

    It is that of the newest valid checkpoint, of `step`, or of the `best`.

    Raises:
      UsageError: the folder holds no checkpoint, or its parameters are not the model's.
    """
    checkpoints = Checkpointer(os.path.join(workdir, 'checkpoints'))
    found = checkpoints.best() if best and step is None else step
    found = checkpoints.latest() if found is None else found
    if found is None:
        raise UsageError(f'{flag}={workdir!r}: holds no checkpoint yet; train it first')
    leaves = checkpoints.manifest(found).leaves
    part = scored_part(any(path.startswith('ema/') for path in leaves))
    return checkpoints.restore(found, _as_stored(leaves, part) if like is None else like, part=part)


def stored_meta(workdir: str) -> Mapping[str, Any]:
    """What was recorded beside a run's newest valid checkpoint; empty where there is none."""
    checkpoints = Checkpointer(os.path.join(workdir, 'checkpoints'))
    step = checkpoints.latest()
    return {} if step is None else checkpoints.manifest(step).meta


def _as_stored(leaves: Mapping[str, Any], part: str) -> Tree:
    """Counted models have as many parameters as their text asked for: the checkpoint says how many."""
    tree: Tree = {}
    for path, leaf in leaves.items():
        first, *names = path.split('/')
        if first == part:
            node = tree
            for name in names[:-1]:
                node = node.setdefault(name, {})
            node[names[-1]] = jax.ShapeDtypeStruct(tuple(leaf.shape), np.dtype(leaf.dtype))
    return tree
