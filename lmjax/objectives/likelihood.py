"""Maximum likelihood: cross-entropy of the targets, the next tokens or hidden ones, with label smoothing and z-loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Output, TokenScores, Tree


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """Sums over a batch, never means: the loss in nats, and beside it the weight, the metrics' sums and the next cache.

    Metrics: `loss` (what is minimised), `nll` (cross-entropy alone), each auxiliary sum under its name and, in evaluation
    (`key` is None), `correct`. Dividing each by the weight of the whole batch gives its mean per token. Where rows have labels,
    `row_nll` and `row_correct` are sums over the `rows` that have one.
    """
    output = model.apply(params, batch.inputs, cache=cache, key=key, hparams=hparams)
    scores = model.score(params, scored(output.hidden, batch), batch.targets)
    return summed(output, scores, token_loss(scores, hparams), batch, key)


def scored(hidden_BxTxD: Array, batch: Batch) -> Any:
    """The hidden states at the positions that are scored, B x K x D."""
    return hidden_BxTxD if batch.at is None else jnp.take_along_axis(hidden_BxTxD, batch.at[:, :, None], axis=1)


def summed(
    output: Output, scores: TokenScores, each_BxK: Array, batch: Batch, key: Any
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """What `loss` returns, where `each_BxK` is minimised at each position that is scored."""
    total = (each_BxK * batch.weights).sum()
    for amount, share in output.aux.values():
        total += share * amount
    sums = {'loss': total, 'nll': -(scores.logprob * batch.weights).sum()}
    sums |= {name: amount for name, (amount, _) in output.aux.items()}
    if key is None:  # hits cost two more passes over the logits
        sums['correct'] = (scores.correct * batch.weights).sum()
    if batch.labels is not None:
        rows = classify(output.row_logits, batch.labels)
        total += batch.targets.shape[1] * rows['row_nll']  # a row weighs as much as all that is scored in it
        sums |= {**rows, 'loss': total}
    return total, (batch.weights.sum(), sums, output.cache)


def classify(logits_BxC: Any, labels_B: Array) -> dict[str, Array]:
    """Cross-entropy and hits of the rows' classes, and how many rows have one."""
    logprob_BxC = jax.nn.log_softmax(logits_BxC)
    has_B = (labels_B >= 0).astype(jnp.float32)
    own_B = jnp.take_along_axis(logprob_BxC, jnp.maximum(labels_B, 0)[:, None], axis=1)[:, 0]
    hits_B = (jnp.argmax(logprob_BxC, axis=1) == labels_B).astype(jnp.float32)
    return {'row_nll': -(own_B * has_B).sum(), 'row_correct': (hits_B * has_B).sum(), 'rows': has_B.sum()}


def token_loss(scores: TokenScores, hparams: HParams) -> Array:
    """What is minimised at each position, in nats; terms whose hyperparameter is absent do not exist."""
    logprob = scores.logprob
    smoothing = hparams.get('label_smoothing')
    if smoothing is not None:
        logprob = (1.0 - smoothing) * logprob + smoothing * scores.mean_logprob
    z_loss = hparams.get('z_loss')
    return -logprob if z_loss is None else z_loss * jnp.square(scores.log_normalizer) - logprob
