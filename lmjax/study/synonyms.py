"""Texts said in other words: each word drawn may become one whose vector is near."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from lmjax.study.words import Vocabulary

LETTERS = re.compile(r'[^\W\d_]+')


def near_words(vocabulary: Vocabulary, word: str, *, top: int, least: float) -> list[str]:
    """The up to `top` words nearest to one that are at least as near as `least`, a cosine; none of a word that is not known."""
    if word not in vocabulary.numbers:
        return []
    found = vocabulary.neighbours(word, top=top)
    return [other for other, cosine in found if cosine >= least and other.lower() != word.lower()]


def reworded(text: str, near: Callable[[str], Sequence[str]], draw: random.Random, *, share: float) -> str:
    """A text in which each word, as likely as `share`, gave way to one that is near (Wang and Yang 2015).

    One among those near is as likely as another. A word that begins with a capital is looked up as it is written and, where
    nothing is near, in small letters, and its stand-in begins as it does. Everything but letters stays.
    """

    def other(match: re.Match[str]) -> str:
        word = match[0]
        if draw.random() >= share:
            return word
        found = near(word) or near(word.lower())
        if not found:
            return word
        stand_in = draw.choice(found)
        return stand_in[:1].upper() + stand_in[1:] if word[:1].isupper() else stand_in

    return LETTERS.sub(other, text)
