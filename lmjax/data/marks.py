"""What a corruption is made of: the tokenizer's marks, and random numbers by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lmjax.config import UsageError
from lmjax.data.shuffle import mixed
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import SPECIALS
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer

Corruption = Callable[[Batch, np.ndarray, TokenStore], Batch]  # (batch, keys_B, store) -> batch


class Marks(NamedTuple):
    """What a corruption must know of a tokenizer; arrays have an entry for each token of the vocabulary."""

    ordinary: np.ndarray  # bool; tokens of text, which may be hidden and may stand in for others
    specials: Mapping[str, int]  # role -> id
    inside: np.ndarray | None = None  # bool; goes on with the word of the token before, if that word is open
    open: np.ndarray | None = None  # bool; ends within a word


def marks_of(tokenizer: Tokenizer, objective: ObjectiveConfig) -> Marks:
    """Of a tokenizer; where its words begin only if the objective asks for it."""
    flags = tokenizer.word_flags() if objective.whole_words else (None, None)
    return Marks(tokenizer.byte_lengths > 0, tokenizer.specials, *flags)


def plain_marks(vocab_size: int) -> Marks:
    """Of no tokenizer, for the shapes of batches alone."""
    every = np.ones(vocab_size, bool)
    return Marks(every, dict.fromkeys(SPECIALS, 0), every, every)


def noise(keys_B: np.ndarray, stream: int, count: int) -> np.ndarray:
    """B x count independent numbers in [0, 1), of which every row has its own and every stream others."""
    index = np.arange(count, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    return (mixed(keys_B[:, None] ^ mixed(index)[None]) >> np.uint64(11)) * 2.0**-53


def role(marks: Marks, name: str) -> int:
    """The id of a special token. Raises UsageError where the tokenizer has none."""
    if name not in marks.specials:
        raise UsageError(f"data.specials={tuple(marks.specials)!r}: the objective needs a token for '{name}'; add '{name}'")
    return marks.specials[name]
