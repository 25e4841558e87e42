"""Parameters that learn at rates of their own, or not at all: by pattern over their paths, and by their layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lmjax.config import UsageError
from lmjax.optim.masks import first_match, is_stacked, paths
from lmjax.parallel.sharding import is_axes

if TYPE_CHECKING:
    from lmjax.types import Tree

LAYER = re.compile(r'^(.*?)layers/(?:(\d+)/)?')
BELOW = 'embedding/'  # what begins so stands below all layers


def pattern_rates(rules: Sequence[str], axes: Tree) -> Tree:
    """A tree of floats like the parameters: of `PATTERN=FACTOR` rules the first that is found in a path; else 1.

    Raises UsageError for a rule that is none, or that decides about no parameter.
    """
    parsed = [parse_rule(rule) for rule in rules]
    names = paths(axes)
    decided = first_match('optim.rates', [pattern for pattern, _ in parsed], names)
    factors = [1.0 if index is None else parsed[index][1] for index in decided]
    return jax.tree.unflatten(jax.tree.structure(axes, is_leaf=is_axes), factors)


def parse_rule(rule: str) -> tuple[str, float]:
    pattern, sign, factor = rule.rpartition('=')
    try:
        number = float(factor)
    except ValueError:
        number = -1.0
    if not (sign and pattern and 0 <= number < float('inf')):
        raise UsageError(f'optim.rates={rule!r}: no rule; write PATTERN=FACTOR, as embedding=0.1, or layers/0=0 to freeze')
    return pattern, number


def frozen(rules: Sequence[str], axes: Tree) -> Tree:
    """A tree of booleans like the parameters: which of them do not learn. Raises UsageError as `pattern_rates`."""
    return jax.tree.map(lambda factor: factor == 0, pattern_rates(rules, axes))


def layer_rates(decay: float, axes: Tree, params: Tree) -> Tree:
    """A tree like the parameters: `decay` to the power of how far each is below the top (Clark et al. 2020, appendix A).

    Of N layers the uppermost is 1 below what stands on them, the lowest N, and the embedding N + 1. A stack has an array of N
    powers, which multiplies its leaves.
    """
    names, flat = paths(axes), jax.tree.leaves(axes, is_leaf=is_axes)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    found = [LAYER.match(name) for name in names]
    counts: dict[str, int] = {}  # layers of each stack, by what stands before `layers` in its paths
    for match, leaf_axes, shape in zip(found, flat, shapes, strict=True):
        if match:
            count = shape[0] if is_stacked(leaf_axes) else int(match[2]) + 1
            counts[match[1]] = max(count, counts.get(match[1], 0))

    def rate(name: str, match: re.Match[str] | None, leaf_axes: tuple, shape: tuple[int, ...]) -> Any:
        if name.startswith(BELOW):
            return decay ** (max(counts.values(), default=0) + 1)
        if not match:
            return 1.0
        count = counts[match[1]]
        if is_stacked(leaf_axes):
            return (decay ** (count - np.arange(count))).reshape(-1, *(1,) * (len(shape) - 1)).astype(np.float32)
        return decay ** (count - int(match[2]))

    each = map(rate, names, found, flat, shapes)
    return jax.tree.unflatten(jax.tree.structure(params), list(each))


def scale_by_rates(rules: Sequence[str], layer_decay: float, axes: Tree) -> optax.GradientTransformation:
    """Multiplies updates by both. Raises UsageError as `pattern_rates`."""
    factors = pattern_rates(rules, axes)

    def update(updates: Tree, params: Tree = None) -> Tree:
        layers = layer_rates(layer_decay or 1.0, axes, updates)
        return jax.tree.map(lambda u, factor, layer: u * (factor * layer), updates, factors, layers)

    return optax.stateless(update)
