"""The textbook's own numbers, worked out by hand beside the code that must reproduce them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.attention import Context, SelfAttention
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.models.feed_forward import FEED_FORWARDS
from lmjax.models.params import apply_params, count_params, init_params
from lmjax.ops.attention import ATTENTIONS, Score, Sight, attend
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


def test_attention_on_two_queries_and_two_keys():
    """softmax(Q K^T / sqrt(d_k)) V with Q = [[1, 0], [1, 1]], K = [[1, 0], [0, 1]], V = [[1, 2], [3, 4]] and d_k = 2.

    The first query sees the first key alone. The second scores both 1 / sqrt(2), so its output is the mean of the values.
    """
    q, k, v = (
        jnp.asarray(x)[None, :, None] for x in ([[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]])
    )
    out = attend(q, k, v, sight=Sight(), score=Score(scale=2**-0.5))
    np.testing.assert_allclose(out[0, :, 0], [[1.0, 2.0], [2.0, 3.0]], rtol=1e-6)
    # A query that sees both keys unequally: weights e^(1/sqrt 2) : 1.
    q = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])[None, :, None]
    out = attend(q, k, v, sight=Sight(), score=Score(scale=2**-0.5))
    first = np.exp(2**-0.5) / (np.exp(2**-0.5) + 1)
    np.testing.assert_allclose(first, 0.669761, atol=1e-6)
    np.testing.assert_allclose(out[0, 1, 0], [first * 1 + (1 - first) * 3, first * 2 + (1 - first) * 4], rtol=1e-6)


def test_values_may_be_wider_than_keys():
    """d_k = 2, d_v = 3: two equal keys share the weight, and the output is as wide as the values."""
    q, k = jnp.asarray([[5.0, 0.0], [1.0, 2.0]])[None, :, None], jnp.ones((1, 2, 1, 2))
    v = jnp.asarray([[0.0, 3.0, 6.0], [2.0, 5.0, 8.0]])[None, :, None]
    out = attend(q, k, v, sight=Sight(), score=Score(scale=2**-0.5))
    np.testing.assert_allclose(out[0, :, 0], [[0.0, 3.0, 6.0], [1.0, 4.0, 7.0]], rtol=1e-6)


@pytest.mark.parametrize('how', [name for name in ATTENTIONS if name != 'cudnn'])
def test_every_attention_path_is_the_literal_formula(how):
    q, k, v = (np.random.default_rng(i).standard_normal((1, 5, 1, 4)) for i in range(3))
    logits = q[0, :, 0] @ k[0, :, 0].T / np.sqrt(4)
    weights = np.exp(np.where(np.tri(5, dtype=bool), logits, -np.inf))
    expected = weights / weights.sum(-1, keepdims=True) @ v[0, :, 0]
    q, k, v = (jnp.asarray(x, jnp.float32) for x in (q, k, v))
    out = attend(q, k, v, sight=Sight(), score=Score(scale=4**-0.5), how=how)
    np.testing.assert_allclose(out[0, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_concatenated_heads_times_w_o_are_the_sum_of_each_heads_product():
    """Concat(head_1 .. head_h) W_O = sum over i of head_i W_O[i]."""
    config = TransformerConfig(width=6, depth=1, heads=3, position='none')
    layer = SelfAttention(config)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 6)), jnp.float32)
    context = Context(1, jnp.arange(5)[None])
    shapes = {'w_q': (6, 3, 2), 'w_k': (6, 3, 2), 'w_v': (6, 3, 2), 'w_o': (3, 2, 6)}
    params = {name: jax.random.normal(jax.random.key(i), shape) for i, (name, shape) in enumerate(shapes.items())}
    whole, _ = apply_params(layer, params, x, context)
    parts = []
    for i in range(3):
        q, k, v = (jnp.einsum('td,dk->tk', x, params[f'w_{n}'][:, i]) for n in 'qkv')
        weights = jax.nn.softmax(jnp.where(jnp.tri(5, dtype=bool), q @ k.T / np.sqrt(2), -jnp.inf), axis=-1)
        parts.append(weights @ v @ params['w_o'][i])
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-4, atol=1e-6)


def test_two_relu_feed_forward_is_never_negative():
    """ReLU(W1 ReLU(W2 x + b2) + b1), by hand on one unit and on random ones."""
    layer = FEED_FORWARDS['two_relu'](TransformerConfig(width=1, ff_width=1, bias=True))
    params = {
        'w_up': jnp.asarray([[2.0]]),
        'b_up': jnp.asarray([1.0]),
        'w_down': jnp.asarray([[-1.0]]),
        'b_down': jnp.asarray([4.0]),
    }
    out = apply_params(layer, params, jnp.asarray([[-3.0], [0.5], [1.0], [2.0]]))
    np.testing.assert_array_equal(out[:, 0], [4.0, 2.0, 1.0, 0.0])
    layer = FEED_FORWARDS['two_relu'](TransformerConfig(width=8, bias=True, init='fan_in'))
    x = jax.random.normal(jax.random.key(1), (50, 8))
    out = apply_params(layer, init_params(layer, jax.random.key(0), x), x)
    assert (out >= 0).all()
    assert 0.1 < (out > 0).mean() < 0.9


@pytest.mark.parametrize(
    ('depth', 'width', 'heads', 'count'),
    [(12, 768, 12, 124_439_808), (24, 1024, 16, 354_823_168), (36, 1280, 20, 774_030_080), (48, 1600, 25, 1_557_611_200)],
)
def test_gpt2_has_its_published_number_of_parameters(depth, width, heads, count):
    choices = {'position': 'learned', 'norm': 'layer', 'feed_forward': 'gelu_tanh', 'bias': True, 'scan_layers': True}
    config = TransformerConfig(width=width, depth=depth, heads=heads, **choices)
    model = build(config, vocab_size=50257, seq_len=1024)
    assert count_params(jax.eval_shape(lambda key: model.init(key, {}), jax.random.key(0))) == count
