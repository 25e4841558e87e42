"""Knowledge distillation: a network learns from another one's distributions, and from its hidden states if asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.objectives import likelihood
from lmjax.ops.losses import soft_scores
from lmjax.ops.pooling import unit

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Teacher, Tree


def loss(
    model: Model,
    params: Tree,
    batch: Batch,
    hparams: HParams,
    key: Any,
    cache: Tree = None,
    *,
    teacher: Teacher | None = None,
    hidden: str = '',
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """Per scored token (1 - w) x the likelihood's loss + w x T^2 x KL(teacher || student) (Hinton et al. 2015, section 2).

    w is `hparams['soft_weight']`, T `hparams['soft_temperature']`. With `hidden`, that row of HIDDEN_LOSSES times
    `hparams['hidden_weight']` is added. Terms whose weight is absent do not exist; without any this is the likelihood's loss,
    and so it is in evaluation (`key` is None), where no teacher is needed: students compare with networks that had none.

    Sums are those of the likelihood, `nll` being the text's cross-entropy; beside it `divergence` (KL, in nats) and `hidden`.
    The teacher reads the same batch without dropout and gets no gradient. The logits of both are cut into chunks of time.

    Raises:
      ValueError: there is no teacher in training.
    """
    weights = {name: hparams[name] for name in ('soft_weight', 'hidden_weight') if name in hparams}
    if not hidden:
        weights.pop('hidden_weight', None)
    if key is None or not weights:
        return likelihood.loss(model, params, batch, hparams, key, cache)
    if teacher is None:
        raise ValueError('distill: trains with a teacher; hand one to `assemble`')
    frozen = jax.lax.stop_gradient(teacher.params)
    output = model.apply(params, batch.inputs, cache=cache, key=key, hparams=hparams)
    taught_BxTxE = teacher.model.apply(frozen, batch.inputs).hidden
    own_BxKxD, extra = likelihood.scored(output.hidden, batch), {}
    if 'soft_weight' in weights:
        share, temperature = weights['soft_weight'], hparams['soft_temperature']
        scores, divergence_BxK = soft_scores(
            lambda rows: model.score(params, rows),
            lambda rows: teacher.model.score(frozen, rows),
            own_BxKxD,
            likelihood.scored(taught_BxTxE, batch),
            batch.targets,
            temperature=temperature,
            vocab_size=model.vocab_size,
        )
        each_BxK = (1.0 - share) * likelihood.token_loss(scores, hparams) + share * jnp.square(temperature) * divergence_BxK
        extra['divergence'] = (divergence_BxK * batch.weights).sum()
    else:
        scores = model.score(params, own_BxKxD, batch.targets)
        each_BxK = likelihood.token_loss(scores, hparams)
    if 'hidden_weight' in weights:
        apart_BxK = HIDDEN_LOSSES[hidden](output.hidden, taught_BxTxE, batch)
        each_BxK += weights['hidden_weight'] * apart_BxK
        extra['hidden'] = (apart_BxK * batch.weights).sum()
    total, (weight, sums, after) = likelihood.summed(output, scores, each_BxK, batch, key)
    return total, (weight, sums | extra, after)


def cosine(own_BxTxD: Array, taught_BxTxD: Array, batch: Batch) -> Array:
    """1 - cosine of the two hidden states of each scored token, B x K; widths are equal (Sanh et al. 2019, section 3)."""
    own_BxKxD, taught_BxKxD = (unit(likelihood.scored(x, batch)) for x in (own_BxTxD, taught_BxTxD))
    return 1.0 - (own_BxKxD * taught_BxKxD).sum(-1)


def relation(own_BxTxD: Array, taught_BxTxE: Array, batch: Batch) -> Array:
    """How differently a scored token lies among the tokens of its document, whatever the widths, B x K.

    The mean over these tokens of the squared difference of the two networks' cosines: Tung and Mori 2019, eq. 2-4, with the
    tokens of a text in place of the texts of a batch, and cosines in place of rows of length one.
    """
    segments_BxT = jnp.ones(batch.inputs.ids.shape, jnp.int32) if batch.inputs.segments is None else batch.inputs.segments
    here_BxK = likelihood.scored(segments_BxT[:, :, None], batch)[:, :, 0]
    together_BxKxT = ((here_BxK[:, :, None] == segments_BxT[:, None]) & (here_BxK[:, :, None] > 0)).astype(jnp.float32)

    def cosines(x_BxTxD: Any) -> Any:
        x_BxTxD = unit(x_BxTxD)
        return jnp.einsum('bkd,btd->bkt', likelihood.scored(x_BxTxD, batch), x_BxTxD)

    squares_BxKxT = jnp.square(cosines(own_BxTxD) - cosines(taught_BxTxE)) * together_BxKxT
    return squares_BxKxT.sum(-1) / jnp.maximum(together_BxKxT.sum(-1), 1.0)


# name -> (hidden_BxTxD, the teacher's, batch) -> B x K
HIDDEN_LOSSES: dict[str, Callable[[Any, Any, Batch], Any]] = {'cosine': cosine, 'relation': relation}
