"""Words as tokens, for what is told of each word."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from lmjax.config import UsageError
from lmjax.data.store import INSIDE, OUTSIDE
from lmjax.data.tokenizers import Tokenizer

GAP = '\u2423'  # stands for white space within a word


def as_word(text: str) -> str:
    """A word without white space in it."""
    return GAP.join(text.split()) or GAP


def word_encoder(tokenizer: Tokenizer) -> Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]:
    """A function: words -> ids, and of each id the number of the word that it begins, INSIDE or OUTSIDE; both int32.

    Each word is encoded by itself, with a space before it where it is not the first, and the tokens that the tokenizer puts
    around a text stand around them. Raises UsageError for a word that has no token.
    """
    before, after = tokenizer.edges()

    @functools.cache
    def pieces_of(written: str) -> np.ndarray:
        ids = tokenizer.encode_rendered(written)
        if not len(ids):
            raise UsageError(
                f'word={written.strip()!r}: has no token in this tokenizer; remove it, or put another in its place'
            )
        return ids

    def encode(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        pieces = [pieces_of(f' {word}' if number else word) for number, word in enumerate(words)]
        marks = np.full(sum(map(len, pieces)), INSIDE, np.int32)
        marks[np.cumsum([0, *map(len, pieces[:-1])])] = np.arange(len(pieces))
        edges = (np.full(len(edge), OUTSIDE, np.int32) for edge in (before, after))
        return np.concatenate([before, *pieces, after]), np.concatenate([next(edges), marks, next(edges)])

    return encode


def encode_tagged(
    texts: Sequence[str], tags: Sequence[np.ndarray], tokenizer: Tokenizer
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of texts of words parted by single spaces, and what each id has: its word's tag where it begins one.

    Raises UsageError where cleaning has left a text other words than it has tags.
    """
    encode, words = word_encoder(tokenizer), [text.split(' ') for text in texts]
    for row, tag in zip(words, tags, strict=True):
        if len(row) != len(tag):
            remedy = 'cleaning made spaces within words; choose another data.normal_form'
            raise UsageError(f'text={" ".join(row)!r}: {len(row)} words and {len(tag)} tags; {remedy}')
    ids, marks = zip(*map(encode, words), strict=True)
    return list(ids), [np.where(mark >= 0, tag[mark], mark) for mark, tag in zip(marks, tags, strict=True)]
