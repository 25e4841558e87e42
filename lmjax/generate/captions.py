"""Captions of pictures and transcripts of sounds: the likeliest text behind frames, and how likely texts are behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import require
from lmjax.data.frames import PLACE, caption_ids
from lmjax.data.special_tokens import end_id
from lmjax.generate.decode import stream
from lmjax.generate.embed import by_length
from lmjax.generate.targets import answering, spelled
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Tree

ROWS = 32  # files that are told at a time
TEXTS = 64  # texts that are scored at a time
BATCH = 'batch'  # the logical axis of rows


def tell_captions(
    model: Model, params: Tree, tokenizer: Any, frames_NxPxF: np.ndarray, sampling: SamplingConfig, *, context: int
) -> list[str]:
    """What a network writes behind each file's frames, the likeliest token each time, up to the end of its context.

    Raises UsageError for beams, which frames do not steer.
    """
    require(sampling.num_beams == 1, 'sample.num_beams', sampling.num_beams, 'captions are written greedily; set it to 1')
    places, room = np.full(frames_NxPxF.shape[1], PLACE, np.int32), context - frames_NxPxF.shape[1] + 1
    settings = dataclasses.replace(answering(sampling), max_new_tokens=min(sampling.max_new_tokens, room))

    def write(some: list[np.ndarray]) -> np.ndarray:
        given: dict[str, Any] = {'context': context, 'stop_ids': tokenizer.end_ids, 'frames': np.stack(some)}
        return np.concatenate(list(stream(model, params, [places] * len(some), settings, **given)), axis=1)

    return [spelled(tokenizer, tokens, sampling.stop) for tokens in by_length(write, list(frames_NxPxF), ROWS)]


def caption_scores(
    model: Model, params: Tree, tokenizer: Any, frames_NxPxF: np.ndarray, texts: Sequence[str], *, context: int
) -> np.ndarray:
    """The log-likelihood of each text, its end too, behind each file's frames, N x texts, in nats.

    A file's frames are read once, and every text goes on from their cache. What goes beyond the context is not scored.
    """
    room, end = context - frames_NxPxF.shape[1] + 1, end_id(tokenizer)
    rows = [np.append(caption_ids(text, tokenizer), end)[:room].astype(np.int32) for text in texts]
    score = reader(model, frames=frames_NxPxF.shape[1], longest=max(map(len, rows)))
    groups = [padded(rows[at : at + TEXTS], longest=max(map(len, rows))) for at in range(0, len(rows), TEXTS)]
    found = [[np.asarray(score(params, frames[None], *group)) for group in groups] for frames in frames_NxPxF]
    return np.stack([np.concatenate(parts)[: len(rows)] for parts in found]).astype(np.float64)


def padded(rows: Sequence[np.ndarray], *, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """TEXTS rows of ids, 0 on the right, and the length of each."""
    ids_CxT = np.zeros((TEXTS, longest), np.int32)
    for ids, row in zip(ids_CxT, rows, strict=False):
        ids[: len(row)] = row
    return ids_CxT, np.array([*map(len, rows), *[0] * (TEXTS - len(rows))], np.int32)


def reader(model: Model, *, frames: int, longest: int) -> Callable[..., Any]:
    """A compiled function (params, frames 1 x P x F, ids C x T, lengths C) -> the log-likelihood of each text, C."""

    @jax.jit
    def score(params: Tree, frames_1xPxF: Any, ids_CxT: Any, lengths_C: Any) -> Any:
        cache = model.init_cache(params, 1, frames + longest)
        places = jnp.full((1, frames), PLACE, jnp.int32)
        begun = model.apply(params, Inputs(places, segments=jnp.ones_like(places), prefix=frames_1xPxF), cache=cache)
        repeat = partial(repeated, times=len(ids_CxT))
        cache = jax.tree.map(repeat, model.cache_axes, begun.cache, is_leaf=lambda node: isinstance(node, tuple))
        real_CxT = (jnp.arange(longest)[None] < lengths_C[:, None]).astype(jnp.int32)
        following = model.apply(params, Inputs(ids_CxT[:, :-1], segments=real_CxT[:, :-1]), cache=cache).hidden
        first = repeat((BATCH, '', ''), begun.hidden[:, -1:])
        told = model.score(params, jnp.concatenate([first, following], axis=1), ids_CxT)
        return (told.logprob * real_CxT).sum(axis=1)

    return score


def repeated(axes: Sequence[str], leaf: Any, *, times: int) -> Any:
    """One row's part of a cache for so many rows."""
    return jnp.repeat(leaf, times, axis=axes.index(BATCH)) if BATCH in axes else leaf
