"""The softmax scores: every path against plain log_softmax, values and gradients, and what is never held in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.ops.losses import (
    KEPT_LOGITS,
    LARGE_VOCABULARY,
    _steps_of_a_chunk,
    divergence,
    scores_of_logits,
    soft_scores,
    token_scores,
)

B, T, D, V = 3, 7, 5, 11
PATHS = {
    'index': {'pick': 'index'},
    'one_hot': {'pick': 'one_hot'},
    'chunks': {'steps': 2},  # 7 is no multiple of 2: the last chunk is padded
    'chunks_one_hot': {'steps': 3, 'pick': 'one_hot'},
    'single_steps': {'steps': 1},
}
every_path = pytest.mark.parametrize('path', PATHS)


def example():
    keys = jax.random.split(jax.random.key(0), 4)
    w = jax.random.normal(keys[0], (D, V))
    hidden = 2 * jax.random.normal(keys[1], (B, T, D))
    ids = jax.random.randint(keys[2], (B, T), 0, V)
    ids = ids.at[:, ::3].set(jnp.argmax(hidden @ w, -1)[:, ::3])  # some hits
    return w, hidden, ids, jax.random.normal(keys[3], (4, B, T))


def plain(w, hidden, ids):
    logits = hidden @ w
    logprobs = jax.nn.log_softmax(logits)
    picked = (logprobs * jax.nn.one_hot(ids, V)).sum(-1)
    hits = (jnp.argmax(logits, -1) == ids).astype(jnp.float32)
    return picked, jax.nn.logsumexp(logits, axis=-1), logprobs.mean(-1), hits


@every_path
def test_scores_are_those_of_log_softmax(path):
    w, hidden, ids, _ = example()
    scores = jax.jit(lambda w, h: token_scores(lambda rows: rows @ w, h, ids, vocab_size=V, **PATHS[path]))(w, hidden)
    for actual, expected in zip(scores, plain(w, hidden, ids), strict=True):
        assert actual.shape == (B, T)
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert 0 < scores.correct.sum() < B * T


@every_path
def test_gradients_are_those_of_log_softmax(path):
    """With a weight of its own for every score and place; the head's matrix is only closed over."""
    w, hidden, ids, weights = example()

    def weighed(scores):
        return sum((a * b).sum() for a, b in zip(scores[:3], weights[:3], strict=True))

    def ours(w, h):
        return weighed(token_scores(lambda rows: rows @ w, h, ids, vocab_size=V, **PATHS[path]))

    actual = jax.jit(jax.grad(ours, (0, 1)))(w, hidden)
    expected = jax.jit(jax.grad(lambda w, h: weighed(plain(w, h, ids)), (0, 1)))(w, hidden)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_among_equal_logits_the_first_is_the_most_likely():
    logits = jnp.asarray([[1.0, 3.0, 3.0], [1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]])
    scores = scores_of_logits('index', logits, jnp.asarray([1, 2, 0, 2]))
    np.testing.assert_array_equal(scores.correct, [1.0, 0.0, 1.0, 0.0])


def test_large_logits_stay_accurate():
    logits = jnp.asarray([[1e4, 1e4 - 1.0, -1e4]])
    scores = scores_of_logits('index', logits, jnp.asarray([1]))
    np.testing.assert_allclose(scores.logprob, [-1.0 - np.log1p(np.exp(-1.0))], rtol=1e-3)
    assert all(np.isfinite(x).all() for x in scores)


def test_half_precision_logits_are_scored_in_float32():
    w, hidden, ids, _ = example()

    def total(w):
        scores = token_scores(lambda rows: (rows @ w).astype(jnp.bfloat16), hidden, ids, vocab_size=V)
        assert scores.logprob.dtype == jnp.float32
        return scores.logprob.sum()

    assert jax.grad(total)(w).dtype == jnp.float32
    rounded = jax.nn.log_softmax((hidden @ w).astype(jnp.bfloat16).astype(jnp.float32))
    expected = jnp.take_along_axis(rounded, ids[..., None], axis=-1).sum()
    np.testing.assert_allclose(total(w), expected, rtol=1e-6)


def test_chunks_follow_the_size():
    assert _steps_of_a_chunk(20, 35, 28_782) == 35  # kept whole
    assert _steps_of_a_chunk(2, 6, LARGE_VOCABULARY) == 3  # a large vocabulary is never held for all steps
    assert _steps_of_a_chunk(1, 1, LARGE_VOCABULARY) == 1
    steps = _steps_of_a_chunk(16, 1024, 50_304)
    assert KEPT_LOGITS / 2 < 16 * steps * 50_304 <= KEPT_LOGITS
    assert _steps_of_a_chunk(10**6, 8, 1000) == 1


def largest_array(jaxpr):
    """Elements of the largest value that any equation of a jaxpr makes, loops and calls included."""
    sizes = [out.aval.size for equation in jaxpr.eqns for out in equation.outvars if hasattr(out.aval, 'size')]
    inner = [
        largest_array(getattr(sub, 'jaxpr', sub))
        for equation in jaxpr.eqns
        for param in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr'))
        if hasattr(sub := param, 'eqns') or hasattr(sub, 'jaxpr')
    ]
    return max([0, *sizes, *inner])


@pytest.mark.parametrize('batch_time', [(2, 6), (16, 1024)])
def test_no_array_of_all_logits_exists_at_a_large_vocabulary(batch_time):
    (batch, time), width, vocab = batch_time, 4, 50_304

    def total(w, hidden, ids, steps=0):
        return token_scores(lambda rows: rows @ w, hidden, ids, vocab_size=vocab, steps=steps).logprob.sum()

    shapes = (
        jax.ShapeDtypeStruct((width, vocab), jnp.float32),
        jax.ShapeDtypeStruct((batch, time, width), jnp.float32),
        jax.ShapeDtypeStruct((batch, time), jnp.int32),
    )
    chunked = jax.make_jaxpr(jax.value_and_grad(total, (0, 1)))(*shapes)
    assert largest_array(chunked.jaxpr) <= batch * time * vocab // 2
    whole = jax.make_jaxpr(jax.value_and_grad(lambda *x: total(*x, steps=time), (0, 1)))(*shapes)
    assert largest_array(whole.jaxpr) >= batch * time * vocab  # the search does find them


def test_compiled_chunks_hold_less_than_all_logits():
    batch, time, width, vocab = 2, 32, 4, 40_000

    def memory(steps):
        def total(w, hidden, ids):
            return token_scores(lambda rows: rows @ w, hidden, ids, vocab_size=vocab, steps=steps).logprob.sum()

        args = (jnp.zeros((width, vocab)), jnp.zeros((batch, time, width)), jnp.zeros((batch, time), jnp.int32))
        return jax.jit(jax.grad(total, (0, 1))).lower(*args).compile().memory_analysis().temp_size_in_bytes

    logits_bytes = 4 * batch * time * vocab
    assert memory(2) < logits_bytes / 2 < logits_bytes <= memory(time)


@pytest.mark.parametrize('steps', [0, 2])
def test_hits_cost_nothing_where_nobody_asks(steps):
    """Training drops what only evaluation reads."""
    w, hidden, ids, _ = example()

    def compiled(field):
        def total(w):
            scores = token_scores(lambda rows: rows @ w, hidden, ids, vocab_size=V, steps=steps)
            return scores.logprob.sum(), getattr(scores, field)

        return jax.jit(jax.grad(total, has_aux=True)).lower(w).compile().as_text()

    assert 'reduce_or' in compiled('correct')
    assert 'reduce_or' not in compiled('logprob')


def test_the_divergence_is_that_of_the_softened_distributions():
    """A teacher that is sure of one token, and one that hardly is, at a temperature that is no 1."""
    logits, taught = np.array([[1.0, 2.0, -1.0], [0.0, 0.5, 0.2]]), np.array([[30.0, 0.0, -90.0], [0.1, 0.2, 0.3]])
    p, q = (np.exp(x / 2.5) / np.exp(x / 2.5).sum(-1, keepdims=True) for x in (taught, logits))
    expected = (p * np.log(p / q)).sum(-1)
    np.testing.assert_allclose(divergence(jnp.asarray(logits), jnp.asarray(taught), 2.5), expected, rtol=1e-5)
    assert (np.abs(jax.grad(lambda t: divergence(jnp.asarray(logits), t, 2.5).sum())(jnp.asarray(taught))) == 0).all()


def test_soft_scores_in_chunks_are_those_of_all_logits():
    """Values and gradients; the teacher has a width of its own, and 7 steps are no multiple of 2."""
    w, hidden, ids, weights = example()
    taught, u = jax.random.normal(jax.random.key(1), (B, T, 3)), jax.random.normal(jax.random.key(2), (3, V))

    @jax.jit
    def grads():
        def total(w, hidden, steps):
            scores, apart = soft_scores(
                lambda x: x @ w, lambda x: x @ u, hidden, taught, ids, temperature=1.5, vocab_size=V, steps=steps
            )
            assert apart.shape == (B, T)
            return (scores.logprob * weights[0]).sum() + (apart * weights[1]).sum(), (scores, apart)

        return [
            jax.value_and_grad(lambda w, h, steps=steps: total(w, h, steps), (0, 1), has_aux=True)(w, hidden)
            for steps in (2, T)
        ]

    chunked, whole = grads()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), chunked, whole)
    scores, apart = whole[0][1]
    np.testing.assert_allclose(scores.logprob, plain(w, hidden, ids)[0], rtol=1e-5, atol=1e-6)
    flat = divergence((hidden @ w).reshape(-1, V), (taught @ u).reshape(-1, V), 1.5)
    np.testing.assert_allclose(apart, flat.reshape(B, T), rtol=1e-5, atol=1e-6)


def test_no_teacher_needs_all_logits_at_a_large_vocabulary():
    batch, time, width, vocab = 16, 1024, 4, 50_304

    def total(w, u, hidden, ids, steps=0):
        scores, apart = soft_scores(
            lambda x: x @ w, lambda x: x @ u, hidden, hidden, ids, temperature=2.0, vocab_size=vocab, steps=steps
        )
        return scores.logprob.sum() + apart.sum()

    shapes = [((width, vocab), jnp.float32)] * 2 + [((batch, time, width), jnp.float32), ((batch, time), jnp.int32)]
    shapes = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    chunked = jax.make_jaxpr(jax.value_and_grad(total, (0, 2)))(*shapes)
    assert largest_array(chunked.jaxpr) <= KEPT_LOGITS / 2
    whole = jax.make_jaxpr(jax.value_and_grad(lambda *x: total(*x, steps=time), (0, 2)))(*shapes)
    assert largest_array(whole.jaxpr) >= batch * time * vocab  # the search does find them
