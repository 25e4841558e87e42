"""Telling the class of a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.objectives.rows import Rows, smoothed, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy', 'f1', 'mcc', 'calibration_error')
BINS = 10  # of the probability of what is told


def loss(
    model: Model,
    params: Tree,
    batch: Batch,
    hparams: HParams,
    key: Any,
    cache: Tree = None,
    *,
    class_weights: Sequence[float] = (),
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """Sums over rows: cross-entropy of the row's label in nats, smoothed if asked for.

    The weight is the number of rows that have a label (not -1); in training with `class_weights` each counts as its class does.
    Sums: `loss`, `nll` (without smoothing), auxiliary ones and, in evaluation (`key` is None), `confusion`: how many rows of
    each class (first axis) were told as each (second); and `bins`, BINS x 3: of what was told with a probability in each tenth
    how many rows, the sum of the probabilities, and how many were right.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    logits_BxC, labels_B = jnp.asarray(output.row_logits), jnp.asarray(batch.labels)
    has_B, labels_B = (labels_B >= 0).astype(jnp.float32), jnp.maximum(labels_B, 0)
    if class_weights and key is not None:
        has_B *= jnp.asarray(class_weights, jnp.float32)[labels_B]
    nll_B, each_B = smoothed(jax.nn.log_softmax(logits_BxC), labels_B, hparams.get('label_smoothing'))
    total, sums = with_auxiliary(output, (each_B * has_B).sum(), {'nll': (nll_B * has_B).sum()})
    if key is None:
        count = logits_BxC.shape[1]
        label_BxC, told_BxC = (jax.nn.one_hot(x, count) for x in (labels_B, jnp.argmax(logits_BxC, axis=1)))
        sums['confusion'] = (label_BxC * has_B[:, None]).T @ told_BxC
        sums['bins'] = binned(jax.nn.softmax(logits_BxC).max(axis=1), (label_BxC * told_BxC).sum(axis=1), has_B)
    return total, (has_B.sum(), sums, None)


def binned(told_B: Array, right_B: Array, has_B: Array) -> Any:
    """Rows, their probabilities and the right ones, summed by tenths of the probability, BINS x 3."""
    bin_BxN = jax.nn.one_hot(jnp.minimum((told_B * BINS).astype(jnp.int32), BINS - 1), BINS) * has_B[:, None]
    return bin_BxN.T @ jnp.stack([jnp.ones_like(told_B), told_B, right_B], axis=1)


def report(totals: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """What an evaluation says of these sums.

    `loss_nats` a text, `accuracy`, `f1` (macro: the mean over classes of the harmonic mean of precision and recall; 0 for a
    class never told), `mcc` (Matthews' correlation, Gorodkin 2004; 0 where all texts are told alike or are alike), `confusion`
    (rows: the label, columns: what was told), `calibration`: of each tenth of the probability in which something was told the
    number of texts, the mean probability and the share that is right, `calibration_error`: how far these two lie apart, on
    average over texts (Guo et al. 2017, eq. 3), and the number of `texts`.
    """
    texts = totals['weight']
    if not texts:
        return dict.fromkeys(SCORES, math.nan) | {'confusion': [], 'calibration': [], 'texts': 0}
    from sklearn.metrics import f1_score, matthews_corrcoef

    confusion_CxC, bins_NxC = np.asarray(totals['confusion']), np.asarray(totals['bins'])
    label, told = (index.ravel() for index in np.indices(confusion_CxC.shape))
    counts = {'sample_weight': confusion_CxC.ravel()}
    return {
        'loss_nats': totals['nll'] / texts,
        'accuracy': float(np.trace(confusion_CxC) / texts),
        'f1': float(f1_score(label, told, average='macro', zero_division=0, **counts)),
        'mcc': float(matthews_corrcoef(label, told, **counts)),
        'confusion': confusion_CxC.astype(int).tolist(),
        'calibration_error': float(np.abs(bins_NxC[:, 1] - bins_NxC[:, 2]).sum() / texts),
        'calibration': [[int(count), told / count, right / count] for count, told, right in bins_NxC.tolist() if count],
        'texts': int(texts),
    }
