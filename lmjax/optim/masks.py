"""Which parameters a rule is for: by logical axes, and by pattern over parameter paths.

A tree of logical axes stands for the parameters here, so masks need no arrays: its leaves are tuples of axis names.
A leading 'layers' axis is a stack of layers, not a dimension of the weight; a `head_width` axis belongs to the
heads before it, and both are one width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from lmjax.config import UsageError, nearest
from lmjax.parallel.sharding import Axes, is_axes

if TYPE_CHECKING:
    from lmjax.types import Tree


def map_axes(function: Callable[..., Any], axes: Tree, *rest: Tree) -> Tree:
    """`jax.tree.map` over a tree whose leaves are tuples of logical axis names."""
    return jax.tree.map(function, axes, *rest, is_leaf=is_axes)


def is_stacked(axes: Axes) -> bool:
    """Whether a leaf holds one weight of every layer along its first dimension."""
    return axes[:1] == ('layers',)


def widths(axes: Axes) -> list[tuple[int, ...]]:
    """The dimensions of a leaf grouped into widths: one entry a width, `layers` left out.

    ('layers', 'embed', 'heads', 'head_width') -> [(1,), (2, 3)]: a matrix from D to H * K.
    """
    groups: list[tuple[int, ...]] = []
    for dim, name in enumerate(axes):
        if name == 'layers':
            continue
        if name == 'head_width' and groups and groups[-1][-1] == dim - 1:
            groups[-1] = (*groups[-1], dim)
        else:
            groups.append((dim,))
    return groups


def paths(axes: Tree) -> list[str]:
    """The path of every parameter, 'layers/0/attention/w_q', in tree order."""
    flat = jax.tree_util.tree_flatten_with_path(axes, is_leaf=is_axes)[0]
    return [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in flat]


def decay_mask(patterns: Sequence[str], axes: Tree) -> Tree:
    """A tree of booleans like the parameters: which of them decay.

    Without patterns every weight of two or more widths decays: matrices and tables do, vectors and scalars don't.
    With patterns, the first that is found in a parameter's path (`re.search`) decides: `pattern` decays it,
    `!pattern` spares it; parameters that no pattern matches don't decay.

    Raises UsageError for a pattern that does not compile, or that decides about no parameter.
    """
    if not patterns:
        return map_axes(lambda names: len(widths(names)) >= 2, axes)
    names = paths(axes)
    decided = first_match('optim.decay_mask', [pattern.removeprefix('!') for pattern in patterns], names, written=patterns)
    decays = [index is not None and not patterns[index].startswith('!') for index in decided]
    return jax.tree.unflatten(jax.tree.structure(axes, is_leaf=is_axes), decays)


def first_match(field: str, patterns: Sequence[str], names: Sequence[str], *, written: Sequence[str] = ()) -> list[int | None]:
    """Of each name the number of the first pattern that is found in it; `written` is how errors show the patterns.

    Raises UsageError for what is no pattern, and for a pattern that decides about none of the names.
    """
    rules = [_compiled(field, pattern) for pattern in patterns]
    decided = [next((index for index, rule in enumerate(rules) if rule.search(name)), None) for name in names]
    for index, (rule, shown) in enumerate(zip(rules, written or patterns, strict=True)):
        if index not in decided:
            raise UsageError(f'{field}={shown!r}: {_unused(rule, names)}')
    return decided


def _compiled(field: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f'{field}={pattern!r}: not a regular expression: {error}') from None


def _unused(rule: re.Pattern[str], names: Sequence[str]) -> str:
    if any(rule.search(name) for name in names):
        return 'patterns before it match all that it matches; remove it or put it first'
    return f'matches no parameter; {nearest(rule.pattern, names)}'
