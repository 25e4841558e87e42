"""Floating-point operations of a function, counted from its jaxpr, loops multiplied out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_flops(f: Callable[..., Any], *args: Any) -> int:
    """Twice the multiply-adds of all matrix products and convolutions that f(*args) computes.

    The args may be ShapeDtypeStructs: nothing runs. A scan counts its body once for each trip, a `cond` its dearest
    branch, a `while` (whose trips are not known) its body once. Elementwise work is not counted, as is usual for MFU.
    """
    return sum(flops_by_scope(f, *args).values())


def flops_by_scope(f: Callable[..., Any], *args: Any) -> dict[str, int]:
    """The same, split by the named scope in which each product stands, such as 'layers/0/attention'."""
    found: Counter[str] = Counter()
    for scope, flops in _count(jax.make_jaxpr(f)(*args).jaxpr, ''):
        found[scope] += flops
    return dict(found)


def _count(jaxpr: Any, outer: str) -> list[tuple[str, int]]:
    return [found for equation in jaxpr.eqns for found in _count_equation(equation, outer)]


def _count_equation(equation: Any, outer: str) -> list[tuple[str, int]]:
    name, params = equation.primitive.name, equation.params
    scope = '/'.join(filter(None, [outer, str(equation.source_info.name_stack)]))
    if name == 'dot_general':
        return [(scope, _dot(equation))]
    if name == 'conv_general_dilated':
        return [(scope, _convolution(equation))]
    if name == 'ragged_dot_general':
        raise NotImplementedError('ragged products are not counted yet')
    inner = [_count(jaxpr, scope) for jaxpr in _jaxprs(params)]
    if name == 'cond':
        return max(inner, key=lambda branch: sum(flops for _, flops in branch))
    trips = params['length'] if name == 'scan' else 1
    return [(scope, flops * trips) for branch in inner for scope, flops in branch]


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """Every jaxpr among an equation's parameters, open or closed, alone or in a tuple."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            item = getattr(item, 'jaxpr', item)
            if hasattr(item, 'eqns'):
                yield item


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params['dimension_numbers']
    summed = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * summed * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    numbers = equation.params['dimension_numbers'].rhs_spec  # (output channels, input channels of a group, *space)
    summed = math.prod(kernel[axis] for axis in numbers[1:])
    return 2 * summed * math.prod(equation.outvars[0].aval.shape)
