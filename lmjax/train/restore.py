"""Parameters out of a finished or running run's folder."""

from __future__ import annotations

import os

from lmjax.config import UsageError
from lmjax.train.checkpoint import Checkpointer
from lmjax.types import Tree


def load_params(workdir: str, *, like: Tree, step: int | None = None) -> Tree:
    """The parameters of the newest valid checkpoint (or of `step`), the moving average where the run keeps one.

    Raises:
      UsageError: the folder holds no checkpoint, or its parameters do not fit `like`.
    """
    folder = os.path.join(workdir, 'checkpoints')
    checkpoints = Checkpointer(folder, keep_latest=0, keep_best=0)
    found = checkpoints.latest() if step is None else step
    if found is None:
        raise UsageError(f'--workdir={workdir!r}: holds no checkpoint yet; train it first')
    paths = checkpoints.paths(found)
    part = 'ema' if any(path.startswith('ema/') for path in paths) else 'params'
    return checkpoints.restore(found, {part: like}, partial=True)[part]
