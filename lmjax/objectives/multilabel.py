"""Telling which of several classes a text has: none, one or more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.objectives.rows import Rows, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy', 'f1', 'micro_f1')


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Any], Tree]]:
    """Sums over rows: the binary cross-entropy of each class in nats, averaged over classes, smoothed if asked for.

    The weight is the number of rows that are a text. Sums: `loss`, `nll` (without smoothing), auxiliary ones and, in
    evaluation (`key` is None), `kept`: each row's `label` and what was `told` (above 1/2), B x C float32 of 0 and 1.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    logits_BxC, labels_BxC = jnp.asarray(output.row_logits), jnp.asarray(batch.labels)
    real_B = batch.weights[:, 0]
    smoothing = hparams.get('label_smoothing')
    wanted_BxC = labels_BxC if smoothing is None else (1.0 - smoothing) * labels_BxC + smoothing / 2

    def entropy(target_BxC: Array) -> Any:
        each_BxC = jax.nn.softplus(logits_BxC) - target_BxC * logits_BxC
        return (each_BxC.mean(axis=1) * real_B).sum()

    total, sums = with_auxiliary(output, entropy(wanted_BxC), {'nll': entropy(labels_BxC)})
    if key is None:
        sums['kept'] = {'label': labels_BxC, 'told': (logits_BxC > 0).astype(jnp.float32), 'real': real_B}
    return total, (real_B.sum(), sums, None)


def report(totals: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """What an evaluation says: `loss_nats` a class and text, `accuracy` (texts with all of their classes right and no other).

    `f1` is macro, the mean over classes, `micro_f1` that of all classes' counts together; 0 where nothing is to be found.
    """
    texts = totals['weight']
    if not texts:
        return {'loss_nats': math.nan, **dict.fromkeys(SCORES[1:], math.nan), 'texts': 0}
    from sklearn.metrics import accuracy_score, f1_score

    label_NxC, told_NxC = (np.stack(rows[name]).astype(int) for name in ('label', 'told'))
    return {
        'loss_nats': totals['nll'] / texts,
        'accuracy': float(accuracy_score(label_NxC, told_NxC)),
        'f1': float(f1_score(label_NxC, told_NxC, average='macro', zero_division=0)),
        'micro_f1': float(f1_score(label_NxC, told_NxC, average='micro', zero_division=0)),
        'texts': int(texts),
    }
