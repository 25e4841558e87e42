"""The run's folder: its config on disk, and what may change when a run goes on."""

from __future__ import annotations

import json
import os
from typing import Any

from lmjax.config import UsageError, differences, free_paths, from_dict, to_dict
from lmjax.training.config import Config
from lmjax.training.metrics import read_metrics


def read_config(workdir: str) -> Config:
    """The config that a run was started with.

    Raises:
      UsageError: the folder holds no run, or its config cannot be read.
    """
    path = os.path.join(workdir, 'config.json')
    if not os.path.isfile(path):
        raise UsageError(f'--workdir={workdir!r}: holds no run (no config.json); train one with `python -m experiments.train`')
    try:
        with open(path, encoding='utf-8') as file:
            return from_dict(json.load(file))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(
            f'--workdir={workdir!r}: its config.json cannot be read ({error}); restore it or use another'
        ) from error


def write_config(workdir: str, config: Config) -> None:
    """Writes config.json by a rename, so that it is never seen half-written."""
    os.makedirs(workdir, exist_ok=True)
    write_json(os.path.join(workdir, 'config.json'), to_dict(config))


def write_json(path: str, value: Any) -> None:
    """Writes strict JSON to a temporary name, syncs and renames it."""
    with open(path + '.tmp', 'w', encoding='utf-8') as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + '.tmp', path)


def open_run(workdir: str, config: Config, *, extend: bool = False) -> dict[str, tuple[Any, Any]]:
    """Makes the folder hold this config; returns what changed against the config that it held, {} for a new run.

    Raises:
      UsageError: an identity field differs, or `train.steps` grows without `extend`.
    """
    if not has_begun(workdir):
        write_config(workdir, config)
        return {}
    old = read_config(workdir)
    changed = differences(old, config)
    allowed = free_paths(config) | free_paths(old)
    for path, (was, now) in changed.items():
        if path in allowed:
            continue
        if path == 'train.steps' and now > was:
            if extend:
                continue
            raise UsageError(f'train.steps={now}: the run in {workdir} has {was}; add --extend to train it on')
        raise UsageError(
            f'{path}={now!r}: the run in {workdir} has {was!r}; use that value, or another --workdir for this config'
        )
    if changed:
        write_config(workdir, config)
    return changed


def has_begun(workdir: str) -> bool:
    """Whether the folder's run has taken a step: a config that was refused before that binds nobody."""
    if not os.path.isfile(os.path.join(workdir, 'config.json')):
        return False
    checkpoints = os.path.join(workdir, 'checkpoints')
    saved = os.path.isdir(checkpoints) and os.listdir(checkpoints)
    return bool(saved or any(row['split'] != 'event' for row in read_metrics(workdir)))


def check_workdir(workdir: str) -> None:
    """Raises UsageError for a folder that cannot hold a run."""
    if os.path.exists(workdir) and not os.path.isdir(workdir):
        raise UsageError(f'--workdir={workdir!r}: is a file; name a folder')
    if os.path.isdir(os.path.join(workdir, 'checkpoints')) and not os.path.isfile(os.path.join(workdir, 'config.json')):
        raise UsageError(f'--workdir={workdir!r}: has checkpoints but no config.json; use another folder')
    parent = os.path.abspath(workdir)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    if not os.access(parent, os.W_OK):
        raise UsageError(f'--workdir={workdir!r}: {parent} cannot be written; name a folder that can')
