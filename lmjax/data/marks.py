"""What a corruption is made of: the tokenizer's marks, and random numbers by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lmjax.data.config import DataConfig
from lmjax.data.shuffle import mixed
from lmjax.data.special_tokens import SENTINEL, SPECIALS, find_end, find_start, missing, roles_of
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import tokenizer_class
from lmjax.data.triples import tokens_of
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
    stops: np.ndarray | None = None  # bool; ends a sentence
    start: int | None = None  # what a decoder's text begins with
    end: int | None = None  # and ends with, as an encoder's
    classes: np.ndarray | None = None  # int32; where classes are tokens, that of each


def marks_of(tokenizer: Tokenizer, objective: ObjectiveConfig) -> Marks:
    """Of a tokenizer; where its words begin and its sentences end only if the objective asks for it."""
    inside, within = tokenizer.word_flags() if objective.whole_words else (None, None)
    stops = tokenizer.sentence_ends() if reading_of(objective) == 'denoise' and objective.shuffle_sentences else None
    ends = find_start(tokenizer), find_end(tokenizer)
    classes = tokens_of(objective.classes, tokenizer) if objective.kind == 'link' else None
    return Marks(tokenizer.byte_lengths > 0, tokenizer.specials, inside, within, stops, *ends, classes)


def reading_of(objective: ObjectiveConfig) -> str:
    """The row of CORRUPTIONS by which an objective's batches are made: its own, or the one that a student shares."""
    return objective.reads if objective.kind == 'distill' else objective.kind


def plain_marks(vocab_size: int, *, sentinels: int = 0) -> Marks:
    """Of no tokenizer, for the shapes of batches alone."""
    every = np.ones(vocab_size, bool)
    roles = (*SPECIALS, *(f'{SENTINEL}{i}' for i in range(sentinels)))
    return Marks(every, dict.fromkeys(roles, 0), every, every, every, 0, 0, np.zeros(1, np.int32))


def expected_marks(data: DataConfig) -> Marks:
    """Of the tokenizer that a config will give: which special tokens there are, and nothing true of a vocabulary."""
    roles = roles_of(data)
    plain = 0 if tokenizer_class(data.tokenizer).separates else None
    start, end = (0 if role in roles else plain for role in ('start', 'end'))
    return Marks(np.ones(1, bool), dict.fromkeys(roles, 0), start=start, end=end)


def noise(keys_B: np.ndarray, stream: int, count: int) -> np.ndarray:
    """B x count independent numbers in [0, 1), of which every row has its own and every stream others."""
    index = np.arange(count, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    return (mixed(keys_B[:, None] ^ mixed(index)[None]) >> np.uint64(11)) * 2.0**-53


def role(marks: Marks, name: str) -> int:
    """The id of a special token. Raises UsageError where the tokenizer has none."""
    if name not in marks.specials:
        raise missing(name, marks.specials, 'the objective')
    return marks.specials[name]
