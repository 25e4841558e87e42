"""Vectors of texts without labels: a text is to be told from all others of its batch by another reading of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.objectives.rows import Rows
from lmjax.ops.dropout import fold_name
from lmjax.ops.pooling import POOLINGS, real_tokens, unit

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy', 'alignment', 'uniformity')


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None, *, pooling: str = 'mean'
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """Unsupervised SimCSE (Gao et al. 2021, eq. 4): InfoNCE (van den Oord et al. 2018, eq. 4) over the whole batch.

    Each row is read twice with different dropout; the second readings are the classes among which the first ones find their
    own, by cosine over `hparams['temperature']`. Rows whose weight is 0 (padding) are neither asked nor answers, and a row that
    is alone in its batch is not scored, since there is nothing to tell it from.

    Sums over rows, in nats: `loss`, `nll` (the same) and auxiliary ones; the weight is the number of rows. In evaluation (`key`
    is None) dropout stays on, as the two readings would be equal without it, but its keys are fixed: `nll` is the loss of
    training on held-out texts, the same for the same parameters, and depends on the number of rows in a batch (guessing gives
    its logarithm). Beside it are summed `correct` (rows whose own second reading is the nearest), `alignment` (squared
    distances of the readings of a row), `uniformity` (exp(-2 x squared distance) over pairs of rows) and the number of
    `pairs` (Wang and Isola 2020, section 4.1).

    Args:
      pooling: a row of POOLINGS.
      cache: not used; a text starts from nothing.
    """
    real_BxT, counts_B = real_tokens(batch.inputs), batch.weights[:, 0] > 0
    keys_B = numbered(len(counts_B)) if key is None else key

    def read(keys_Bx2: Array) -> tuple[Any, Any]:
        output = model.apply(params, batch.inputs, key=keys_Bx2, hparams=hparams)
        return unit(POOLINGS[pooling](output, real_BxT)), output.aux

    views_2xBxD, aux = jax.vmap(read)(jnp.stack([fold_name(keys_B, name) for name in ('first reading', 'second reading')]))
    cosines_BxB = views_2xBxD[0] @ views_2xBxD[1].T
    scores_BxB = jnp.where(counts_B[None], cosines_BxB / hparams['temperature'], -jnp.inf)
    scores_BxB = jnp.where(counts_B[:, None], scores_BxB, 0.0)  # a row of nothing but -inf would have no gradient at all
    weights_B = (counts_B & (counts_B.sum() > 1)).astype(jnp.float32)
    nll = -(jnp.diagonal(jax.nn.log_softmax(scores_BxB)) * weights_B).sum()
    total = nll + sum((share * amount).sum() for amount, share in aux.values())
    sums = {'loss': total, 'nll': nll} | {name: amount.sum() for name, (amount, _) in aux.items()}
    if key is None:
        sums |= {'correct': ((jnp.argmax(scores_BxB, axis=1) == jnp.arange(len(counts_B))) * weights_B).sum()}
        sums |= spread(views_2xBxD, weights_B)
    return total, (weights_B.sum(), sums, None)


def numbered(rows: int) -> Any:
    """A key for each row that is always the same, as words for `dropout`, B x 2 uint32."""
    return jnp.broadcast_to(jnp.arange(rows, dtype=jnp.uint32)[:, None], (rows, 2))


def spread(views_2xBxD: Array, weights_B: Array) -> dict[str, Any]:
    """Sums for alignment (alpha = 2) and uniformity (t = 2) of unit vectors (Wang and Isola 2020, section 4.1)."""
    apart_B = jnp.square(views_2xBxD[0] - views_2xBxD[1]).sum(-1)
    squares_BxB = jnp.maximum(2.0 - 2.0 * (views_2xBxD[0] @ views_2xBxD[0].T), 0.0)
    pairs_BxB = weights_B[:, None] * weights_B[None] * (1.0 - jnp.eye(len(weights_B)))
    near = (jnp.exp(-2.0 * squares_BxB) * pairs_BxB).sum()
    return {'alignment': (apart_B * weights_B).sum(), 'uniformity': near, 'pairs': pairs_BxB.sum()}


def report(totals: Mapping[str, float], rows: Rows) -> dict[str, float]:
    """What an evaluation says of these sums.

    `loss_nats` (InfoNCE a text), `accuracy` (texts whose other reading is the nearest), `alignment` (mean squared distance of
    the readings of a text; lower is better), `uniformity` (the logarithm of the mean over pairs; lower is better) and the
    number of `texts` scored.
    """
    texts = totals['weight']
    if not texts:
        return {'loss_nats': math.nan, 'accuracy': math.nan, 'alignment': math.nan, 'uniformity': math.nan, 'texts': 0}
    return {
        'loss_nats': totals['nll'] / texts,
        'accuracy': totals['correct'] / texts,
        'alignment': totals['alignment'] / texts,
        'uniformity': math.log(totals['uniformity'] / totals['pairs']),
        'texts': int(texts),
    }
