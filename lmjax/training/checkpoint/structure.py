"""Trees as flat dicts from path to leaf: what is on disk is named by us, and compared before anything loads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.config import UsageError

if TYPE_CHECKING:
    from lmjax.types import Array, Tree

SHOWN = 4  # differing paths named in an error


class Leaf(NamedTuple):
    """Shape and type of one stored array."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f'{self.dtype}[{",".join(map(str, self.shape))}]'

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * jnp.dtype(self.dtype).itemsize


def flatten(tree: Tree, prefix: str = '') -> dict[str, Any]:
    """Path -> array. Keys, field names and indices are joined by '/': no class of another library is in a path.

    Plain numbers become arrays of JAX's default types.

    Raises:
      ValueError: two leaves share a path (a key holds a '/').
    """
    found: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        path = '/'.join(part for part in (prefix, jax.tree_util.keystr(keys, simple=True, separator='/')) if part)
        if path in found:
            raise ValueError(f'two leaves of the tree are named {path}; keys must not hold a slash')
        found[path] = leaf if hasattr(leaf, 'dtype') else jnp.asarray(leaf)
    return found


def unflatten(like: Tree, leaves: Mapping[str, Any], prefix: str = '') -> Tree:
    """The tree with the structure of `like` and the leaves of a flat dict."""
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[path] for path in flatten(like, prefix)])


def describe(arrays: Mapping[str, Any]) -> dict[str, Leaf]:
    """Shape and type of each leaf: of arrays and of abstract arrays."""
    return {path: Leaf(tuple(value.shape), jnp.dtype(value.dtype).name) for path, value in arrays.items()}


def mismatches(stored: Mapping[str, Leaf], wanted: Mapping[str, Leaf]) -> list[str]:
    """One phrase for each path where they differ, in the order of the wanted tree, left-over paths last."""
    paths = list(dict.fromkeys([*wanted, *stored]))
    both = [(path, stored.get(path), wanted.get(path)) for path in paths]
    return [f'{path} stored {have or "nothing"} wanted {want or "nothing"}' for path, have, want in both if have != want]


def check_fits(stored: Mapping[str, Leaf], wanted: Mapping[str, Leaf], *, name: str) -> None:
    """Raises UsageError with the first paths that differ, unless both trees are alike."""
    found = mismatches(stored, wanted)
    if found:
        more = f'; and {len(found) - SHOWN} more' if len(found) > SHOWN else ''
        raise UsageError(
            f'{name} does not fit: {"; ".join(found[:SHOWN])}{more}; build the model from the config.json beside it, '
            'or start in another workdir'
        )


def all_finite(tree: Tree) -> Array:
    """A scalar bool: no leaf holds a NaN or an infinity. Works inside jit."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all() if leaves else jnp.array(True)
