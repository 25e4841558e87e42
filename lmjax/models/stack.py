"""Composing layers: each made from its own key, then run by a Python loop or by one scan over stacked parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.config import choose
from lmjax.models.params import is_axes

if TYPE_CHECKING:
    from lmjax.types import Tree

# What the backward pass keeps of a layer rather than computing it again: name -> (function, in a scan) -> function
REMATS: dict[str, Callable[..., Any]] = {
    'none': lambda f, in_scan: f,
    # prevent_cse=False in a scan: the loop already keeps the two computations apart, and the barrier costs time.
    'full': lambda f, in_scan: jax.checkpoint(f, prevent_cse=not in_scan),
    'dots': lambda f, in_scan: jax.checkpoint(
        f, prevent_cse=not in_scan, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    ),
}


def init_stack(init: Callable[[jax.Array], Tree], key: jax.Array, *, depth: int, scanned: bool) -> Tree:
    """Parameters of `depth` layers under '0'.., or stacked along a new first axis; layer i is the same either way."""
    # One compiled body for all layers: an init is mostly compilation.
    stacked = jax.lax.map(init, jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(depth)))
    return stacked if scanned else unstack_layers(stacked, depth)


def unstack_layers(stacked: Tree, depth: int) -> Tree:
    """Stacked layers as separate ones under '0', '1', ..."""
    return {str(i): jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(depth)}


def stack_layers(layers: list[Tree]) -> Tree:
    """One tree whose leaves have the layers along their first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)


def stack_axes(axes: Tree, *, depth: int, scanned: bool) -> Tree:
    """The axes tree of `depth` layers from that of one."""
    if scanned:
        return jax.tree.map(lambda names: ('layers', *names), axes, is_leaf=is_axes)
    return {str(i): axes for i in range(depth)}


def run_stack(
    layer: Callable[..., tuple[Any, Tree]],
    params: Tree,
    x: Any,
    caches: Tree,
    given: Tree = None,
    *,
    depth: int,
    scanned: bool,
    remat: str,
) -> tuple[Any, Tree]:
    """Applies layer(params, x, cache, given, index) -> (x, cache) `depth` times.

    Caches, and what else is given to each layer, are laid out like params, or None.
    """
    layer = choose(REMATS, remat, 'model.remat')(layer, scanned)
    if scanned:

        def step(x: Any, each: tuple) -> tuple[Any, Tree]:
            return layer(each[0], x, *each[1:])

        return jax.lax.scan(step, x, (params, caches, given, jnp.arange(depth)))
    after = {}
    for i in range(depth):
        x, after[str(i)] = layer(params[str(i)], x, caches and caches[str(i)], given and given[str(i)], i)
    return x, after if caches else None
