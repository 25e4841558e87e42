"""The shared vocabulary: what flows between data, networks, objectives and the loop.

Shape letters, used as suffixes of names (`hidden_BxTxD`) everywhere:

B batch, T time, S source or cache time, D model width, H query heads, G key/value heads, K head width,
F feed-forward width, V vocabulary, N layers, R replicas, E experts, P prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax
    import numpy as np

    Array = jax.Array | np.ndarray
else:
    Array = Any  # naming the type must not load jax: data and configs do without

Tree = Any  # a nested dict of arrays (parameters, caches, optimizer states)
HParams = Mapping[str, Any]  # scalars that a study may vary, as arrays or floats


class Inputs(NamedTuple):
    """What a network reads. Every field but `ids` may be None."""

    ids: Array  # B x T int32
    positions: Array | None = None  # B x T int32; None: 0 .. T-1 after what the cache holds
    segments: Array | None = None  # B x T int32, 0 is padding, 1.. are documents; None: all 1
    source_ids: Array | None = None  # B x S int32, what an encoder reads for the decoder of `ids`
    source_mask: Array | None = None  # B x S bool, false where the source is padded; None: nowhere
    # B x P x D: vectors instead of those of the first P tokens of each row that are no padding; what a row's frames (patches of
    # a picture, pieces of a sound) are before they are encoded, where a network does that, is in the same place
    prefix: Array | None = None
    shift: Array | None = None  # B x T x D, added to the vectors of tokens as the table has them; None: nothing
    types: Array | None = None  # B x T int32, which of two texts a token is from; None: all the first
    open: Array | None = None  # B x T bool, tokens that earlier ones of their segment see too; None: as the network is made


class Batch(NamedTuple):
    """One batch to be scored: `targets` at each position, counted `weights` times (0 where padded)."""

    inputs: Inputs
    targets: Array  # B x T int32, or B x K with `at`; B x 1 zeros where rows are scored and not tokens
    weights: Array  # like the targets, float32
    at: Array | None = None  # B x K int32, the positions that are scored; None: all
    # What is told of each row: its class, B int32, -1 where it has none; its classes, B x C; a number, B. B x (T + 1): the tags
    # of tokens, of which an objective's corruption makes targets. None: nothing is told.
    labels: Array | None = None


class Output(NamedTuple):
    """What a network returns; a pytree without functions."""

    hidden: Array  # B x T x D
    cache: Tree = None
    aux: Mapping[str, tuple[Any, Any]] = {}  # name -> (sum, weight in the loss)
    pooled: Array | None = None  # B x D: one vector of each row, from networks that have a pooler
    row_logits: Array | None = None  # B x classes float32, where there is a classifier of rows
    token_logits: Array | None = None  # B x T x classes float32, where there is one of tokens


class TokenScores(NamedTuple):
    """How the target tokens fare under the network's distribution; each B x T float32, in nats."""

    logprob: Array  # log p(target)
    log_normalizer: Array  # logsumexp of the logits, for the z-loss
    mean_logprob: Array  # mean over the vocabulary of log p, for label smoothing
    correct: Array  # 1.0 where the target is the most likely token


class Traits(NamedTuple):
    """Which laws apply to a network."""

    trainable: bool = True  # by gradient; otherwise `Model.fit` counts
    causal: bool = True  # a token sees the earlier ones alone
    cached: bool = True
    recurrent: bool = False  # the cache is a carry of fixed size: no context limit
    vmappable: bool = True
    opens: bool = False  # heeds `Inputs.open`
    prefixed: bool = False  # heeds `Inputs.prefix` and `Inputs.shift`
    sourced: bool = False  # an encoder-decoder: needs `Inputs.source_ids`, or a cache that was made for a source


class Model(NamedTuple):
    """A network as pure functions over plain nested dicts of arrays.

    init(key, hparams) -> params
    apply(params, inputs, cache=None, key=None, hparams={}) -> Output
        `key=None` means evaluation; otherwise `key` holds one typed key per row, shape (B,), so that a row's
        dropout does not depend on the batch that it travels in (accumulation and sharding then change nothing).
    score(params, hidden_BxTxD, ids_BxT=None) -> logits_BxTxV float32, or with ids TokenScores, computed in chunks
    init_cache(params, batch, length, source=None) -> cache
        a key/value cache with room for `length` tokens or a recurrent carry; passing it to `apply` continues from it.
        `source` is the pair (source_ids, source_mask) that an encoder-decoder reads once, here
    axes, cache_axes: trees like params and cache whose leaves are tuples of logical axis names
    fit(tokens, hparams) -> params, only where not trainable by gradient
    """

    init: Callable[..., Tree]
    apply: Callable[..., Output]
    score: Callable[..., Any]
    init_cache: Callable[..., Tree]
    axes: Tree
    cache_axes: Tree
    traits: Traits
    vocab_size: int
    fit: Callable[..., Tree] | None = None


class Teacher(NamedTuple):
    """A network that another one learns from; it does not learn itself."""

    model: Model
    params: Tree
