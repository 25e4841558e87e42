"""What a masked language model puts in place of each `<mask>` of a text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from lmjax.config import UsageError, require
from lmjax.generate.decode import padded_width
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.types import Tree


class Filling(NamedTuple):
    token: int
    text: str  # of the token alone
    probability: float


def fill_mask(
    model: Model, params: Tree, tokenizer: Any, text: str, *, count: int = 5, context: int | None = None
) -> list[list[Filling]]:
    """The `count` most likely tokens for each `<mask>` of a text, the likeliest first; each mask as if it were the only one.

    Raises:
      UsageError: the text holds no mask, the tokenizer has none, or the text is longer than the network's context.
    """
    require(not model.traits.sourced, 'model', 'encoder-decoder', 'tells what is hidden as a text of its own; generate it')
    ids = tokenizer.encode_marked(text)
    require('mask' in tokenizer.specials, 'data.specials', tuple(tokenizer.specials)[:3], 'this tokenizer has no mask; add it')
    at = np.flatnonzero(ids == tokenizer.specials['mask'])
    require(len(at) > 0, 'prompt', text, "write '<mask>' where a word is to be told")
    require(1 <= count <= model.vocab_size, 'count', count, f'use 1 to {model.vocab_size}')
    if context and len(ids) > context:
        raise UsageError(f'prompt={text[:40]!r}...: has {len(ids)} tokens and the network reads {context}; shorten it')
    width = padded_width(len(ids), context or 0)
    padded = np.pad(ids, (0, width - len(ids)))[None]
    segments = (np.arange(width) < len(ids)).astype(np.int32)[None]
    logits = np.asarray(_logits_at(model.apply, model.score, params, padded, segments, at.astype(np.int32)), np.float64)
    probability = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probability /= probability.sum(axis=-1, keepdims=True)
    best = np.argsort(-probability, axis=-1, kind='stable')[:, :count]
    return [
        [Filling(int(token), tokenizer.decode([token]), float(row[token])) for token in tokens]
        for row, tokens in zip(probability, best, strict=True)
    ]


@partial(jax.jit, static_argnames=('apply', 'score'))
def _logits_at(apply: Any, score: Any, params: Tree, ids_1xT: Any, segments_1xT: Any, at_M: Any) -> Any:
    """Logits at the positions of the masks, M x V."""
    hidden_1xTxD = apply(params, Inputs(ids_1xT, segments=segments_1xT)).hidden
    return score(params, hidden_1xTxD[:, at_M])[0]
