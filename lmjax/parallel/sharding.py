"""Which dimension of which array lies along which axis of the mesh: one table of logical axis names.

Networks name logical axes only ('embed', 'heads', ...). An array's dimension is split along the mesh axes of its
name's row, so far as its size divides by them; each mesh axis splits at most one dimension of an array, the first
that wants it; what is left is replicated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

if TYPE_CHECKING:
    from lmjax.types import Tree


Axes = tuple[str | None, ...]


def is_axes(node: Any) -> bool:
    """Whether a node of an axes tree is a leaf (tuples are containers to JAX)."""
    return isinstance(node, tuple)


# logical axis -> mesh axes, outermost first; a name that has no row is replicated
RULES: dict[str, tuple[str, ...]] = {
    'batch': ('data', 'fsdp'),
    'embed': ('fsdp',),
    'heads': ('tensor',),
    'kv_heads': ('tensor',),
    'mlp': ('tensor',),
    'vocab': ('tensor',),
    'gates': ('tensor',),
}


def spec_of(axes: Axes, mesh: Mesh, shape: Sequence[int]) -> PartitionSpec:
    """The mesh axes of each dimension of an array of this shape; see the rules at the top."""
    if len(axes) != len(shape):
        raise ValueError(f'axes {axes} name {len(axes)} dimensions, the array of shape {tuple(shape)} has {len(shape)}')
    used: set[str] = set()
    entries = []
    for name, size in zip(axes, shape, strict=True):
        split: list[str] = []
        for mesh_axis in RULES.get(name or '', ()):
            parts = mesh.shape[mesh_axis]
            if parts > 1 and mesh_axis not in used and size % parts == 0:
                split.append(mesh_axis)
                used.add(mesh_axis)
                size //= parts
        entries.append(tuple(split) if len(split) > 1 else split[0] if split else None)
    return PartitionSpec(*entries)


def sharding_of(axes: Axes, mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """The sharding of one array by the logical names of its dimensions."""
    return NamedSharding(mesh, spec_of(axes, mesh, shape))


def shardings(mesh: Mesh, axes: Tree, shapes: Tree) -> Tree:
    """The sharding of every leaf of `shapes` (arrays, or what `jax.eval_shape` returns), as `axes` names them."""
    one = lambda names, leaf: sharding_of(names, mesh, leaf.shape)  # noqa: E731
    return jax.tree.map(one, axes, shapes, is_leaf=is_axes)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over the devices that hold rows, whatever the other dimensions are."""
    return NamedSharding(mesh, PartitionSpec(RULES['batch']))


def state_shardings(mesh: Mesh, axes: Tree, params: Tree, state: Tree) -> Tree:
    """Shardings for a tree that holds copies of parameters' shape somewhere: an optimizer's state, a whole train state.

    A leaf whose path ends in a parameter's path and whose shape is that parameter's lies as the parameter does
    (moments, averages, the parameters themselves). All else, such as counters and Adafactor's factored moments, a
    few vectors for each matrix, is replicated. `params` and `state` are arrays or what `jax.eval_shape` returns.
    """
    placed = jax.tree_util.tree_flatten_with_path(shardings(mesh, axes, params))[0]
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    known = {_names(path): (shape, where) for (path, where), shape in zip(placed, shapes, strict=True)}

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        names = _names(path)
        for start in range(len(names)):
            shape, where = known.get(names[start:], (None, None))
            if where is not None and shape == leaf.shape:
                return where
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, state)


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def shard_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Global arrays from this host's rows of a batch (numpy, rows first), each laid out by `batch_sharding`."""
    where = batch_sharding(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(where, rows), batch)
