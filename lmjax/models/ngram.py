"""The statistical baseline: a count-based n-gram model behind the same contract as the networks.

Its parameters are sorted count tables, its hidden state is the ids of the contexts that end at a position (of 1, 2, ... order-1
words), its cache is those of the last position, and its training is `fit`: one pass of counting. `score` is exact: each token's
probability, and the mean log-probability and most likely word of each context, which are worked out when counting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import choose, require
from lmjax.models.kneser_ney import fit_kneser_ney
from lmjax.ops import counts
from lmjax.types import Model, Output, TokenScores, Traits

if TYPE_CHECKING:
    from lmjax.models.config import NgramConfig
    from lmjax.types import Array, HParams, Inputs, Tree

SMOOTHINGS: dict[str, Callable[..., Any]] = {'kneser_ney': fit_kneser_ney}

LOGIT_ROWS = 64  # contexts whose whole distributions are worked out at once


def build(config: NgramConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The n-gram model of a config; `seq_len` does not matter to it. Raises UsageError for what cannot be built."""
    require(config.order >= 1, 'model.order', config.order, 'must be at least 1')
    require(config.order <= 16, 'model.order', config.order, 'must be at most 16; longer contexts hardly ever repeat')
    smoothing = choose(SMOOTHINGS, config.smoothing, 'model.smoothing')
    fit = partial(smoothing, vocab_size=vocab_size, order=config.order)
    empty = fit(np.zeros(0, np.int64))
    return Model(
        init=lambda key=None, hparams=None: empty,
        apply=apply,
        score=score,
        init_cache=init_cache,
        axes=jax.tree.map(lambda leaf: (None,) * leaf.ndim, empty),
        cache_axes={'contexts': ('batch', None), 'segment': ('batch',)},
        traits=Traits(trainable=False, recurrent=True, vmappable=False),
        vocab_size=vocab_size,
        fit=lambda tokens, hparams=None: jax.tree.map(jnp.asarray, fit(tokens)),
    )


def init_cache(params: Tree, batch: int, length: int = 0, source: Any = None) -> Tree:
    """Nothing seen yet; its size does not depend on `length`."""
    width = max(len(params['orders']) - 1, 1)
    return {
        'contexts': jnp.full((batch, width), counts.ABSENT, jnp.int32),
        'segment': jnp.zeros(batch, jnp.int32),
    }


def apply(params: Tree, inputs: Inputs, cache: Tree = None, key: Array | None = None, hparams: HParams | None = None) -> Output:
    """Hidden are the contexts' ids, B x T x max(order-1, 1) int32; contexts restart where the segment changes."""
    ids_BxT, orders = jnp.asarray(inputs.ids), jax.tree.map(jnp.asarray, params['orders'])
    carry = init_cache(params, ids_BxT.shape[0]) if cache is None else cache
    real_BxT, restart_BxT = jnp.ones(ids_BxT.shape, bool), jnp.zeros(ids_BxT.shape, bool)
    last_B = jnp.ones_like(carry['segment'])
    if inputs.segments is not None:
        segments_BxT = jnp.asarray(inputs.segments)
        before_BxT = jnp.concatenate([carry['segment'][:, None], segments_BxT[:, :-1]], axis=1)
        real_BxT, restart_BxT, last_B = segments_BxT > 0, segments_BxT != before_BxT, segments_BxT[:, -1]
    contexts_BxTxD = counts.context_ids(
        orders, ids_BxT, carry_BxD=carry['contexts'], restart_BxT=restart_BxT, real_BxT=real_BxT
    )
    return Output(contexts_BxTxD, cache={'contexts': contexts_BxTxD[:, -1], 'segment': last_B})


def score(params: Tree, hidden_BxTxD: Array, ids_BxT: Array | None = None) -> Any:
    """Log-probabilities of every word as logits, B x T x V; or of the given ids, as TokenScores."""
    orders = jax.tree.map(jnp.asarray, params['orders'])
    hidden_BxTxD = jnp.asarray(hidden_BxTxD)
    if ids_BxT is None:
        rows = hidden_BxTxD.reshape(-1, hidden_BxTxD.shape[-1])
        logits = jax.lax.map(partial(counts.log_distribution, orders), rows, batch_size=LOGIT_ROWS)
        return logits.reshape(*hidden_BxTxD.shape[:-1], -1)
    ids_BxT = jnp.asarray(ids_BxT)
    logprob = counts.token_logprob(orders, hidden_BxTxD, ids_BxT)
    best = counts.at_longest(orders, 'best', hidden_BxTxD, params['root']['best'])
    mean = counts.at_longest(orders, 'mean', hidden_BxTxD, params['root']['mean'])
    return TokenScores(logprob, jnp.zeros_like(logprob), mean, (best == ids_BxT).astype(jnp.float32))
