"""Every cell, stacked, against PyTorch's with the same weights: hidden states, last states and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.config import RecurrentConfig
from lmjax.types import Inputs

torch = pytest.importorskip('torch')

VOCAB, TIME, ROWS = 11, 7, 3
BASE = RecurrentConfig(embedding=5, hidden=8, depth=2)
MODULES = {'rnn': torch.nn.RNN, 'lstm': torch.nn.LSTM, 'gru': torch.nn.GRU}


def tensor(x):
    return torch.from_numpy(np.array(x))


def twin_of(config, params):
    """PyTorch's module with our weights; its second biases are zero but for the GRU's candidate, where we have one too."""
    twin = MODULES[config.cell](config.embedding, config.hidden, config.depth, batch_first=True)
    with torch.no_grad():
        for i, layer in params['layers'].items():
            getattr(twin, f'weight_ih_l{i}').copy_(tensor(layer['w_x'].T))
            getattr(twin, f'weight_hh_l{i}').copy_(tensor(layer['w_h'].T))
            getattr(twin, f'bias_ih_l{i}').copy_(tensor(layer['b']))
            getattr(twin, f'bias_hh_l{i}').zero_()
            if 'b_n' in layer:
                getattr(twin, f'bias_hh_l{i}')[-config.hidden :] = tensor(layer['b_n'])
    return twin


@pytest.mark.parametrize('cell', MODULES)
def test_a_cell_equals_pytorchs(cell):
    config = dataclasses.replace(BASE, cell=cell)
    model = build(config, vocab_size=VOCAB, seq_len=TIME)
    params = jax.jit(lambda key: model.init(key, {}))(jax.random.key(0))
    twin = twin_of(config, params)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCAB, (ROWS, TIME))
    cotangent = rng.standard_normal((ROWS, TIME, config.hidden)).astype(np.float32)
    state = {
        name: rng.standard_normal((ROWS, 2, config.hidden)).astype(np.float32) for name in ('h', 'c')[: 1 + (cell == 'lstm')]
    }
    cache = {name: jnp.asarray(x) for name, x in state.items()} | {'segment': jnp.ones(ROWS, jnp.int32)}

    @jax.jit
    def ours(params):
        output = model.apply(params, Inputs(jnp.asarray(ids)), cache=cache)
        return (output.hidden * cotangent).sum(), output

    grads, output = jax.grad(ours, has_aux=True)(params)

    first = tuple(tensor(x.swapaxes(0, 1)) for x in state.values())
    x = tensor(params['embedding']['tokens'])[ids].requires_grad_()
    hidden, last = twin(x, first if cell == 'lstm' else first[0])
    (hidden * tensor(cotangent)).sum().backward()

    def close(one, other):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=2e-5, atol=2e-6)

    close(output.hidden, hidden)
    for name, one in zip(state, last if cell == 'lstm' else (last,), strict=True):
        close(output.cache[name], one.swapaxes(0, 1))
    for i, layer in grads['layers'].items():
        close(layer['w_x'].T, getattr(twin, f'weight_ih_l{i}').grad)
        close(layer['w_h'].T, getattr(twin, f'weight_hh_l{i}').grad)
        close(layer['b'], getattr(twin, f'bias_ih_l{i}').grad)
        if 'b_n' in layer:
            close(layer['b_n'], getattr(twin, f'bias_hh_l{i}').grad[-config.hidden :])
    embedding = torch.zeros(VOCAB, config.embedding).index_add_(0, tensor(ids).flatten(), x.grad.flatten(0, 1))
    close(grads['embedding']['tokens'], embedding)
