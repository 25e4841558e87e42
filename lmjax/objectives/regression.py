"""Telling a number of a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from lmjax.objectives.rows import Rows, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'pearson', 'spearman')


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Any], Tree]]:
    """Sums over rows: the squared difference between the row's number and what was told.

    The weight is the number of rows that are a text. Sums: `loss`, `nll` (the same without what the network adds), auxiliary
    ones and, in evaluation (`key` is None), `kept`: the `label` of each row and what was `told`, B float32.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    told_B, labels_B, real_B = jnp.asarray(output.row_logits)[:, 0], jnp.asarray(batch.labels), batch.weights[:, 0]
    squares = (jnp.square(told_B - labels_B) * real_B).sum()
    total, sums = with_auxiliary(output, squares, {'nll': squares})
    if key is None:
        sums['kept'] = {'label': labels_B, 'told': told_B, 'real': real_B}
    return total, (real_B.sum(), sums, None)


def report(totals: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """What an evaluation says: the mean `squared_error`, `pearson` and `spearman` correlation (None where a side is constant).

    `loss_nats` is the squared error too: the cross-entropy under a normal distribution of variance 1/2, less its constant.
    """
    texts = totals['weight']
    label_N, told_N = (np.array(rows.get(name, ()), np.float64) for name in ('label', 'told'))
    if len(label_N) < 2 or not (np.ptp(label_N) and np.ptp(told_N)):
        pearson = spearman = None
    else:
        from scipy.stats import pearsonr, spearmanr

        pearson, spearman = (float(of(label_N, told_N).statistic) for of in (pearsonr, spearmanr))
    error = totals['nll'] / texts if texts else math.nan
    return {'loss_nats': error, 'squared_error': error, 'pearson': pearson, 'spearman': spearman, 'texts': int(texts)}
