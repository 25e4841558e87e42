"""How target tokens fare under a softmax over the vocabulary, without holding more logits than needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
    steps = steps or _steps_of_a_chunk(B, T, vocab_size)

    def score_rows(hidden_BxCxD: Array, ids_BxC: Array) -> TokenScores:
        logits = logits_of(hidden_BxCxD.reshape(-1, D))
        scores = scores_of_logits(pick, logits, ids_BxC.reshape(-1))
        return jax.tree.map(lambda x: x.reshape(ids_BxC.shape), scores)

    if steps >= T:
        return score_rows(hidden_BxTxD, ids_BxT)
    chunks = -(-T // steps)
    steps = -(-T // chunks)  # as even as can be: the least padding

    def split(x: Array) -> Array:
        padded = jnp.pad(x, [(0, 0), (0, chunks * steps - T)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(padded.reshape(B, chunks, steps, *x.shape[2:]), 1, 0)

    # prevent_cse=False: the scan already keeps the two computations apart, and the barrier costs time.
    again = jax.checkpoint(score_rows, prevent_cse=False)
    _, scores = lax.scan(lambda _, xs: (None, again(*xs)), None, (split(hidden_BxTxD), split(ids_BxT)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(B, chunks * steps)[:, :T], scores)
