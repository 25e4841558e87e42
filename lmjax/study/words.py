"""Words by their vectors: neighbours, analogies, and how well they agree with people."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.sources import Source
from lmjax.study.statistics import Interval, bootstrap_mean

AT_ONCE = 512  # questions whose cosines with the whole vocabulary are held at once


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Distinct words and their vectors of length 1."""

    words: list[str]
    vectors: np.ndarray  # W x D

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def number(self, word: str) -> int:
        """Raises UsageError for a word that is not in it."""
        if word not in self.numbers:
            raise UsageError(f'word={word!r}: is not in the vocabulary of {len(self.words):,} words; name another vocabulary')
        return self.numbers[word]

    def neighbours(self, word: str, *, top: int) -> list[tuple[str, float]]:
        """The words with the largest cosine with a word, which is left out itself."""
        at = self.number(word)
        return self._best(self.vectors[at], [at], top)

    def analogy(self, first: str, second: str, third: str, *, top: int) -> list[tuple[str, float]]:
        """What is to `third` as `second` is to `first`, the three left out: 3CosAdd (Mikolov et al. 2013)."""
        a, b, c = asked = [self.number(word) for word in (first, second, third)]
        target_D = self.vectors[b] - self.vectors[a] + self.vectors[c]
        return self._best(target_D / max(float(np.linalg.norm(target_D)), 1e-12), asked, top)

    def _best(self, target_D: np.ndarray, asked: Sequence[int], top: int) -> list[tuple[str, float]]:
        cosines_W = self.vectors @ target_D
        cosines_W[list(asked)] = -np.inf
        best = np.argsort(-cosines_W, kind='stable')[: min(top, len(self.words) - len(set(asked)))]
        return [(self.words[i], float(cosines_W[i])) for i in best]


class Question(NamedTuple):
    section: str
    words: tuple[str, ...]  # a b c d: b is to a as d is to c


class Pair(NamedTuple):
    first: str
    second: str
    score: float  # by people


def frequent_words(documents: Iterable[str | None], size: int) -> list[str]:
    """The commonest words of texts, runs of letters, the commonest first."""
    counts: Counter[str] = Counter()
    for text in documents:
        counts.update(re.findall(r'[^\W\d_]+', text or ''))
    return [word for word, _ in counts.most_common(size)]


def words_of(source: Source, size: int) -> list[str]:
    """`frequent_words` of a source. Raises UsageError where it has none."""
    found = frequent_words(source.documents(), size)
    require(bool(found), '--vocabulary', source.name, 'has no words; name another source')
    return found


def read_questions(name: str, text: str) -> list[Question]:
    """Analogies, four words a line, under lines `: SECTION`. Raises UsageError, with the line, for any other."""
    section, found = '', []
    for number, words in _lines(text):
        if words[0] == ':':
            section = ' '.join(words[1:])
        else:
            require(len(words) == 4, '--analogies', name, f'line {number} has {len(words)} words; write four, as a b c d')
            found.append(Question(section, tuple(words)))
    require(bool(found), '--analogies', name, 'has no analogies; write four words a line')
    return found


def read_pairs(name: str, text: str) -> list[Pair]:
    """Two words and a number a line. Raises UsageError, with the line, for any other."""
    found = []
    for number, cells in _lines(text):
        try:
            first, second, score = cells
            found.append(Pair(first, second, float(score)))
        except ValueError:
            raise UsageError(f'--similarity={name!r}: line {number} is not WORD WORD NUMBER; mend or remove it') from None
    require(len(found) > 2, '--similarity', name, f'has {len(found)} pairs; give three or more')
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Numbers and cells of lines that are neither empty nor comments."""
    lines = enumerate(text.splitlines(), start=1)
    return ((number, line.split()) for number, line in lines if line.strip() and not line.startswith('#'))


def right_answers(vocabulary: Vocabulary, questions: Sequence[Question]) -> np.ndarray:
    """Whether 3CosAdd tells the fourth word of each, float64; all words must be in the vocabulary."""
    asked_Qx4 = np.array([[vocabulary.numbers[word] for word in question.words] for question in questions])
    right = []
    for begin in range(0, len(questions), AT_ONCE):
        a, b, c, d = asked_Qx4[begin : begin + AT_ONCE].T
        vectors_WxD = vocabulary.vectors
        cosines_QxW = (vectors_WxD[b] - vectors_WxD[a] + vectors_WxD[c]) @ vectors_WxD.T  # times a length of each row's own
        for one in (a, b, c):
            cosines_QxW[np.arange(len(one)), one] = -np.inf
        right.append(cosines_QxW.argmax(axis=1) == d)
    return np.concatenate(right).astype(np.float64)


def agreement(told_P: np.ndarray, scores_P: np.ndarray) -> Interval:
    """Spearman's rank correlation of cosines and people's scores, and the interval when pairs are drawn again."""
    from scipy.stats import rankdata

    def finish(times_P: np.ndarray) -> float:
        drawn = np.repeat(np.arange(len(told_P)), times_P.astype(int))
        ranks_2xP = np.stack([rankdata(told_P[drawn]), rankdata(scores_P[drawn])])
        return float(np.corrcoef(ranks_2xP)[0, 1])

    return bootstrap_mean(np.eye(len(told_P))[None], finish=finish)
