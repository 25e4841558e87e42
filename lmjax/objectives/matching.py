"""Vectors of texts that belong together: a text is to find its match among those of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.objectives.rows import Rows, with_auxiliary
from lmjax.ops.pooling import POOLINGS, unit
from lmjax.ops.ranking import RANK_SCORES, ranks

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy', 'mrr')


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None, *, pooling: str = 'mean'
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """InfoNCE (van den Oord et al. 2018, eq. 4) over the batch, both ways (Radford et al. 2021, figure 3).

    Each row has K texts, its segments 1 .. K, of which the second belongs to the first and the others do not. The first of a
    row is to find its second among the seconds of all rows and everybody's others (Karpukhin et al. 2020, section 3.2); the
    second its first among the firsts. Similarity is the cosine over `hparams['temperature']`. What is the same text as a row's
    own first or second is never held against it: `batch.labels`, B x K int32, tell which are. Rows whose weight is 0 are
    neither asked nor answers; a row alone in its batch is not scored.

    Sums over rows, in nats: `loss`, `nll` (the mean of both ways) and auxiliary ones; the weight is the number of rows. In
    evaluation the vectors of first and second texts are kept, with their labels.

    Args:
      pooling: a row of POOLINGS.
      cache: not used; a text starts from nothing.
    """
    assert batch.labels is not None
    texts_BxK, counts_B = jnp.asarray(batch.labels), batch.weights[:, 0] > 0
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    each = range(1, texts_BxK.shape[1] + 1)
    vectors_KxBxD = jnp.stack([unit(POOLINGS[pooling](output, batch.inputs.segments == number)) for number in each])
    first_BxD, second_BxD = vectors_KxBxD[:2]
    weights_B = (counts_B & (counts_B.sum() > 1)).astype(jnp.float32)

    own_BxB = jnp.eye(len(counts_B), dtype=bool)
    alike_BxB = same(texts_BxK[:, 0], texts_BxK[:, 0]) | same(texts_BxK[:, 1], texts_BxK[:, 1])
    open_BxB = own_BxB | (counts_B[None] & ~alike_BxB)  # those among which a row looks for its own
    others_C, others_CxD = texts_BxK[:, 2:].T.reshape(-1), vectors_KxBxD[2:].reshape(-1, first_BxD.shape[1])
    open_BxC = jnp.tile(counts_B, texts_BxK.shape[1] - 2)[None] & ~same(texts_BxK[:, 1], others_C)
    forth = found_own(first_BxD, [(second_BxD, open_BxB), (others_CxD, open_BxC)], hparams['temperature'])
    back = found_own(second_BxD, [(first_BxD, open_BxB)], hparams['temperature'])

    nll = ((forth + back) / 2 * weights_B).sum()
    total, sums = with_auxiliary(output, nll, {'nll': nll})
    if key is None:
        sums['kept'] = {'real': counts_B, 'first': first_BxD, 'second': second_BxD, 'texts': texts_BxK[:, :2]}
    return total, (weights_B.sum(), sums, None)


def same(first_B: Array, second_C: Array) -> Any:
    """Which are equal, B x C bool."""
    return first_B[:, None] == second_C[None]


def found_own(asked_BxD: Array, answers: list[tuple[Any, Any]], temperature: Any) -> Any:
    """Cross-entropy in nats of each row's own answer, which is the one of its number, B; answers are (C x D, open B x C)."""
    parts = [jnp.where(is_open, asked_BxD @ given.T / temperature, -jnp.inf) for given, is_open in answers]
    return jax.nn.logsumexp(jnp.concatenate(parts, axis=1), axis=1) - jnp.diagonal(parts[0])


def report(totals: Mapping[str, float], rows: Rows) -> dict[str, float]:
    """What an evaluation says of these sums, and of all the rows that it read.

    `loss_nats` (of a batch, so it depends on how large these are), and, of the first texts among the distinct second ones of
    all rows, `accuracy` (whose own is the nearest), `mrr` (the mean reciprocal rank) and the number of `texts`.
    """
    weight = totals['weight']
    if not weight:
        return {'loss_nats': math.nan, 'accuracy': math.nan, 'mrr': math.nan, 'texts': 0}
    texts_Nx2 = np.stack(rows['texts'])
    _, places, number_N = np.unique(texts_Nx2[:, 1], return_index=True, return_inverse=True)
    right: dict[int, set[int]] = {}
    for query, place in zip(texts_Nx2[:, 0].tolist(), number_N.tolist(), strict=True):
        right.setdefault(query, set()).add(place)
    answers_CxD = np.stack(rows['second'])[places]
    found = [
        ranks((first @ answers_CxD.T)[None], [sorted(right[int(query)])])[0]
        for first, query in zip(rows['first'], texts_Nx2[:, 0], strict=True)
    ]
    ranks_N = np.array(found)
    return {
        'loss_nats': totals['nll'] / weight,
        'accuracy': float(RANK_SCORES['recall@1'](ranks_N).mean()),
        'mrr': float(RANK_SCORES['mrr'](ranks_N).mean()),
        'texts': len(ranks_N),
    }
