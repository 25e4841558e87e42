"""Beam search through a network's cache: the likeliest continuations instead of drawn ones, in one program per shape.

Each prompt has W running beams. A step scores their W x V continuations: of the W best, those that end are finished, and the W
best that do not end run on (Sutskever et al. 2014, section 3.2); the best (1 + ends) x W hold all of these. What is finished is
ranked by log-probability / length ** length_penalty. The ranking and the rule by which a search is over are transformers' own,
so that both find the same.

Letters beside those of `lmjax.types`: W beams of a prompt, C candidates of a step. T is room for new tokens, P for a prompt's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import require
from lmjax.generate.decode import STOPPED, Network, check_prompts, left_pad, pad_sources, padded_inputs, power_of_two
from lmjax.generate.sampling import repetition_penalty, validate
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Tree


class Hypotheses(NamedTuple):
    """Continuations of each prompt, best first; fewer than W are possible where the vocabulary is small."""

    tokens: Any  # B x W x T int32, the ending token included; STOPPED after it
    score: Any  # B x W float32: sum of log-probabilities / length ** length_penalty; -inf where there is none


class Rules(NamedTuple):
    """The scalars of a SamplingConfig that the compiled search reads."""

    max_new_tokens: Any
    length_penalty: Any
    early_stopping: Any
    repetition_penalty: Any


class State(NamedTuple):
    """What one token hands to the next. The network's rows are the beams of the first prompt, of the second, and so on."""

    cache: Tree
    hidden: Any  # BW x 1 x D, of each beam's last token
    running: Hypotheses  # scored by the plain sum of log-probabilities
    seen: Any  # B x W x V: tokens of the prompt and of the beam
    finished: Hypotheses
    open: Any  # B: whether a running beam may still do better than what is finished
    length: Any  # new tokens of each beam


def search(
    model: Model,
    params: Tree,
    prompts: Sequence[np.ndarray],
    sampling: SamplingConfig,
    *,
    context: int | None = None,
    stop_ids: Sequence[int] = (),
    sources: Sequence[np.ndarray] | None = None,
) -> Hypotheses:
    """The `num_samples` best of the `num_beams` hypotheses of every prompt: B x num_samples x the longest one's length.

    context: the most tokens that the network may read at once (None or 0: no limit; recurrent networks have none anyway).
    stop_ids: a hypothesis that reaches one of these ends with it. The repetition penalty acts on log-probabilities.
    sources: what an encoder-decoder reads for each prompt.
    Raises UsageError for bad settings and for prompts that leave too little of the context, before anything is computed.
    """
    rows = check(model, prompts, sampling, context)
    limit = 0 if model.traits.recurrent else context or 0
    ids_BxP, lengths_B = left_pad(rows, limit=limit)
    found = _search(
        Network(model.apply, model.score, model.init_cache),
        params,
        ids_BxP,
        lengths_B,
        np.stack([np.isin(np.arange(model.vocab_size), row) for row in rows]),
        np.asarray(stop_ids, np.int32),
        rules_of(sampling),
        pad_sources(model, sources, rows=len(rows), limit=limit),
        batch_dims=batch_dims(model.cache_axes),
        beam_dims=batch_dims(model.cache_axes, shared='source'),
        num_beams=sampling.num_beams,
        room=power_of_two(sampling.max_new_tokens),
    )
    tokens_BxWxT = np.asarray(found.tokens)[:, : sampling.num_samples]
    longest = (tokens_BxWxT != STOPPED).sum(axis=-1).max()
    return Hypotheses(tokens_BxWxT[..., :longest], np.asarray(found.score)[:, : sampling.num_samples])


def stream_best(
    model: Model,
    params: Tree,
    prompt: np.ndarray,
    sampling: SamplingConfig,
    *,
    context: int | None = None,
    stop_ids: Sequence[int] = (),
    source: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """What `decode.stream` would yield for one prompt's best hypotheses, num_samples x n: all at once, when they are known.

    Raises UsageError as `search` does, before the first one is asked for.
    """
    check(model, [prompt], sampling, context)
    sources = None if source is None else [source]
    pad_sources(model, sources, rows=1, limit=context or 0)

    def found() -> Iterator[np.ndarray]:
        yield search(model, params, [prompt], sampling, context=context, stop_ids=stop_ids, sources=sources).tokens[0]

    return found()


def check(model: Model, prompts: Sequence[np.ndarray], sampling: SamplingConfig, context: int | None) -> list[np.ndarray]:
    """The prompts as int32 arrays. Raises UsageError where they or the settings cannot be searched with."""
    validate(sampling)
    rows = check_prompts(model, prompts)
    if context and not model.traits.recurrent:
        longest = max(len(row) for row in rows)
        remedy = f'beside a prompt of {longest} tokens exceeds the context of {context}, and beam search slides no window; '
        remedy += f'ask for {context - longest} or fewer' if longest < context else f'shorten the prompt below {context}'
        require(longest + sampling.max_new_tokens <= context, 'sample.max_new_tokens', sampling.max_new_tokens, remedy)
    return rows


def rules_of(sampling: SamplingConfig) -> Rules:
    """The traced scalars of a validated config."""
    return Rules(
        max_new_tokens=np.int32(sampling.max_new_tokens),
        length_penalty=np.float32(sampling.length_penalty),
        early_stopping=np.bool_(sampling.early_stopping),
        repetition_penalty=np.float32(sampling.repetition_penalty),
    )


@partial(jax.jit, static_argnames=('network', 'batch_dims', 'beam_dims', 'num_beams', 'room'))
def _search(
    network: Network,
    params: Tree,
    ids_BxP: Any,
    lengths_B: Any,
    seen_BxV: Any,
    stop_ids: Any,
    rules: Rules,
    source: Any = None,
    *,
    batch_dims: tuple[int | None, ...],
    beam_dims: tuple[int | None, ...],
    num_beams: int,
    room: int,
) -> Hypotheses:
    """The finished hypotheses, B x num_beams x room."""
    batch, length = ids_BxP.shape
    cache = network.init_cache(params, batch, length + room, source)
    out = network.apply(params, padded_inputs(ids_BxP, lengths_B), cache=cache)
    none = Hypotheses(jnp.full((batch, num_beams, room), STOPPED), jnp.full((batch, num_beams), -jnp.inf))
    rows_BW = jnp.repeat(jnp.arange(batch), num_beams)
    state = State(
        cache=take_rows(out.cache, rows_BW, batch_dims),
        hidden=out.hidden[rows_BW, -1:],
        # A prompt's beams are still the same: all but one are impossible, lest every hypothesis be found W times.
        running=none._replace(score=none.score.at[:, 0].set(0.0)),
        seen=jnp.repeat(seen_BxV[:, None], num_beams, axis=1),
        finished=none,
        open=jnp.ones(batch, bool),
        length=jnp.int32(0),
    )

    def unfinished(state: State) -> jax.Array:
        return (state.length < rules.max_new_tokens) & state.open.any()

    def step(state: State) -> State:
        return _step(network, params, state, lengths_B, stop_ids, rules, beam_dims=beam_dims)

    return jax.lax.while_loop(unfinished, step, state).finished


def _step(
    network: Network,
    params: Tree,
    state: State,
    lengths_B: Any,
    stop_ids: Any,
    rules: Rules,
    *,
    beam_dims: tuple[int | None, ...],
) -> State:
    """The state after every beam has become one token longer."""
    B, W, V = state.seen.shape
    logprob_BxWxV = jax.nn.log_softmax(network.score(params, state.hidden)).reshape(B, W, V)
    logprob_BxWxV = repetition_penalty(logprob_BxWxV, state.seen, rules.repetition_penalty)
    total_BxWV = (state.running.score[..., None] + logprob_BxWxV).reshape(B, W * V)
    score_BxC, choice_BxC = jax.lax.top_k(total_BxWV, min((1 + len(stop_ids)) * W, W * V))
    parent_BxC, token_BxC = choice_BxC // V, choice_BxC % V
    tokens_BxCxT = pick(state.running.tokens, parent_BxC).at[:, :, state.length].set(token_BxC)
    end_BxC = jnp.isin(token_BxC, stop_ids)

    length = state.length + 1
    normalizer = length.astype(jnp.float32) ** rules.length_penalty
    final_BxW = (end_BxC[:, :W] | (length == rules.max_new_tokens)) & state.open[:, None]
    ended = Hypotheses(tokens_BxCxT[:, :W], jnp.where(final_BxW, score_BxC[:, :W] / normalizer, -jnp.inf))
    finished = best(jax.tree.map(lambda old, new: jnp.concatenate([old, new], axis=1), state.finished, ended), W)

    score_BxW, chosen_BxW = jax.lax.top_k(jnp.where(end_BxC, -jnp.inf, score_BxC), W)
    tokens_BxWxT, parent_BxW, token_BxW = pick((tokens_BxCxT, parent_BxC, token_BxC), chosen_BxW)
    seen_BxWxV = pick(state.seen, parent_BxW) | (token_BxW[..., None] == jnp.arange(V)[None, None])
    cache = take_rows(state.cache, (jnp.arange(B)[:, None] * W + parent_BxW).reshape(-1), beam_dims)
    position_BW = jnp.repeat(lengths_B + state.length, W)
    out = network.apply(params, Inputs(token_BxW.reshape(-1, 1), position_BW[:, None]), cache=cache)
    running = Hypotheses(tokens_BxWxT, score_BxW)
    still_open_B = state.open & may_improve(running, finished, normalizer, rules.early_stopping)
    return State(out.cache, out.hidden, running, seen_BxWxV, finished, still_open_B, length)


def may_improve(running: Hypotheses, finished: Hypotheses, normalizer: Any, early_stopping: Any) -> jax.Array:
    """B: fewer than W are finished, or, without early stopping, the best running beam would beat the worst of them if it ended.

    With a length penalty above 0 that is a heuristic, the one of transformers: a longer hypothesis might still score better.
    """
    worst_B = finished.score.min(axis=1)
    return (worst_B == -jnp.inf) | (~early_stopping & (running.score[:, 0] / normalizer > worst_B))


def best(hypotheses: Hypotheses, count: int) -> Hypotheses:
    """The `count` of each prompt with the highest scores, in order; among equals the earlier one comes first."""
    score_BxW, chosen_BxW = jax.lax.top_k(hypotheses.score, count)
    return Hypotheses(pick(hypotheses.tokens, chosen_BxW), score_BxW)


def pick(tree: Tree, index_BxW: Any) -> Tree:
    """Of every leaf, B x C x ..., the entries of each row that an index names: B x W x ..."""
    return jax.tree.map(lambda leaf: jax.vmap(lambda row, index: row[index])(leaf, index_BxW), tree)


def batch_dims(cache_axes: Tree, *, shared: str = '') -> tuple[int | None, ...]:
    """Which dimension of each leaf of a cache is the batch, by its axes; None for a leaf that all rows share.

    shared: an axis whose leaves are the same for all beams of a prompt, and need not move with them.
    """
    leaves = jax.tree.leaves(cache_axes, is_leaf=lambda node: isinstance(node, tuple))
    return tuple(names.index('batch') if 'batch' in names and shared not in names else None for names in leaves)


def take_rows(cache: Tree, rows: Any, batch_dims: tuple[int | None, ...]) -> Tree:
    """The cache whose row i is what row rows[i] was."""
    leaves, structure = jax.tree.flatten(cache)
    # mode='clip': the default looks for rows that do not exist, in a second pass over the cache.
    taken = [
        leaf if dim is None else jnp.take(leaf, rows, axis=dim, mode='clip')
        for leaf, dim in zip(leaves, batch_dims, strict=True)
    ]
    return jax.tree.unflatten(structure, taken)
