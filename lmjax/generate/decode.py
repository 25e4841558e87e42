"""Tokens from any network, through its cache: the prompts at once, then a few tokens at a time, compiled once per shape.

Prompts are padded on the left (segment 0) to a power of two. A network with a limit of `context` tokens goes on for ever: when
a row's window is full, the row is read again from the last half of its context. What a row gets depends on its prompt, its
index and the seed, and not on the other rows nor on how many tokens are decoded at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import require
from lmjax.generate.sampling import Knobs, knobs_of, sample, validate
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Tree

STOPPED = -1  # what a row yields after its stop token
SHORTEST = 16  # prompts are padded to at least this, so that short ones share a shape


class Network(NamedTuple):
    """The functions of a Model that decoding calls; hashable, so that each network is compiled once."""

    apply: Callable[..., Any]
    score: Callable[..., Any]
    init_cache: Callable[..., Any]


class State(NamedTuple):
    """What one token hands to the next."""

    cache: Tree
    token: Any  # B: the last one drawn, which the network has not read yet
    position: Any  # B: where it stands
    seen: Any  # B x V: tokens of the prompt and of what was generated
    step: Any  # tokens drawn so far in each row


def stream(
    model: Model,
    params: Tree,
    prompts: Sequence[np.ndarray],
    sampling: SamplingConfig,
    *,
    context: int | None = None,
    chunk: int = 8,
    stop_ids: Sequence[int] = (),
    sources: Sequence[np.ndarray] | None = None,
    frames: np.ndarray | None = None,
    numbers: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """New tokens of every prompt as they come: int32 arrays (B, n), `max_new_tokens` columns in all.

    sources: what an encoder-decoder reads for each prompt, which is then what its decoder begins with.
    frames: B x P x F, what stands in the first P places of each prompt; these and what is drawn must fit the context.
    context: the most tokens that the network may read at once (None or 0: no limit; recurrent networks have none anyway).
    stop_ids: a row that draws one of these is done and yields STOPPED (-1) from then on; when all are done the stream ends.
    numbers: the number of each row, below 2 ** 32; None: its index.
    Row i draws token j with a key made of the seed, its number and j. Raises UsageError for bad settings, before
    anything is computed.
    """
    validate(sampling)
    rows = check_prompts(model, prompts)
    limit = 0 if model.traits.recurrent else context or 0
    require(limit != 1, 'context', limit, 'must be at least 2 tokens')
    keys_B = row_keys(sampling.seed, np.arange(len(rows)) if numbers is None else np.asarray(numbers))
    source = pad_sources(model, sources, rows=len(rows), limit=limit)
    if frames is not None:
        longest = max(map(len, rows)) + sampling.max_new_tokens - 1
        require(not limit or longest <= limit, 'max_new_tokens', sampling.max_new_tokens, f'goes beyond the context of {limit}')
    job = Job(model, params, knobs_of(sampling), keys_B, limit, chunk, np.asarray(stop_ids, np.int32), source, frames)
    return _stream(job, rows, sampling.max_new_tokens)


def check_prompts(model: Model, prompts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The prompts as int32 arrays. Raises UsageError for one that the network cannot continue."""
    require(model.traits.cached, 'model', model.traits, 'a network without a cache cannot generate')
    return check_rows(model, prompts, 'prompt')


def check_rows(model: Model, rows: Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """Rows of ids as int32 arrays. Raises UsageError for one that is empty or not of the vocabulary."""
    checked = [np.asarray(row, np.int32) for row in rows]
    for row in checked:
        require(row.size > 0, name, row.tolist(), 'needs at least one token')
        require(row.min() >= 0 and row.max() < model.vocab_size, name, int(row.max()), 'ids must lie in the vocabulary')
    return checked


def pad_sources(
    model: Model, sources: Sequence[np.ndarray] | None, *, rows: int, limit: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ids and mask of what an encoder-decoder reads, B x S, padded on the right; None where a network reads no source.

    Raises UsageError where a network needs sources and has none, or the other way round, or one is longer than `limit`.
    """
    if not model.traits.sourced:
        require(sources is None, 'sources', sources, 'this network reads no source; put it into the prompt')
        return None
    given = [] if sources is None else sources
    require(len(given) == rows, 'sources', len(given), f'this network reads one for each prompt; give {rows}')
    checked = check_rows(model, given, 'source')
    lengths_B = np.array([len(row) for row in checked])
    longest = int(lengths_B.max())
    require(not limit or longest <= limit, 'source', longest, f'tokens, and the network reads {limit}; shorten it')
    width = padded_width(longest, limit)
    ids_BxS = np.stack([np.pad(row, (0, width - len(row))) for row in checked])
    return ids_BxS, np.arange(width)[None] < lengths_B[:, None]


class Job(NamedTuple):
    """What stays the same while a stream lasts."""

    model: Model
    params: Tree
    knobs: Knobs
    keys: Any  # one per row
    limit: int  # tokens that the network may read at once; 0: any number
    chunk: int
    stop_ids: np.ndarray
    source: tuple[np.ndarray, np.ndarray] | None  # ids and mask, B x S
    frames: np.ndarray | None  # B x P x F


def _stream(job: Job, rows: list[np.ndarray], wanted: int) -> Iterator[np.ndarray]:
    """Fills the windows until enough columns are drawn or every row has stopped."""
    starts = [0] * len(rows)
    drawn, done_B = 0, np.zeros(len(rows), bool)
    while drawn < wanted:
        lengths = [len(row) for row in rows]
        starts = [window_start(*pair, limit=job.limit) for pair in zip(starts, lengths, strict=True)]
        room = min(
            [wanted - drawn, *(job.limit + 1 - (n - start) for n, start in zip(lengths, starts, strict=True) if job.limit)]
        )
        fresh = []
        for tokens_Bxn in _fill(job, rows, starts=starts, drawn=drawn, room=room):
            fresh.append(tokens_Bxn)
            shown_Bxn, done_B = mark_stopped(tokens_Bxn, done_B, job.stop_ids)
            yield shown_Bxn
            if done_B.all():
                return
        rows = [np.concatenate([row, *(tokens_Bxn[i] for tokens_Bxn in fresh)]) for i, row in enumerate(rows)]
        drawn += room


def _fill(job: Job, rows: list[np.ndarray], *, starts: list[int], drawn: int, room: int) -> Iterator[np.ndarray]:
    """Reads each row from its start and decodes `room` tokens, the first one by itself; drops the last chunk's surplus."""
    network = Network(job.model.apply, job.model.score, job.model.init_cache)
    ids_BxP, lengths_B = left_pad([row[start:] for row, start in zip(rows, starts, strict=True)], limit=job.limit)
    chunks = -(-(room - 1) // job.chunk)
    slots = 1 if job.model.traits.recurrent else power_of_two(ids_BxP.shape[1] + chunks * job.chunk)
    seen_BxV = np.zeros((len(rows), job.model.vocab_size), bool)
    for seen_V, row in zip(seen_BxV, rows, strict=True):
        seen_V[row] = True
    step = np.int32(drawn)
    given = (job.source, job.frames)
    state = prefill(network, job.params, ids_BxP, lengths_B, seen_BxV, job.keys, step, job.knobs, *given, slots=slots)
    yield np.asarray(state.token)[:, None]
    # The surplus is computed at positions that the network has; nobody sees it.
    last_position = np.int32(job.limit - 1 if job.limit else np.iinfo(np.int32).max)
    for index in range(chunks):
        state, tokens_BxC = decode_chunk(network, job.params, state, job.keys, job.knobs, last_position, chunk=job.chunk)
        yield np.asarray(tokens_BxC)[:, : room - 1 - index * job.chunk]


@partial(jax.jit, static_argnames=('network', 'slots'))
def prefill(
    network: Network,
    params: Tree,
    ids_BxP: Any,
    lengths_B: Any,
    seen_BxV: Any,
    keys_B: jax.Array,
    step: Any,
    knobs: Knobs,
    source: Any = None,
    frames: Any = None,
    *,
    slots: int,
) -> State:
    """Reads left-padded windows into a new cache with room for `slots` tokens and draws each row's next token."""
    cache = network.init_cache(params, len(ids_BxP), slots, source)
    out = network.apply(params, padded_inputs(ids_BxP, lengths_B)._replace(prefix=frames), cache=cache)
    return _draw(network, params, out, lengths_B, seen_BxV, keys_B, step, knobs)


@partial(jax.jit, static_argnames=('network', 'chunk'), donate_argnames=('state',))
def decode_chunk(
    network: Network, params: Tree, state: State, keys_B: jax.Array, knobs: Knobs, last_position: Any, *, chunk: int
) -> tuple[State, jax.Array]:
    """The next `chunk` tokens, B x chunk, one after the other."""

    def next_token(state: State, _: None) -> tuple[State, jax.Array]:
        inputs = Inputs(state.token[:, None], jnp.minimum(state.position, last_position)[:, None])
        out = network.apply(params, inputs, cache=state.cache)
        state = _draw(network, params, out, state.position + 1, state.seen, keys_B, state.step, knobs)
        return state, state.token

    state, tokens_CxB = jax.lax.scan(next_token, state, None, length=chunk)
    return state, tokens_CxB.T


def _draw(
    network: Network, params: Tree, out: Any, position_B: Any, seen_BxV: Any, keys_B: Any, step: Any, knobs: Knobs
) -> State:
    """The state after drawing from the distribution at the last position of `out`."""
    logits_BxV = network.score(params, out.hidden[:, -1:])[:, 0]
    token_B = sample(logits_BxV, seen_BxV, knobs, jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, step))
    seen_BxV = seen_BxV | (token_B[:, None] == jnp.arange(seen_BxV.shape[1])[None])
    return State(out.cache, token_B, position_B, seen_BxV, step + 1)


def row_keys(seed: int, numbers_B: np.ndarray) -> jax.Array:
    """A key for each row, made of its number, which does not depend on the others."""
    return _row_keys(seed, numbers_B.astype(np.uint32))


@jax.jit
def _row_keys(seed: int, numbers_B: Any) -> jax.Array:
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b'sample'))
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(root, numbers_B)


def window_start(start: int, length: int, *, limit: int) -> int:
    """Where a row's window begins: where it did while its tokens fit the limit, else so that half of the limit remains."""
    fits = not limit or length - start <= limit
    return start if fits else length - limit // 2


def left_pad(windows: Sequence[np.ndarray], *, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows as one array, zeros on the left, as wide as a power of two that fits the limit; and their lengths."""
    lengths_B = np.array([len(window) for window in windows], np.int32)
    width = padded_width(int(lengths_B.max()), limit)
    return np.stack([np.pad(window, (width - len(window), 0)) for window in windows]), lengths_B


def padded_inputs(ids_BxP: Any, lengths_B: Any) -> Inputs:
    """What a network reads of windows that are padded on the left: positions count from each window's first token."""
    length = ids_BxP.shape[1]
    offset_BxP = jnp.arange(length)[None] - (length - lengths_B)[:, None]
    return Inputs(ids_BxP, jnp.maximum(offset_BxP, 0), (offset_BxP >= 0).astype(jnp.int32))


def padded_width(length: int, limit: int) -> int:
    """How wide rows of up to `length` tokens are made, so that few shapes are compiled; 0: the network has no limit."""
    return min(power_of_two(length), limit) if limit else power_of_two(length)


def power_of_two(length: int) -> int:
    """The least one that is at least `length`, and at least SHORTEST."""
    return max(1 << (length - 1).bit_length(), SHORTEST)


def mark_stopped(tokens_Bxn: np.ndarray, done_B: np.ndarray, stop_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """STOPPED after each row's first stop token; and which rows are done."""
    hits_Bxn = np.isin(tokens_Bxn, stop_ids)
    before_Bxn = done_B[:, None] | (np.cumsum(hits_Bxn, axis=1) - hits_Bxn > 0)
    return np.where(before_Bxn, STOPPED, tokens_Bxn), done_B | hits_Bxn.any(axis=1)
