"""Feed-forward sublayers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax

from lmjax.models.config import TransformerConfig
from lmjax.models.initial import init_of
from lmjax.models.params import weight, zeros
from lmjax.ops.activations import gelu, gelu_tanh, identity, squared_relu
from lmjax.ops.products import product


def dense(
    module: nn.Module, name: str, x: Any, outputs: int, axes: tuple[str, str], role: str, config: TransformerConfig
) -> Any:
    """x W (+ b) with parameters w_<name> (and b_<name>), in the dtype of x."""
    inputs = x.shape[-1]
    init = init_of(config.init, role, inputs, outputs, config.depth)
    y = product(x, weight(module, f'w_{name}', (inputs, outputs), axes, init).astype(x.dtype))
    if config.bias:
        b = weight(module, f'b_{name}', (outputs,), axes[1:], zeros()).astype(x.dtype)
        y = y + b[None]
    return y


class FeedForward(nn.Module):
    """last(activation(x W_up + b_up) W_down + b_down) (Vaswani et al. 2017, eq. 2); 4 x width inside by default."""

    config: TransformerConfig
    activation: Callable[[Any], Any]
    last: Callable[[Any], Any] = identity

    @nn.compact
    def __call__(self, x_CxD: Any) -> Any:
        inner_CxF = self.activation(up(self, 'up', x_CxD, inner_width(self.config)))
        return self.last(down(self, inner_CxF))


class GatedFeedForward(nn.Module):
    """(activation(x W_gate) * x W_up) W_down (Shazeer 2020, eq. 6); 8/3 x width inside by default."""

    config: TransformerConfig
    activation: Callable[[Any], Any]

    @nn.compact
    def __call__(self, x_CxD: Any) -> Any:
        inner = inner_width(self.config)
        gate_CxF = self.activation(up(self, 'gate', x_CxD, inner))
        return down(self, gate_CxF * up(self, 'up', x_CxD, inner))


def up(module: FeedForward | GatedFeedForward, name: str, x_CxD: Any, inner: int) -> Any:
    """x W (+ b), C x F."""
    return dense(module, name, x_CxD, inner, ('embed', 'mlp'), 'inner', module.config)


def down(module: FeedForward | GatedFeedForward, inner_CxF: Any) -> Any:
    """The way back to the residual stream, C x D."""
    return dense(module, 'down', inner_CxF, module.config.width, ('mlp', 'embed'), 'residual', module.config)


# name -> module, given a config
FEED_FORWARDS: dict[str, Callable[..., nn.Module]] = {
    'relu': partial(FeedForward, activation=jax.nn.relu),
    'gelu': partial(FeedForward, activation=gelu),
    'gelu_tanh': partial(FeedForward, activation=gelu_tanh),
    'silu': partial(FeedForward, activation=jax.nn.silu),
    'squared_relu': partial(FeedForward, activation=squared_relu),
    'two_relu': partial(FeedForward, activation=jax.nn.relu, last=jax.nn.relu),
    'geglu': partial(GatedFeedForward, activation=gelu),
    'geglu_tanh': partial(GatedFeedForward, activation=gelu_tanh),
    'swiglu': partial(GatedFeedForward, activation=jax.nn.silu),
    'reglu': partial(GatedFeedForward, activation=jax.nn.relu),
}


def is_gated(name: str) -> bool:
    """Whether the row `name` of FEED_FORWARDS multiplies two projections."""
    return getattr(FEED_FORWARDS[name], 'func', None) is GatedFeedForward


def inner_width(config: TransformerConfig) -> int:
    """F: as asked for, else 4 x width, or for a gated form what makes its three matrices as large as those two."""
    return config.ff_width or (-(-8 * config.width // 3 // 8) * 8 if is_gated(config.feed_forward) else 4 * config.width)
