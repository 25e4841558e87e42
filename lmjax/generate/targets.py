"""What an encoder-decoder tells of many sources: the likeliest target of each, in few programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import require
from lmjax.data.parallel_text import encode_sources
from lmjax.data.special_tokens import end_id, start_id
from lmjax.generate.beams import search
from lmjax.generate.decode import stream
from lmjax.generate.embed import by_length
from lmjax.generate.sampling import SAMPLERS
from lmjax.generate.text import Continuation

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Model, Tree

ROWS = 32  # sources of one search


def tell_targets(
    model: Model, params: Tree, tokenizer: Any, texts: Sequence[str], sampling: SamplingConfig, *, context: int
) -> list[str]:
    """The target of each text: by beam search where `sampling` has beams, else the likeliest token each time, never drawn.

    Sources are read as in training and cut to the context, the end token kept. Those of like length travel together, as wide
    as a power of two, so that few programs are compiled; who travels with whom changes nothing.

    Raises:
      UsageError: a text without any token, or settings that leave no room for a target.
    """
    sources = sources_of(tokenizer, texts, context)
    search_some = partial(likeliest, model, params, tokenizer, sampling=answering(sampling), context=context)
    return [spelled(tokenizer, tokens, sampling.stop) for tokens in by_length(search_some, sources, ROWS)]


def answering(sampling: SamplingConfig) -> SamplingConfig:
    """The same without chance: one target, with beams or greedily."""
    unheeded = {name: getattr(type(sampling), name) for name in SAMPLERS}
    return dataclasses.replace(sampling, **unheeded, greedy=sampling.num_beams == 1, num_samples=1)


def sources_of(tokenizer: Any, texts: Sequence[str], context: int) -> list[np.ndarray]:
    """Ids of each text with the end token, at most `context` of them."""
    rows = encode_sources(texts, tokenizer)
    for row, text in zip(rows, texts, strict=True):
        require(len(row) > 0, 'text', text, 'has no token; leave it out')
    end = np.int32(end_id(tokenizer))
    return [np.append(row[: context - 1], end).astype(np.int32) for row in rows]


def likeliest(
    model: Model,
    params: Tree,
    tokenizer: Any,
    sources: Sequence[np.ndarray],
    sampling: SamplingConfig,
    *,
    context: int,
) -> np.ndarray:
    """Ids of the target of each source, B x T int32, STOPPED after its end."""
    starts = [np.array([start_id(tokenizer)], np.int32)] * len(sources)
    given: dict[str, Any] = {'context': context, 'stop_ids': tokenizer.end_ids, 'sources': sources}
    if sampling.num_beams > 1:
        return search(model, params, starts, sampling, **given).tokens[:, 0]
    return np.concatenate(list(stream(model, params, starts, sampling, **given)), axis=1)


def spelled(tokenizer: Any, tokens: np.ndarray, stop: Sequence[str]) -> str:
    """The text of a target up to its end, or to a stop string."""
    text = Continuation(tokenizer, [start_id(tokenizer)], stop)
    for token in tokens.tolist():
        text.push(token)
    text.close()
    return text.text
