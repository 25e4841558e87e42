"""The parts of a recurrent language model: embedding, layer, head, and where their parameters start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lmjax.models.config import RecurrentConfig
from lmjax.models.params import DTYPES, Initializer, normal, orthogonal, uniform, weight, xavier, zeros
from lmjax.ops.products import product
from lmjax.ops.recurrences import CELLS, Weights, recur


class Init(NamedTuple):
    """Where each kind of parameter starts; each from (inputs, hidden)."""

    inputs: Callable[[int, int], Initializer]
    recurrent: Callable[[int, int], Initializer]
    bias: Callable[[int, int], Initializer]


def orthogonal_gates() -> Initializer:
    """An orthogonal H x H matrix for each gate of an H x G weight."""

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        keys = jax.random.split(key, shape[1] // shape[0])
        return jnp.concatenate([orthogonal()(key, (shape[0], shape[0]), dtype) for key in keys], axis=1)

    return init


def _inverse_root(inputs: int, hidden: int) -> Initializer:
    return uniform(hidden**-0.5)


RECURRENT_INITS = {
    'uniform': Init(_inverse_root, _inverse_root, _inverse_root),  # PyTorch's: all within 1 / sqrt(hidden)
    'orthogonal': Init(xavier, lambda inputs, hidden: orthogonal_gates(), lambda inputs, hidden: zeros()),
}
INITIAL_STATES = {'zero': None, 'learned': zeros}  # name -> what the first state's parameters start from


class Layer(nn.Module):
    """One recurrent layer, `inputs` wide; over token ids (one-hot input) where `one_hot`."""

    config: RecurrentConfig
    inputs: int
    input_axis: str
    one_hot: bool = False

    @nn.compact
    def __call__(self, x_TxBxI: Any, state: Any = None, restart_TxB: Any = None) -> tuple[Any, Any]:
        """Hidden states T x B x H and the last state; `state` None: from the initial one."""
        c, cell, dtype = self.config, CELLS[self.config.cell], DTYPES[self.config.dtype]
        init, gates = RECURRENT_INITS[c.init], CELLS[c.cell].gates * c.hidden
        w_x = weight(self, 'w_x', (self.inputs, gates), (self.input_axis, 'gates'), init.inputs(self.inputs, c.hidden))
        w_h = weight(self, 'w_h', (c.hidden, gates), ('hidden', 'gates'), init.recurrent(self.inputs, c.hidden))
        b = weight(self, 'b', (gates,), ('gates',), _with_forget_bias(init.bias(self.inputs, c.hidden), c))
        b_h = None
        if not cell.additive:  # the candidate's share of h W stands inside the reset gate: a bias of its own
            b_n = weight(self, 'b_n', (c.hidden,), ('hidden',), init.bias(self.inputs, c.hidden))
            b_h = jnp.concatenate([jnp.zeros(gates - c.hidden), b_n])
        initial = None
        if start := INITIAL_STATES[c.initial_state]:
            initial = tuple(weight(self, f'initial_{name}', (c.hidden,), ('hidden',), start()) for name in cell.carries)

        x_TxBxG = w_x[x_TxBxI] if self.one_hot else product(x_TxBxI, w_x.astype(dtype)).astype(jnp.float32)
        if state is None:
            first = initial or (jnp.zeros(c.hidden),) * len(cell.carries)
            state = tuple(jnp.broadcast_to(x, (x_TxBxG.shape[1], c.hidden)) for x in first)
        weights = Weights(w_h.astype(dtype), b_h, initial)
        hidden_TxBxH, state = recur(cell, x_TxBxG + b[None, None], weights, state, restart_TxB=restart_TxB)
        return hidden_TxBxH.astype(dtype), state


def _with_forget_bias(init: Initializer, config: RecurrentConfig) -> Initializer:
    """Adds `forget_bias` to the second of the LSTM's gates (Jozefowicz et al. 2015, section 2.2)."""
    if not config.forget_bias:
        return init
    forget = slice(config.hidden, 2 * config.hidden)
    return lambda key, shape, dtype=jnp.float32: init(key, shape, dtype).at[forget].add(config.forget_bias)


class Embedding(nn.Module):
    config: RecurrentConfig
    vocab_size: int

    @nn.compact
    def __call__(self, ids: Any, types: Any = None) -> Any:
        """... x E; types None: all 0."""
        c = self.config
        init = uniform(c.hidden**-0.5) if c.tied else normal(1.0)  # PyTorch's, unless it is the head too
        table_VxD = weight(self, 'tokens', (self.vocab_size, c.embedding), ('vocab', 'embed'), init)
        x = table_VxD[ids]
        if c.token_types:
            types_KxD = weight(self, 'types', (c.token_types, c.embedding), ('types', 'embed'), init)
            x = x + types_KxD[jnp.zeros_like(ids) if types is None else types]
        return x.astype(DTYPES[c.dtype])


class Head(nn.Module):
    """y = W h + b; W is the embedding, transposed, where it is tied."""

    config: RecurrentConfig
    vocab_size: int

    @nn.compact
    def __call__(self, hidden_CxH: Any, embedding_VxD: Any = None) -> Any:
        """Logits in float32, of rows (C, H)."""
        c, init = self.config, uniform(self.config.hidden**-0.5)
        shape, axes = (c.hidden, self.vocab_size), ('hidden', 'vocab')
        w = embedding_VxD if c.tied else weight(self, 'w', shape, axes, init)
        logits = product(hidden_CxH, w.astype(hidden_CxH.dtype), transposed=c.tied).astype(jnp.float32)
        return logits + weight(self, 'b', (self.vocab_size,), ('vocab',), init)[None] if c.head_bias else logits
