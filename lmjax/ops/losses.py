"""How target tokens fare under a softmax over the vocabulary, without holding more logits than needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from lmjax.config import choose
from lmjax.types import TokenScores

if TYPE_CHECKING:
    from lmjax.types import Array

KEPT_LOGITS = 2**25  # up to so many logits (128 MiB) are kept from the forward to the backward pass
LARGE_VOCABULARY = 2**15  # from here on all logits of a batch are never held at once, however small it is


def _pick_index(logits_CxV: Array, ids_C: Array) -> Array:
    return jnp.take_along_axis(logits_CxV, ids_C[:, None], axis=-1)[:, 0]


def _pick_one_hot(logits_CxV: Array, ids_C: Array) -> Array:
    return jnp.where(_is_target(logits_CxV, ids_C), logits_CxV, 0.0).sum(-1)


PICKS = {  # name -> (logits C x V, ids C) -> the targets' logits, C
    'index': _pick_index,  # reads one number a row: fastest on one device
    'one_hot': _pick_one_hot,  # a masked sum: needs no gather across devices where the vocabulary is sharded
}


def _is_target(logits_CxV: Array, ids_C: Array) -> Array:
    return lax.broadcasted_iota(ids_C.dtype, logits_CxV.shape, 1) == ids_C[:, None]


def _values(pick: str, logits_CxV: Array, ids_C: Array) -> TokenScores:
    logits_CxV = logits_CxV.astype(jnp.float32)
    top_C = logits_CxV.max(-1)
    log_normalizer_C = top_C + jnp.log(jnp.exp(logits_CxV - top_C[:, None]).sum(-1))
    target_C = choose(PICKS, pick, 'pick')(logits_CxV, ids_C)
    # What argmax would say, ties going to the first, in a form that vectorises on a CPU.
    earlier_CxV = lax.broadcasted_iota(ids_C.dtype, logits_CxV.shape, 1) < ids_C[:, None]
    beaten_C = (earlier_CxV & (logits_CxV == top_C[:, None])).any(-1)
    return TokenScores(
        logprob=target_C - log_normalizer_C,
        log_normalizer=log_normalizer_C,
        mean_logprob=logits_CxV.mean(-1) - log_normalizer_C,
        correct=((target_C == top_C) & ~beaten_C).astype(jnp.float32),
    )


def _values_forward(pick: str, logits_CxV: Array, ids_C: Array) -> tuple[TokenScores, tuple]:
    scores = _values(pick, logits_CxV, ids_C)
    return scores, (logits_CxV, ids_C, scores.log_normalizer)


def _values_backward(_: str, kept: tuple, grads: TokenScores) -> tuple[Array, None]:
    """One pass that reads the logits and writes their gradient; autodiff would scatter into zeros and add."""
    logits_CxV, ids_C, log_normalizer_C = kept
    probs_CxV = jnp.exp(logits_CxV.astype(jnp.float32) - log_normalizer_C[:, None])
    spread_C = grads.log_normalizer - grads.logprob - grads.mean_logprob
    even_C = grads.mean_logprob / logits_CxV.shape[-1]
    grad_CxV = spread_C[:, None] * probs_CxV + even_C[:, None]
    grad_CxV += jnp.where(_is_target(logits_CxV, ids_C), grads.logprob[:, None], 0.0)
    return grad_CxV.astype(logits_CxV.dtype), None


scores_of_logits = jax.custom_vjp(_values, nondiff_argnums=(0,))
scores_of_logits.defvjp(_values_forward, _values_backward)


def _steps_of_a_chunk(batch: int, time: int, vocab_size: int) -> int:
    """Time steps whose logits are held at once: all if few enough, else as many as fit, and never all of them."""
    if vocab_size < LARGE_VOCABULARY and batch * time * vocab_size <= KEPT_LOGITS:
        return time
    return max(1, min(KEPT_LOGITS // (batch * vocab_size), time // 2))


def token_scores(
    logits_of: Callable[[Array], Array],
    hidden_BxTxD: Array,
    ids_BxT: Array,
    *,
    vocab_size: int,
    steps: int = 0,
    pick: str = 'index',
) -> TokenScores:
    """Log-probability, normalizer, mean log-probability and hit of each target token, each B x T float32.

    `logits_of` maps rows (C, D) to logits (C, V); gradients flow into whatever it closes over. Where all logits are too
    many, time is cut into chunks of `steps` (0: chosen by size; T: one chunk), whose logits are computed again in the
    backward pass. Chunks run over time, not over rows, so that a batch sharded over devices stays where it is.
    """
    B, T, D = hidden_BxTxD.shape

    def score_rows(hidden_BxCxD: Array, ids_BxC: Array) -> TokenScores:
        logits = logits_of(hidden_BxCxD.reshape(-1, D))
        scores = scores_of_logits(pick, logits, ids_BxC.reshape(-1))
        return jax.tree.map(lambda x: x.reshape(ids_BxC.shape), scores)

    return over_time(score_rows, (hidden_BxTxD, ids_BxT), steps or _steps_of_a_chunk(B, T, vocab_size))


def over_time(score_rows: Callable[..., Any], arrays: tuple[Array, ...], steps: int) -> Any:
    """`score_rows` of arrays B x T x ..., at most `steps` times at once; its results, B x T each, as of all at once."""
    B, T = arrays[0].shape[:2]
    if steps >= T:
        return score_rows(*arrays)
    chunks = -(-T // steps)
    steps = -(-T // chunks)  # as even as can be: the least padding

    def split(x: Array) -> Array:
        padded = jnp.pad(x, [(0, 0), (0, chunks * steps - T)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(padded.reshape(B, chunks, steps, *x.shape[2:]), 1, 0)

    # prevent_cse=False: the scan already keeps the two computations apart, and the barrier costs time.
    again = jax.checkpoint(score_rows, prevent_cse=False)
    _, scores = lax.scan(lambda _, xs: (None, again(*xs)), None, tuple(map(split, arrays)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(B, chunks * steps)[:, :T], scores)


def divergence(logits_CxV: Array, teacher_CxV: Array, temperature: Any) -> Array:
    """KL(teacher || own) of the distributions at a temperature, C, in nats; the teacher's logits get no gradient.

    Times the temperature squared its gradient is of the size of a cross-entropy's (Hinton et al. 2015, section 2).
    """
    own_CxV = jax.nn.log_softmax(logits_CxV.astype(jnp.float32) / temperature)
    soft_CxV = jax.nn.log_softmax(lax.stop_gradient(teacher_CxV).astype(jnp.float32) / temperature)
    return (jnp.exp(soft_CxV) * (soft_CxV - own_CxV)).sum(-1)


def soft_scores(
    logits_of: Callable[[Array], Array],
    teacher_logits_of: Callable[[Array], Array],
    hidden_BxTxD: Array,
    teacher_BxTxE: Array,
    ids_BxT: Array,
    *,
    temperature: Any,
    vocab_size: int,
    steps: int = 0,
) -> tuple[TokenScores, Array]:
    """`token_scores`, and `divergence` from a teacher whose hidden states have a width E of their own, B x T.

    Both functions map B x C x width to logits B x C x V. The chunks are half as long as those of one network, since two
    tables of logits are held at once.
    """
    B, T, _ = hidden_BxTxD.shape

    def score_rows(hidden_BxCxD: Array, teacher_BxCxE: Array, ids_BxC: Array) -> tuple[TokenScores, Array]:
        logits = logits_of(hidden_BxCxD).reshape(-1, vocab_size)
        scores = scores_of_logits('index', logits, ids_BxC.reshape(-1))
        apart = divergence(logits, teacher_logits_of(teacher_BxCxE).reshape(-1, vocab_size), temperature)
        return jax.tree.map(lambda x: x.reshape(ids_BxC.shape), (scores, apart))

    return over_time(score_rows, (hidden_BxTxD, teacher_BxTxE, ids_BxT), steps or _steps_of_a_chunk(2 * B, T, vocab_size))
