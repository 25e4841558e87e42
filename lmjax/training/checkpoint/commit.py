"""A checkpoint is a folder that appears whole or not at all, with a manifest that vouches for each byte of it.

Order on disk: the files are written under a temporary name and synced, then the manifest, then the folders, then one
rename, then the parent folder. Only names made of digits are checkpoints; what a crash leaves is named `tmp.*`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from lmjax.config import UsageError
from lmjax.training.checkpoint.structure import Leaf

MANIFEST = 'manifest.json'
ARRAYS = 'arrays'  # the folder with what Orbax writes


class DamagedError(UsageError):
    """A checkpoint that is not what was written: the line names the step, the file, and what was expected and found."""


class File(NamedTuple):
    size: int
    sha256: str


class Manifest(NamedTuple):
    """What a checkpoint holds: `meta` is the run's own record (config fingerprint, data position, ...)."""

    step: int
    metric: float | None
    meta: Mapping[str, Any]
    versions: Mapping[str, str]
    leaves: Mapping[str, Leaf]
    files: Mapping[str, File]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes and syncs the manifest of the files in `folder`."""
    with open(folder / MANIFEST, 'w', encoding='utf-8') as file:
        file.write(_render(manifest))
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """Raises DamagedError unless every byte of the manifest is as it was written."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode()
        content = json.loads(text)['content']
        leaves = {name: Leaf(tuple(shape), dtype) for name, (shape, dtype) in content.pop('leaves').items()}
        files = {name: File(size, digest) for name, (size, digest) in content.pop('files').items()}
        manifest = Manifest(leaves=leaves, files=files, **content)
    except FileNotFoundError:
        raise DamagedError(f'checkpoint {folder.name}: {MANIFEST} is missing') from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f'checkpoint {folder.name}: {MANIFEST} is unreadable ({type(error).__name__})') from error
    if text != _render(manifest):
        raise DamagedError(f'checkpoint {folder.name}: {MANIFEST} does not have the digest that it states')
    if str(manifest.step) != folder.name:
        raise DamagedError(f'checkpoint {folder.name}: {MANIFEST} is that of step {manifest.step}')
    return manifest


def _render(manifest: Manifest) -> str:
    content = json.dumps(manifest._asdict(), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f'{{"sha256": "{digest}", "content": {content}}}\n'


def seal(folder: Path) -> dict[str, File]:
    """Syncs every file of a folder and says what is in it: path below the folder -> size and digest."""
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file()]
    with ThreadPoolExecutor(max_workers=4) as pool:
        return {
            path.relative_to(folder).as_posix(): file for path, file in zip(paths, pool.map(_sync_file, paths), strict=True)
        }


def verify(folder: Path) -> Manifest:
    """The manifest, once every file is there with its size and digest and nothing else is; raises DamagedError."""
    manifest = read_manifest(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()} - {MANIFEST}
    for name in sorted(found ^ set(manifest.files)):
        raise DamagedError(f'checkpoint {folder.name}: {name} is {"not in the manifest" if name in found else "missing"}')
    names = sorted(manifest.files)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for name, have in zip(names, pool.map(lambda name: _digest(folder / name), names), strict=True):
            _compare(folder.name, name, want=manifest.files[name], have=have)
    return manifest


def _compare(step: str, name: str, *, want: File, have: File) -> None:
    if have.size != want.size:
        raise DamagedError(f'checkpoint {step}: {name} has {have.size} bytes, expected {want.size}')
    if have.sha256 != want.sha256:
        raise DamagedError(f'checkpoint {step}: {name} has digest {have.sha256}, expected {want.sha256}')


def publish(temporary: Path, final: Path) -> None:
    """Makes a sealed folder visible under its final name."""
    for path in sorted(temporary.rglob('*'), reverse=True):
        if path.is_dir():
            sync_folder(path)
    sync_folder(temporary)
    os.rename(temporary, final)
    sync_folder(final.parent)


def remove(folder: Path) -> None:
    """Deletes a checkpoint; a crash on the way leaves none that looks whole."""
    doomed = folder.with_name(f'tmp.delete.{folder.name}')
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> File:
    with open(path, 'rb') as file:
        os.fsync(file.fileno())
    return _digest(path)


def _digest(path: Path) -> File:
    with open(path, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
        return File(file.tell(), digest)
