"""The textbook's own numbers, worked out by hand beside the code that must reproduce them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.config import RecurrentConfig
from lmjax.models.params import count_params
from lmjax.ops.losses import token_scores
from lmjax.types import Inputs


@pytest.mark.parametrize('path', [{'pick': 'one_hot'}, {'pick': 'index'}, {'steps': 1}])
def test_cross_entropy_of_a_prediction(path):
    """[0.1, 0.6, 0.1, 0.1, 0.1] against the second of five words: -ln 0.6 nats, perplexity 1 / 0.6."""
    logits = jnp.log(jnp.asarray([0.1, 0.6, 0.1, 0.1, 0.1]))
    hidden_BxTxD, ids_BxT = jnp.ones((1, 3, 1)), jnp.full((1, 3), 1)
    scores = token_scores(lambda rows: rows * logits[None], hidden_BxTxD, ids_BxT, vocab_size=5, **path)
    loss = -scores.logprob.mean()
    np.testing.assert_allclose(loss, 0.5108256, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(loss), 1.6667, atol=5e-5)


def small_rnn():
    """Two words, one-hot, and two hidden units, whose four matrices are easy on paper."""
    model = build(RecurrentConfig(cell='rnn', embedding=0, hidden=2, depth=1), vocab_size=2, seq_len=2)
    params = {
        # columns of W_xh are rows here: weights are kept inputs first
        'layers': {'0': {'w_x': jnp.asarray([[1.0, 0.0], [0.5, -1.0]]), 'w_h': jnp.asarray([[0.5, 1.0], [0.0, -0.5]])}},
        'head': {'w': jnp.asarray([[-1.0, 0.0], [0.0, 3.0]]), 'b': jnp.asarray([0.5, -0.5])},
    }
    params['layers']['0']['b'] = jnp.asarray([0.0, 0.25])
    return model, params


def test_two_steps_of_the_rnn_by_hand():
    """h_t = tanh(W_hh h_(t-1) + W_xh x_t + b_h), y_t = W_hy h_t + b_y, from h_0 = 0, over the words 0, 1."""
    model, params = small_rnn()
    h1 = np.tanh([1.0 + 0.0, 0.0 + 0.25])
    h2 = np.tanh([0.5 * h1[0] + 0.5, 1.0 * h1[0] - 0.5 * h1[1] - 1.0 + 0.25])
    np.testing.assert_allclose(h1, [0.761594, 0.244919], atol=1e-6)
    hidden = model.apply(params, Inputs(jnp.asarray([[0, 1]]))).hidden
    np.testing.assert_allclose(hidden[0], [h1, h2], rtol=1e-6)
    y = [[-h[0] + 0.5, 3.0 * h[1] - 0.5] for h in (h1, h2)]
    np.testing.assert_allclose(model.score(params, hidden)[0], y, rtol=1e-6)


def test_the_rnn_generates_with_its_state_carried():
    """Each step reads the last word and state alone, and continues as the network that reads the whole text again."""
    model, params = small_rnn()
    h, word, by_hand = np.zeros(2), 0, []
    for _ in range(8):
        x = np.eye(2)[word]
        h = np.tanh(h @ np.asarray(params['layers']['0']['w_h']) + x @ np.asarray(params['layers']['0']['w_x']) + [0.0, 0.25])
        word = int(np.argmax(h @ np.asarray(params['head']['w']) + [0.5, -0.5]))
        by_hand.append(word)
    assert by_hand == [1, 0] * 4

    cache, word, text = model.init_cache(params, 1, 0), 0, [0]
    for _ in range(8):
        output = model.apply(params, Inputs(jnp.asarray([[word]])), cache=cache)
        cache, word = output.cache, int(model.score(params, output.hidden)[0, 0].argmax())
        assert word == int(model.score(params, model.apply(params, Inputs(jnp.asarray([text]))).hidden)[0, -1].argmax())
        text.append(word)
    assert text[1:] == by_hand
    np.testing.assert_allclose(cache['h'][0, 0], h, rtol=1e-5)


@pytest.mark.parametrize(
    ('config', 'vocab_size', 'count'),
    [
        (RecurrentConfig(cell='lstm', embedding=256, hidden=512, depth=2), 10_000, 11_364_112),
        (RecurrentConfig(cell='lstm', embedding=0, hidden=128, depth=1), 85, 120_533),
    ],
)
def test_parameter_counts_of_the_lstms(config, vocab_size, count):
    model = build(config, vocab_size=vocab_size, seq_len=8)
    assert count_params(jax.eval_shape(lambda: model.init(jax.random.key(0), {}))) == count
