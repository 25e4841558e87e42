"""Telling where in a text the answer of a question stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from lmjax.objectives.rows import Rows, log_softmax_among, smoothed, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy')
ENDS = 2  # logits of a token: that an answer begins there, that it ends there


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Any], Tree]]:
    """Sums over windows: cross-entropy in nats of where the answer begins and where it ends, half of each, or smoothed.

    Both are told among the tokens that may (`batch.labels`, B x T bool), the first of which stands for no answer (Devlin et al.
    2019, sections 4.2 and 4.3); targets, B x 2, are their places, each of weight 1/2, so that the weight is the number of
    windows. Sums: `loss`, `nll` (without smoothing), auxiliary ones and, in evaluation (`key` is None), `correct`: windows of
    which both are right.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    weights_Bx2, may_BxT = jnp.asarray(batch.weights), jnp.asarray(batch.labels)
    logits_Bx2xT = jnp.swapaxes(jnp.asarray(output.token_logits), 1, 2)
    logprob_Bx2xT = log_softmax_among(logits_Bx2xT, may_BxT[:, None])
    nll_Bx2, each_Bx2 = smoothed(logprob_Bx2xT, jnp.asarray(batch.targets), hparams.get('label_smoothing'), may_BxT[:, None])
    total, sums = with_auxiliary(output, (each_Bx2 * weights_Bx2).sum(), {'nll': (nll_Bx2 * weights_Bx2).sum()})
    if key is None:
        right_B = (jnp.argmax(logprob_Bx2xT, axis=2) == jnp.asarray(batch.targets)).all(axis=1)
        sums['correct'] = (right_B * weights_Bx2.sum(axis=1)).sum()
    return total, (weights_Bx2.sum(), sums, None)


def report(totals: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """What an evaluation says: `loss_nats` a window, `accuracy` (windows of which both ends are right) and `texts`: windows.

    Of answers, which are the best of all windows of a text, `experiments.compare --score=em` and `f1` say how many are right.
    """
    windows = totals['weight']
    if not windows:
        return {'loss_nats': math.nan, 'accuracy': math.nan, 'texts': 0}
    return {'loss_nats': totals['nll'] / windows, 'accuracy': totals['correct'] / windows, 'texts': int(windows)}
