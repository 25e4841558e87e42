"""Floating-point operations of a function, counted from its jaxpr, loops multiplied out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_flops(f: Callable[..., Any], *args: Any) -> int:
    """Twice the multiply-adds of all matrix products and convolutions that f(*args) computes.

    The args may be ShapeDtypeStructs: nothing runs. A scan counts its body once for each trip, a `cond` its dearest
    branch, a `while` (whose trips are not known) its body once. Elementwise work is not counted, as is usual for MFU.
    """
    return _count(jax.make_jaxpr(f)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
        return _dot(equation)
    if name == 'conv_general_dilated':
        return _convolution(equation)
    if name == 'ragged_dot_general':
        raise NotImplementedError('ragged products are not counted yet')
    inner = [_count(jaxpr) for jaxpr in _jaxprs(params)]
    if name == 'cond':
        return max(inner)
    return sum(inner) * (params['length'] if name == 'scan' else 1)


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
