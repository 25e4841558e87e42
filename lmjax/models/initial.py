"""Initialisations of the transformer: which distribution each kind of weight starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lmjax.config import choose
from lmjax.models.params import Initializer, fan_in, normal, uniform, xavier


class Init(NamedTuple):
    """A distribution for each role; each from (inputs, outputs, depth)."""

    embedding: Callable[[int, int, int], Initializer]  # inputs: vocabulary or positions, outputs: width
    inner: Callable[[int, int, int], Initializer]  # matrices that read the residual stream
    residual: Callable[[int, int, int], Initializer]  # matrices that write to it
    head: Callable[[int, int, int], Initializer]


INITS = {
    # Radford et al. 2019: 0.02, and the 2 x depth writers to the residual stream less, so that their sum keeps its size.
    'gpt2': Init(
        embedding=lambda inputs, outputs, depth: normal(0.02),
        inner=lambda inputs, outputs, depth: normal(0.02),
        residual=lambda inputs, outputs, depth: normal(0.02 / (2 * depth) ** 0.5),
        head=lambda inputs, outputs, depth: normal(0.02),
    ),
    'fan_in': Init(
        embedding=lambda inputs, outputs, depth: fan_in(outputs),
        inner=lambda inputs, outputs, depth: fan_in(inputs),
        residual=lambda inputs, outputs, depth: fan_in(inputs),
        head=lambda inputs, outputs, depth: fan_in(inputs),
    ),
    'xavier': Init(
        embedding=lambda inputs, outputs, depth: fan_in(outputs),
        inner=lambda inputs, outputs, depth: xavier(inputs, outputs),
        residual=lambda inputs, outputs, depth: xavier(inputs, outputs),
        head=lambda inputs, outputs, depth: xavier(inputs, outputs),
    ),
    'uniform_0.1': Init(
        embedding=lambda inputs, outputs, depth: uniform(0.1),
        inner=lambda inputs, outputs, depth: xavier(inputs, outputs),
        residual=lambda inputs, outputs, depth: xavier(inputs, outputs),
        head=lambda inputs, outputs, depth: uniform(0.1),
    ),
}


def init_of(name: str, role: str, inputs: int, outputs: int, depth: int) -> Initializer:
    """The initializer of a weight of `inputs` x `outputs` in a role (a field of Init) of a network `depth` layers deep."""
    return getattr(choose(INITS, name, 'model.init'), role)(inputs, outputs, depth)
