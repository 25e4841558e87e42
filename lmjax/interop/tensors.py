"""A folder of safetensors files as named arrays: read one at a time, written shard by shard. No pickle is ever opened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 - teaches NumPy the name 'bfloat16'
import numpy as np

from lmjax.config import UsageError, first_line
from lmjax.training.workdir import write_json

SINGLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
SHARD_BYTES = 1 << 29  # a shard is built in memory before it is written


class Stored(NamedTuple):
    """What a file's header says of a tensor."""

    shape: tuple[int, ...]
    dtype: str  # safetensors' names: F32, BF16, ...


class TensorFolder:
    """The tensors in a folder: `index` without reading any, `read` one of them."""

    def __init__(self, folder: str) -> None:
        """Raises UsageError for a folder without readable safetensors."""
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._where = {name: file for file in _files(folder) for name in self._open(file).keys()}  # noqa: SIM118
        self.index: dict[str, Stored] = {}
        for name, file in self._where.items():
            part = self._open(file).get_slice(name)
            self.index[name] = Stored(tuple(part.get_shape()), part.get_dtype())

    def read(self, name: str) -> np.ndarray:
        """One tensor, in the dtype that it is stored in."""
        from safetensors import SafetensorError

        file = self._where[name]
        try:
            return self._open(file).get_tensor(name)
        except (SafetensorError, TypeError, ValueError, OSError) as error:
            raise UsageError(f'{os.path.join(self.folder, file)}: {name} cannot be read ({first_line(error)})') from error

    def _open(self, file: str) -> Any:
        from safetensors import SafetensorError, safe_open

        if file not in self._files:
            path = os.path.join(self.folder, file)
            try:
                self._files[file] = safe_open(path, framework='numpy')
            except (SafetensorError, OSError, ValueError) as error:
                raise UsageError(f'{path}: not a readable safetensors file ({first_line(error)}); fetch it again') from error
        return self._files[file]


def _files(folder: str) -> list[str]:
    """Names of the files that hold the tensors."""
    if os.path.isfile(os.path.join(folder, INDEX)):
        return _shards(folder)
    if os.path.isfile(os.path.join(folder, SINGLE)):
        return [SINGLE]
    names = sorted(os.listdir(folder))
    found = [name for name in names if name.endswith('.safetensors')]
    if len(found) == 1:
        return found
    pickles = [name for name in names if name.endswith(('.bin', '.pt', '.pth', '.ckpt'))]
    if pickles:
        raise UsageError(
            f'{os.path.join(folder, pickles[0])}: a pickle, which may run code and is never opened; convert it once where you '
            f'trust it: transformers.AutoModel.from_pretrained({folder!r}).save_pretrained(ANOTHER_FOLDER)'
        )
    raise UsageError(f'{folder}: holds no {SINGLE} and no {INDEX}; name a folder with a checkpoint in safetensors')


def _shards(folder: str) -> list[str]:
    """The files that an index names; each must lie in the folder itself."""
    path = os.path.join(folder, INDEX)
    names = read_json(path).get('weight_map')
    if not isinstance(names, dict) or not names:
        raise UsageError(f'{path}: has no weight_map; fetch it again')
    files = sorted(set(map(str, names.values())))
    for name in files:
        if os.path.basename(name) != name or not name.endswith('.safetensors'):
            raise UsageError(f'{path}: names {name!r}, which is no safetensors file of this folder; do not trust it')
        if not os.path.isfile(os.path.join(folder, name)):
            raise UsageError(f'{os.path.join(folder, name)}: missing, though {INDEX} names it; fetch it')
    return files


def write_tensors(folder: str, planned: Mapping[str, int], tensors: Iterator[tuple[str, np.ndarray]]) -> None:
    """Writes tensors, which come in the order of `planned` (name -> bytes), in as many files as their size asks for."""
    from safetensors.numpy import save_file

    shards = _plan(planned)
    count = len(shards)
    names = [SINGLE] if count == 1 else [f'model-{i + 1:05d}-of-{count:05d}.safetensors' for i in range(count)]
    for file, shard in zip(names, shards, strict=True):
        part = {}
        for expected in shard:
            name, value = next(tensors)
            assert name == expected, (name, expected)
            part[name] = np.ascontiguousarray(value)
        path = os.path.join(folder, file)
        save_file(part, path, metadata={'format': 'pt'})
        os.chmod(path, 0o666 & ~_umask())  # the library makes it readable to its owner alone
    if count > 1:
        where = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
        write_json(os.path.join(folder, INDEX), {'metadata': {'total_size': sum(planned.values())}, 'weight_map': where})


def _umask() -> int:
    """What new files are not allowed (the system tells only when it is set)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _plan(planned: Mapping[str, int]) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, nbytes in planned.items():
        if shards[-1] and size + nbytes > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += nbytes
    return shards


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file; raises UsageError where it is none."""
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except FileNotFoundError:
        raise UsageError(f'{path}: missing; name a folder with a checkpoint of transformers') from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f'{path}: not readable as JSON ({first_line(error)}); fetch it again') from error
    if not isinstance(found, dict):
        raise UsageError(f'{path}: a JSON object is expected, found {type(found).__name__}; fetch it again')
    return found
