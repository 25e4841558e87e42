"""What follows each of many prompts, in few programs."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import require
from lmjax.generate.decode import stream
from lmjax.generate.embed import by_length
from lmjax.generate.text import Continuation

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Model, Tree

ROWS = 16  # prompts of one stream


def continue_prompts(
    model: Model,
    params: Tree,
    tokenizer: Any,
    prompts: Sequence[np.ndarray],
    sampling: SamplingConfig,
    *,
    context: int | None = None,
) -> list[str]:
    """The text after each prompt, given as ids, up to a stop string, the end of the document or `max_new_tokens`.

    Prompts of like length travel together. What is drawn for a prompt depends on the seed, its ids and how many equal ones
    stand before it, and on nothing else. Where a prompt and what is new exceed the context the prompt loses its first tokens,
    at most so many that half of the context remains.

    Raises:
      UsageError: a network without a cache or that reads a source, a prompt without a token, or bad settings.
    """
    require(not model.traits.sourced, 'model', 'encoder-decoder', 'reads a source beside the text; take a decoder')
    require(sampling.num_beams == 1, 'num_beams', sampling.num_beams, 'many prompts are not searched with beams; leave it out')
    numbers = draw_numbers(prompts)
    room = max(context - sampling.max_new_tokens, context // 2) if context else None
    kept = [prompt[-room:] if room else prompt for prompt in prompts]

    def write(some: list[int]) -> list[str]:
        rows = [Continuation(tokenizer, kept[i], sampling.stop) for i in some]
        asked: dict[str, Any] = {'context': context, 'stop_ids': tokenizer.end_ids, 'numbers': [numbers[i] for i in some]}
        for tokens_Bxn in stream(model, params, [kept[i] for i in some], sampling, **asked):
            for row, tokens in zip(rows, tokens_Bxn.tolist(), strict=True):
                for token in tokens:
                    row.push(token)
            if all(row.finish for row in rows):
                break
        for row in rows:
            row.close()
        return [row.text for row in rows]

    return by_length(write, range(len(kept)), ROWS, length=lambda i: len(kept[i]))


def draw_numbers(prompts: Sequence[np.ndarray]) -> list[int]:
    """A number for each prompt, of its ids and of how many equal ones stand before it."""
    before: Counter[bytes] = Counter()
    numbers = []
    for prompt in prompts:
        spelled = np.asarray(prompt, np.int32).tobytes()
        numbers.append(zlib.crc32(spelled + before[spelled].to_bytes(4)))
        before[spelled] += 1
    return numbers
