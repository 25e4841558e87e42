"""Link prediction: of a head and a relation the tail is told, among all entities of a graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from lmjax.objectives.rows import Rows, log_softmax_among, smoothed, with_auxiliary
from lmjax.ops.ranking import realistic

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

HITS = (1, 3, 10)
SCORES = ('loss_nats', 'mrr', *(f'hits@{count}' for count in HITS))


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Any], Tree]]:
    """Cross-entropy of each row's tail among the tokens that compete (Lacroix et al. 2018, eq. 7), the next after all it reads.

    `batch.labels`, B x V bool, says which compete: the entities, less those that are right as well where these are known.
    Sums over rows, in nats: `loss`, `nll` and auxiliary ones; in evaluation (`key` is None) the reciprocal rank of the tail and
    whether it is among the first 1, 3 and 10. The weight is the number of rows.

    Args:
      cache: not used; a query starts from nothing.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    competes_BxV, weights_B = jnp.asarray(batch.labels), batch.weights[:, 0]
    scores_BxV = model.score(params, output.hidden[:, -1:])[:, 0]
    logprob_BxV = log_softmax_among(scores_BxV, competes_BxV)
    nll_B, loss_B = smoothed(logprob_BxV, batch.targets[:, 0], hparams.get('label_smoothing'), competes_BxV)
    total, sums = with_auxiliary(output, (loss_B * weights_B).sum(), {'nll': (nll_B * weights_B).sum()})
    if key is None:
        ranks_B = rank_of(scores_BxV, competes_BxV, batch.targets)
        sums['mrr'] = (weights_B / ranks_B).sum()
        sums |= {f'hits@{count}': (weights_B * (ranks_B <= count)).sum() for count in HITS}
    return total, (weights_B.sum(), sums, None)


def rank_of(scores_BxV: Array, competes_BxV: Array, own_Bx1: Array) -> Any:
    """Where its own stands among those that compete, B float32, 1 the first."""
    other_BxV = competes_BxV & (jnp.arange(scores_BxV.shape[1])[None] != own_Bx1)
    return realistic(jnp.take_along_axis(scores_BxV, own_Bx1, axis=1), scores_BxV, other_BxV)


def report(totals: Mapping[str, float], rows: Rows) -> dict[str, float]:
    """What an evaluation says of these sums: `loss_nats`, the mean reciprocal rank `mrr`, `hits@1`, 3 and 10, and `texts`."""
    count = totals['weight']
    names = {name: 'nll' if name == 'loss_nats' else name for name in SCORES}
    return {name: totals[own] / count if count else math.nan for name, own in names.items()} | {'texts': int(count)}
