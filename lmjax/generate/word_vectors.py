"""One vector for each word, from a network's table of token embeddings or from its states of the word by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import UsageError, choose
from lmjax.generate.embed import embed_texts
from lmjax.ops.pooling import unit

if TYPE_CHECKING:
    from lmjax.types import Model, Tree


def word_vectors(
    model: Model, params: Tree, tokenizer: Any, words: Sequence[str], *, layer: str = 'table', context: int | None = None
) -> np.ndarray:
    """One vector of length 1 for each word, W x D float32; of a word of several tokens their mean.

    `layer` is a row of LAYERS. Tokenizers that take a space for a part of a word are given the word as it stands in a text.

    Raises:
      UsageError: no such layer, a network without one, or a word without a token.
    """
    read = choose(LAYERS, layer, 'layer')
    return read(model, params, tokenizer, [in_text(tokenizer, word) for word in words], context)


def in_text(tokenizer: Any, word: str) -> str:
    """The word after a space, unless that takes more tokens, as where a space is a token of its own."""
    try:
        return min((f' {word}', word), key=lambda text: len(tokenizer.encode_rendered(text)))
    except UsageError:  # no space in the vocabulary
        return word


def own_words(tokenizer: Any) -> list[str]:
    """The words that a tokenizer has a token for: two letters or more, in the order of their ids."""
    texts = dict.fromkeys(tokenizer.decode([i]).strip() for i in range(tokenizer.vocab_size))
    return [text for text in texts if len(text) > 1 and text.isalpha() and is_known(tokenizer, text, most=1)]


def is_known(tokenizer: Any, word: str, *, most: int = 0) -> bool:
    """Whether a word is spelled by tokens, at most so many (0: any number), none of which stands for what is unknown."""
    try:
        ids = tokenizer.encode_rendered(in_text(tokenizer, word))
    except UsageError:
        return False
    return 0 < len(ids) <= (most or len(ids)) and tokenizer.unknown_id not in ids.tolist()


def _from_table(model: Model, params: Tree, tokenizer: Any, texts: Sequence[str], context: int | None) -> np.ndarray:
    table = params.get('embedding', {}).get('tokens') if isinstance(params, dict) else None
    if table is None:
        raise UsageError("layer='table': this network has no table of token embeddings; take a transformer or a recurrent one")
    table_VxD, rows = np.asarray(table, np.float32), [tokenizer.encode_rendered(text) for text in texts]
    for ids, text in zip(rows, texts, strict=True):
        if not len(ids):
            raise UsageError(f'word={text!r}: has no token; leave it out')
    return np.asarray(unit(np.stack([table_VxD[ids].mean(axis=0) for ids in rows]))) if rows else table_VxD[:0]


def _from_states(model: Model, params: Tree, tokenizer: Any, texts: Sequence[str], context: int | None) -> np.ndarray:
    return embed_texts(model, params, tokenizer, texts, context=context)


LAYERS = {'table': _from_table, 'last': _from_states}
