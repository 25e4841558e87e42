"""Lookups in sorted count tables: the n-grams of a corpus as a trie of flat int32 arrays, usable under jit.

A k-gram's id is its rank among the k-grams seen, sorted by (id of its first k-1 words, last word); a single word's id is the
word. Order k's table holds the last words in that order (`words`) and where each (k-1)-gram's continuations begin
(`offsets`), so an id of any order fits 32 bits and the continuations of a context are one sorted run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

ABSENT = -1  # the id of an n-gram that was never seen, or of a context that a text is too short for

Orders = Mapping[str, Mapping[str, Any]]  # '1', '2', ... -> tables


def find_child(table: Mapping[str, Any], parents: jax.Array, words: jax.Array, *, vocab_size: int) -> jax.Array:
    """Ids of the n-grams (parent, word), ABSENT where there are none; any shape, by bisection within the parent's run."""
    parents, words = jnp.broadcast_arrays(parents, words)
    context = jnp.maximum(parents, 0)
    first, end = table['offsets'][context], table['offsets'][context + 1]
    last = table['words'].shape[0] - 1

    def halve(_: Any, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = span
        middle = low + (high - low) // 2
        right = (low < high) & (table['words'][jnp.minimum(middle, last)] < words)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    # A run has at most V words. A loop, for unrolled the chain of gathers takes minutes to compile.
    low, _ = jax.lax.fori_loop(0, vocab_size.bit_length(), halve, (first, end))
    found = (parents >= 0) & (low < end) & (table['words'][jnp.minimum(low, last)] == words)
    return jnp.where(found, low, ABSENT)


def context_ids(
    orders: Orders, ids_BxT: jax.Array, *, carry_BxD: jax.Array, restart_BxT: jax.Array, real_BxT: jax.Array
) -> jax.Array:
    """The contexts that end at each position: ids of the 1-gram, 2-gram, ... D-gram, B x T x D int32.

    `carry_BxD` are those that ended just before the first position; where `restart` is true nothing before counts, and
    positions that are not real (padding) have no contexts.
    """
    vocab_size = orders['1']['logprob'].shape[0]
    contexts = [jnp.where(real_BxT, ids_BxT, ABSENT)]
    for order in range(2, carry_BxD.shape[1] + 1):
        before_BxT = jnp.concatenate([carry_BxD[:, order - 2, None], contexts[-1][:, :-1]], axis=1)
        before_BxT = jnp.where(restart_BxT | ~real_BxT, ABSENT, before_BxT)
        contexts.append(find_child(orders[str(order)], before_BxT, ids_BxT, vocab_size=vocab_size))
    return jnp.stack(contexts, axis=-1)


def token_logprob(orders: Orders, contexts_BxTxD: jax.Array, ids_BxT: jax.Array) -> jax.Array:
    """log p(id | context): the longest n-gram seen, times the back-off weights of the contexts above it; B x T float32."""
    vocab_size = orders['1']['logprob'].shape[0]
    logprob = orders['1']['logprob'][ids_BxT]
    for order in range(2, len(orders) + 1):
        context = contexts_BxTxD[..., order - 2]
        child = find_child(orders[str(order)], context, ids_BxT, vocab_size=vocab_size)
        backed_off = logprob + at_context(orders[str(order - 1)]['backoff'], context, 0.0)
        logprob = jnp.where(child >= 0, orders[str(order)]['logprob'][jnp.maximum(child, 0)], backed_off)
    return logprob


def log_distribution(orders: Orders, contexts_D: jax.Array) -> jax.Array:
    """log p of every word after one context (ids of its 1-gram ... D-gram); V float32."""
    logprob_V = orders['1']['logprob']
    rank_V = jnp.arange(logprob_V.shape[0])
    for order in range(2, len(orders) + 1):
        table, context = orders[str(order)], contexts_D[order - 2]
        start = table['offsets'][jnp.maximum(context, 0)]
        size = jnp.where(context >= 0, table['offsets'][jnp.maximum(context, 0) + 1] - start, 0)
        row_V = jnp.minimum(start + rank_V, table['words'].shape[0] - 1)
        word_V = jnp.where(rank_V < size, table['words'][row_V], rank_V.size)  # past the run: out of range, dropped
        logprob_V = logprob_V + at_context(orders[str(order - 1)]['backoff'], context, 0.0)
        logprob_V = logprob_V.at[word_V].set(table['logprob'][row_V], mode='drop')
    return logprob_V


def at_context(values: jax.Array, context: jax.Array, otherwise: Any) -> jax.Array:
    """values[context], or `otherwise` (broadcast) where the context is ABSENT."""
    return jnp.where(context >= 0, values[jnp.maximum(context, 0)], otherwise)


def at_longest(orders: Orders, name: str, contexts_BxTxD: jax.Array, root: jax.Array) -> jax.Array:
    """A column of the tables at the longest context that was seen (`root` without any); B x T."""
    value = jnp.broadcast_to(root, contexts_BxTxD.shape[:-1])
    for order in range(1, len(orders)):
        value = at_context(orders[str(order)][name], contexts_BxTxD[..., order - 1], value)
    return value
