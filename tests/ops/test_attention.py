"""Every path of attention against the literal formula, values and gradients, and the masks by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.ops import attention_blocked
from lmjax.ops.attention import ATTENTIONS, Score, Sight, attend, cudnn_refusal, visible
from lmjax.ops.positions import alibi_slopes

B, T, H, G, K = 2, 7, 4, 2, 4


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def by_hand(q, k, v, *, score, seen=None):
    """The formula in float64, one query at a time; seen is B x T x S."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, t, h in np.ndindex(q.shape[:3]):
        group = h // (q.shape[2] // k.shape[2])
        logits = k[b, :, group] @ q[b, t, h] * score.scale
        if score.cap:
            logits = score.cap * np.tanh(logits / score.cap)
        if score.slopes is not None:
            logits -= score.slopes[h] * (t - np.arange(len(logits)))
        keep = np.arange(len(logits)) <= t if seen is None else seen[b, t]
        if score.window:
            keep = keep & (t - np.arange(len(logits)) < score.window)
        weights = np.exp(np.where(keep, logits - logits[keep].max(), -np.inf))
        out[b, t, h] = weights / weights.sum() @ v[b, :, group]
    return out


SCORES = {
    'plain': Score(scale=0.5),
    'window': Score(scale=0.5, window=3),
    'cap': Score(scale=1.0, cap=2.0),
    'alibi': Score(scale=0.5, slopes=alibi_slopes(H)),
}


@pytest.mark.parametrize('how', [name for name in ATTENTIONS if name != 'cudnn'])
@pytest.mark.parametrize('name', SCORES)
def test_every_path_equals_the_formula(how, name, monkeypatch):
    monkeypatch.setattr(attention_blocked, 'BLOCK', 3)
    q, k, v = draw(B, T, H, K), draw(B, T, G, K, seed=1), draw(B, T, G, K, seed=2)
    actual = attend(q, k, v, sight=Sight(), score=SCORES[name], how=how)
    np.testing.assert_allclose(actual, by_hand(q, k, v, score=SCORES[name]), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('how', [name for name in ATTENTIONS if name != 'cudnn'])
@pytest.mark.parametrize('window', [0, 3])
def test_gradients_of_every_path_equal_those_of_the_literal_one(how, window, monkeypatch):
    monkeypatch.setattr(attention_blocked, 'BLOCK', 3)
    args = draw(B, T, H, K), draw(B, T, G, K, seed=1), draw(B, T, G, 5, seed=2)
    weigh = draw(B, T, H, 5, seed=3)

    def grads(path):
        def loss(q, k, v):
            return (attend(q, k, v, sight=Sight(), score=Score(scale=0.5, window=window), how=path) * weigh).sum()

        return jax.jit(jax.grad(loss, (0, 1, 2)))(*args)

    for actual, expected in zip(grads(how), grads('einsum'), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=5e-6)


def test_blocked_path_stays_finite_where_logits_are_huge():
    q, k, v = 100 * draw(1, 5, 1, 4), 100 * draw(1, 5, 1, 4, seed=1), draw(1, 5, 1, 4, seed=2)
    actual = attend(q, k, v, sight=Sight(), score=Score(scale=1.0), how='blocked')
    np.testing.assert_allclose(actual, by_hand(q, k, v, score=Score(scale=1.0)), rtol=1e-4, atol=1e-5)


def test_blocked_path_skips_keys_that_no_query_of_a_block_sees(monkeypatch):
    monkeypatch.setattr(attention_blocked, 'BLOCK', 4)
    assert attention_blocked.spans(10, 0) == [(0, 4, 0), (4, 8, 0), (8, 10, 0)]
    assert attention_blocked.spans(10, 3) == [(0, 4, 0), (4, 8, 2), (8, 10, 6)]
    assert len(attention_blocked.spans(100, 0)) == attention_blocked.BLOCKS


@pytest.mark.parametrize('how', [name for name in ATTENTIONS if name != 'cudnn'])
def test_segments_separate_and_zero_sees_nothing(how):
    segments = jnp.asarray([[1, 1, 2, 2, 2, 0, 0], [0, 0, 1, 1, 1, 1, 1]])
    seen = np.asarray(visible(Sight(query_segments=segments, key_segments=segments), T, T))
    expected = [[[t >= s and a == b != 0 for s, b in enumerate(row)] for t, a in enumerate(row)] for row in segments.tolist()]
    np.testing.assert_array_equal(seen, expected)
    q, k, v = draw(B, T, H, K), draw(B, T, G, K, seed=1), draw(B, T, G, K, seed=2)
    sight = Sight(0, None, None, segments, segments)
    actual = np.asarray(attend(q, k, v, sight=sight, score=Score(scale=0.5), how=how))
    real = np.asarray(segments) != 0
    filled = np.where(real[:, :, None], seen, True)  # padded queries may see anything
    np.testing.assert_allclose(actual[real], by_hand(q, k, v, score=Score(scale=0.5), seen=filled)[real], rtol=2e-5, atol=2e-6)
    assert np.isfinite(actual).all()


def test_window_counts_positions_where_they_are_given():
    """A gap of padding between two tokens is no distance."""
    segments, positions = jnp.asarray([[1, 1, 0, 0, 1]]), jnp.asarray([[0, 1, 2, 2, 2]])
    seen = visible(Sight(0, positions, positions, segments, segments), 5, 5, window=2)
    np.testing.assert_array_equal(seen[0, 4], [False, True, False, False, True])


def test_cudnn_falls_back_loudly():
    q, k, v = draw(B, T, H, K), draw(B, T, G, K, seed=1), draw(B, T, G, K, seed=2)
    with pytest.warns(UserWarning, match='needs a GPU'):
        actual = attend(q, k, v, sight=Sight(), score=Score(scale=0.5), how='cudnn')
    np.testing.assert_allclose(actual, by_hand(q, k, v, score=Score(scale=0.5)), rtol=2e-5, atol=2e-6)


def test_cudnn_refuses_what_it_would_compute_wrongly(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    q = jnp.zeros((1, 4, 1, 16), jnp.bfloat16)
    assert cudnn_refusal(q, q, Sight(), Score(scale=1.0, window=2)) == ''
    segments = jnp.ones((1, 4), jnp.int32)
    for sight, score, why in (
        (Sight(), Score(scale=1.0, cap=1.0), 'soft cap'),
        (Sight(), Score(scale=1.0, slopes=alibi_slopes(1)), 'ALiBi'),
        (Sight(), Score(scale=1.0, dropout_keys=1), 'dropout'),
        (Sight(query_segments=segments, key_segments=segments), Score(scale=1.0), 'segments'),
        (Sight(first_slot=jnp.asarray(1)), Score(scale=1.0), 'cache'),
        (Sight(query_positions=segments), Score(scale=1.0, window=2), 'window'),
    ):
        assert why in cudnn_refusal(q, q, sight, score)
    assert 'head width' in cudnn_refusal(q[..., :4], q[..., :4], Sight(), Score(scale=1.0))
    assert 'bfloat16' in cudnn_refusal(q.astype(jnp.float32), q, Sight(), Score(scale=1.0))


def test_an_unknown_path_is_named_with_those_that_exist():
    with pytest.raises(UsageError, match=r"model\.attention='flash'.*einsum"):
        attend(draw(1, 2, 1, 4), draw(1, 2, 1, 4), draw(1, 2, 1, 4), sight=Sight(), score=Score(scale=1.0), how='flash')
