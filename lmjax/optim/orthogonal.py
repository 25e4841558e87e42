"""Muon's step: the nearest orthogonal matrix, in effect, of every weight matrix's momentum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from lmjax.optim.masks import map_axes, widths
from lmjax.parallel.sharding import Axes

if TYPE_CHECKING:
    from lmjax.types import Array, Tree

LOOKUPS = {
    'vocab',
    'positions',
    'types',
    'buckets',
}  # a row of such a weight is read by its index: it is no matrix
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
TINY = 1e-8


def matrix_dims(axes: Axes) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The dimensions that are the rows and the columns of a weight matrix; None if it is no matrix.

    The matrix is made of the last two named widths (of the last two, if fewer are named); what else there is,
    the 'layers' axis for one, counts separate matrices.
    """
    if LOOKUPS & set(axes):
        return None
    every = widths(axes)
    named = [dims for dims in every if axes[dims[0]] is not None]
    chosen = named if len(named) >= 2 else every
    return (chosen[-2], chosen[-1]) if len(chosen) >= 2 else None


def newton_schulz(x_BxIxO: Array) -> Array:
    """Replaces the singular values of each matrix by values near 1, between about 0.7 and 1.2.

    Five quintic iterations (Jordan et al. 2024, 'Muon: an optimizer for hidden layers in neural networks').
    """
    a, b, c = NEWTON_SCHULZ
    tall = x_BxIxO.shape[1] > x_BxIxO.shape[2]
    x = jnp.swapaxes(x_BxIxO, 1, 2) if tall else x_BxIxO
    x = x / (jnp.sqrt(jnp.sum(jnp.square(x), axis=(1, 2), keepdims=True)) + TINY)

    def iterate(_: int, x: Array) -> Array:
        gram = x @ jnp.swapaxes(x, 1, 2)
        return a * x + (b * gram + c * (gram @ gram)) @ x

    x = jax.lax.fori_loop(0, ITERATIONS, iterate, x)  # not unrolled: a fifth of the products to compile
    return jnp.swapaxes(x, 1, 2) if tall else x


def orthogonalize(update: Array, rows: tuple[int, ...], columns: tuple[int, ...]) -> Array:
    """The orthogonalised update of one parameter, scaled to the size of one of AdamW's.

    0.2 sqrt(max(rows, columns)) makes the root mean square about 0.2, AdamW's in practice, so that learning rate and
    decay carry over (Liu et al. 2025, 'Muon is scalable for LLM training', eq. 4).
    """
    batch = tuple(dim for dim in range(update.ndim) if dim not in rows + columns)
    order = batch + rows + columns
    moved = jnp.transpose(update, order)
    sizes = [math.prod(update.shape[dim] for dim in group) for group in (batch, rows, columns)]
    out = newton_schulz(moved.reshape(sizes)) * (0.2 * math.sqrt(max(sizes[1:])))
    back = sorted(range(update.ndim), key=order.__getitem__)
    return jnp.transpose(out.reshape(moved.shape), back)


def scale_by_orthogonality(axes: Tree) -> optax.GradientTransformation:
    """A stateless transformation of the leaves that `axes` says are matrices; the others pass."""

    def one(names: Axes, leaf: Any) -> Any:
        dims = matrix_dims(names)
        return orthogonalize(leaf, *dims) if dims else leaf  # leaf: the mark of a masked parameter

    def update(updates: Tree, params: Tree = None) -> Tree:
        return map_axes(one, axes, updates)

    return optax.stateless(update)


def muon(axes: Tree, *, momentum: Array, others: optax.GradientTransformation) -> optax.GradientTransformation:
    """Nesterov momentum, orthogonalised, for weight matrices; `others` for tables, vectors and scalars."""
    labels = map_axes(lambda names: 'matrix' if matrix_dims(names) else 'other', axes)
    matrices = optax.chain(optax.trace(decay=momentum, nesterov=True), scale_by_orthogonality(axes))
    return optax.partition({'matrix': matrices, 'other': others}, labels)
