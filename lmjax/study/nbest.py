"""Hypotheses of a recogniser, chosen anew with the help of a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import require
from lmjax.data.rows import Row, check_columns, chosen_rows
from lmjax.data.sources import matching_files, parse_columns
from lmjax.study.text_scores import TEXT_SCORES

COLUMNS = ('hypotheses', 'reference')
WEIGHTS = (0.0, *(2.0 ** (i / 2) for i in range(-12, 13)))  # in units of the lists' own
BONUSES = (0.0, *(sign * 2.0 ** (i / 2) for i in range(-8, 7) for sign in (1, -1)))


class Lists(NamedTuple):
    """For each of U utterances up to H hypotheses, as the recogniser lists them."""

    places: list[str]  # FILE:LINE of each
    texts: list[list[str]]
    references: list[str]
    scores: np.ndarray  # U x H, the recogniser's, larger is better; -inf where there is no hypothesis
    words: np.ndarray  # U x H, how many

    def laid_out(self, values: Sequence[Sequence[float]]) -> np.ndarray:
        """A value of each hypothesis as U x H float64, 0 where there is none."""
        return padded(values, self.scores.shape[1], 0.0)

    @property
    def all_texts(self) -> list[str]:
        """The distinct hypotheses of all utterances."""
        return list(dict.fromkeys(text for texts in self.texts for text in texts))


class Weights(NamedTuple):
    weight: float  # of the language model's log-likelihood in nats
    word_bonus: float  # for each word


def read_lists(flag: str, data: str) -> Lists:
    """The lists of FILE@ROWS: rows `{"hypotheses": [{"text": ..., "score": ...}, ...], "reference": ...}`.

    Raises UsageError, with file and line, for a row that is another.
    """
    pattern, _, share, _ = parse_columns(f'--{flag}={data}', data)
    paths = matching_files(data, pattern)
    for path in paths:
        check_columns(data, path, COLUMNS)
    rows = [(row.place, *sound(flag, row)) for row in chosen_rows(data, paths, share)]
    require(bool(rows), f'--{flag}', data, 'has no rows; name others')
    places, found, references = map(list, zip(*rows, strict=True))
    texts = [[text for text, _ in one] for one in found]
    longest = max(map(len, texts))
    scores_UxH = padded([[score for _, score in one] for one in found], longest, -np.inf)
    words_UxH = padded([[len(text.split()) for text in one] for one in texts], longest, 0)
    return Lists(places, texts, references, scores_UxH, words_UxH)


def sound(flag: str, row: Row) -> tuple[list[tuple[str, float]], str]:
    """The hypotheses and the reference of a row. Raises UsageError where it is no list of them."""
    listed, reference = (row.values.get(name) for name in COLUMNS)
    hypotheses = [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []
    right = all(isinstance(one.get('text'), str) and is_number(one.get('score')) for one in hypotheses)
    remedy = 'has no list of hypotheses, each with a text and a score, and a reference; mend or remove it'
    require(bool(hypotheses) and right and isinstance(reference, str), f'--{flag}', row.place, remedy)
    return [(one['text'], float(one['score'])) for one in hypotheses], str(reference)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def padded(rows: Sequence[Sequence[float]], width: int, fill: float) -> np.ndarray:
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], np.float64)


def word_errors(lists: Lists) -> np.ndarray:
    """What the word error rate counts in each hypothesis, errors and words of the reference, U x H x 2; inf where none is."""
    row, counts = TEXT_SCORES['wer'].statistics, [len(texts) for texts in lists.texts]
    repeated = [reference for reference, count in zip(lists.references, counts, strict=True) for _ in range(count)]
    errors_UxHx2 = np.full((*lists.scores.shape, 2), np.inf)
    errors_UxHx2[np.isfinite(lists.scores)] = row([text for texts in lists.texts for text in texts], repeated)
    return errors_UxHx2


def choose(lists: Lists, nats_UxH: np.ndarray, weights: Weights) -> np.ndarray:
    """The number of each utterance's best hypothesis by score + weight x nats + word_bonus x words, the first of equals."""
    total_UxH = lists.scores + weights.weight * nats_UxH + weights.word_bonus * lists.words
    return total_UxH.argmax(axis=1)


def taken(errors_UxHx2: np.ndarray, chosen_U: np.ndarray) -> np.ndarray:
    """What is counted in the chosen hypotheses, U x 2."""
    return errors_UxHx2[np.arange(len(chosen_U)), chosen_U]


def tune(lists: Lists, nats_UxH: np.ndarray) -> Weights:
    """The weights with the fewest word errors, of a grid; of equals those next to 0.

    Units are the spread of the recogniser's scores within a list over that of what is weighted, so that any scale will do.
    """
    errors_UxHx2 = word_errors(lists)
    scale = within(lists, lists.scores)
    units = [scale / (within(lists, values) or np.inf) for values in (nats_UxH, lists.words)]
    grid = [Weights(units[0] * a, units[1] * b) for a in WEIGHTS for b in BONUSES]
    found = [taken(errors_UxHx2, choose(lists, nats_UxH, weights))[:, 0].sum() for weights in grid]
    return grid[int(np.argmin(found))]


def within(lists: Lists, values_UxH: np.ndarray) -> float:
    """The standard deviation of values within their lists."""
    is_there = np.isfinite(lists.scores)
    values = np.where(is_there, values_UxH, 0.0)
    means_Ux1 = values.sum(axis=1, keepdims=True) / is_there.sum(axis=1, keepdims=True)
    return float(np.sqrt(((values - means_Ux1)[is_there] ** 2).mean()))
