"""Arrays to a folder and back through Orbax: the only file that knows it. It is imported at the first save or load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class ArrayWriter:
    """Writes flat dicts of arrays in the background, one at a time."""

    def __init__(self) -> None:
        self._orbax: Any = None

    def start(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Returns once the arrays are off the devices, so that their buffers may be donated."""
        import orbax.checkpoint as ocp

        if self._orbax is None:
            self._orbax = ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler())
        self._orbax.save(folder.absolute(), args=ocp.args.PyTreeSave(_storable(arrays)))

    def finish(self) -> None:
        """Blocks until the files are written; raises what went wrong."""
        self._orbax.wait_until_finished()

    def close(self) -> None:
        """Ends Orbax's threads."""
        if self._orbax is not None:
            self._orbax.close()
            self._orbax = None


def read_arrays(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Path -> array for the wanted paths, each a leaf with shape, dtype and maybe a sharding.

    A leaf with a sharding is read straight into it, whatever mesh it was saved from; NumPy leaves and types that JAX
    can't hold (64 bits) come back as NumPy arrays, all others as uncommitted arrays on the default device.
    """
    import orbax.checkpoint as ocp

    stored = {path: leaf for path, leaf in wanted.items() if np.prod(np.shape(leaf))}
    arrays: dict[str, Any] = {path: np.zeros(leaf.shape, leaf.dtype) for path, leaf in wanted.items() if path not in stored}
    if stored:
        how = {path: _restore_args(ocp, leaf) for path, leaf in stored.items()}
        # The values of `item` are not used, only its paths: numbers keep arrays of `wanted` alive no longer than needed.
        item = dict.fromkeys(stored, 0)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
            args = ocp.args.PyTreeRestore(item=item, restore_args=how, partial_restore=True)
            arrays.update(orbax.restore(folder.absolute(), args=args))
    return {path: _placed(arrays[path], leaf) for path, leaf in wanted.items()}


def _storable(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Orbax refuses empty arrays; the manifest's shapes are enough to make them again."""
    arrays = {path: value if isinstance(value, jax.Array) else np.asarray(value) for path, value in arrays.items()}
    return {path: value for path, value in arrays.items() if value.size}


def _restore_args(ocp: Any, leaf: Any) -> Any:
    if _sharding(leaf) is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(sharding=_sharding(leaf))


def _sharding(leaf: Any) -> Any:
    return getattr(leaf, 'sharding', None) if _fits_jax(leaf.dtype) else None


def _fits_jax(dtype: Any) -> bool:
    return jax.dtypes.canonicalize_dtype(dtype) == dtype


def _placed(array: Any, leaf: Any) -> Any:
    if isinstance(array, jax.Array) or isinstance(leaf, np.ndarray) or not _fits_jax(leaf.dtype):
        return array
    sharding = _sharding(leaf)
    return jnp.asarray(array) if sharding is None else jax.device_put(array, sharding)
