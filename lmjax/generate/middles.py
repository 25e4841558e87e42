"""What a network tells of many gaps: the likeliest tokens between a prefix and a suffix."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lmjax.config import require
from lmjax.data.infilling import MARKED, has_gaps, shown_ids
from lmjax.generate.continuations import continue_prompts
from lmjax.generate.targets import answering
from lmjax.generate.text import start_ids

if TYPE_CHECKING:
    from lmjax.generate.answers import Teller


def read_middles(teller: Teller, texts: Sequence[str]) -> list[str]:
    """What belongs into the gap of each text, a JSON list of what stands before and after it: the likeliest token each time.

    It ends where the network ends it, at a stop string or after `max_new_tokens`. A network that has not learned to read on
    both sides of a gap goes on with the prefix to the end of the line.

    Raises UsageError for a text that is none, or settings that leave no room for what is shown.
    """
    assert teller.sampling is not None
    sampling = dataclasses.replace(answering(teller.sampling), num_beams=1, greedy=True)
    if not has_gaps(teller.tokenizer):
        sampling = dataclasses.replace(sampling, stop=(*sampling.stop, '\n'))
    room = room_beside(sampling.max_new_tokens, teller.context)
    prompts = [start_ids(teller.tokenizer, shown_ids(text, teller.tokenizer, room)) for text in texts]
    return continue_prompts(
        teller.model, teller.params, teller.tokenizer, [np.asarray(ids) for ids in prompts], sampling, context=teller.context
    )


def room_beside(most: int, context: int) -> int:
    """Tokens for what is shown beside a middle of `most`. Raises UsageError where so few are left that nothing could be."""
    remedy = f'leaves no room in {context} tokens for what is shown; use {max(1, context // 2)}, or a larger data.seq_len'
    require(context - most > MARKED, 'sample.max_new_tokens', most, remedy)
    return context - most
