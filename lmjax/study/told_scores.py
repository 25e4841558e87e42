"""The table of scores of what is told of texts beside their labels, by statistics of each text that are summed over all.

So a resample of texts is scored as a whole is. Rows are predictions as `experiments.evaluate --predictions` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lmjax.objectives.tagging import sequence_labeling, spell_spans
from lmjax.study.statistics import Finish, Interval, bootstrap_mean
from lmjax.study.text_scores import TEXT_SCORES

Rows = Sequence[Mapping[str, Any]]
MOST_CLASSES = 200  # whose confusions are counted text by text


class ToldScore(NamedTuple):
    """A row of the table."""

    statistics: Callable[[Rows], np.ndarray]  # rows -> N, of which it is the mean, or N x C; KeyError, TypeError where none is
    finish: Finish | None = None  # the sums of these, C -> the score; None: the mean


def each(score: Callable[[Mapping[str, Any]], float]) -> ToldScore:
    return ToldScore(lambda rows: np.array([score(row) for row in rows], np.float64))


def share_of_words(row: Mapping[str, Any]) -> float:
    """How many words of a text have the right tag."""
    if not (isinstance(row['told'], list) and row['label']):
        raise TypeError('no tags of words')
    return float(np.mean([told == label for told, label in zip(row['told'], row['label'], strict=True)]))


def confusions(rows: Rows) -> np.ndarray:
    """N x (classes x classes): a 1 where a text's label and what was told of it meet. Raises TypeError where these are none."""
    pairs = [(row['label'], row['told']) for row in rows]
    names = {name for pair in pairs for name in pair}
    classes = sorted(names) if all(isinstance(name, str) for name in names) else []
    if not 1 < len(classes) <= MOST_CLASSES or len(classes) > len(rows):
        raise TypeError('no classes')
    places, count = {name: number for number, name in enumerate(classes)}, len(classes)
    found = np.zeros((len(rows), count * count))
    found[np.arange(len(rows)), [places[label] * count + places[told] for label, told in pairs]] = 1.0
    return found


def squared(sums_C: np.ndarray) -> np.ndarray:
    size = int(np.sqrt(len(sums_C)))
    return sums_C.reshape(size, size)


def macro_f1(sums_C: np.ndarray) -> float:
    """The mean of F1 over the classes that are a label or are told."""
    confusion_CxC = squared(sums_C)
    both_C = confusion_CxC.sum(axis=0) + confusion_CxC.sum(axis=1)
    return float((2 * np.diag(confusion_CxC)[both_C > 0] / both_C[both_C > 0]).mean())


def matthews(sums_C: np.ndarray) -> float:
    """Matthews' correlation of several classes (Gorodkin 2004, eq. 8); 0 where all labels, or all that is told, are alike."""
    confusion_CxC = squared(sums_C)
    label_C, told_C, total = confusion_CxC.sum(axis=1), confusion_CxC.sum(axis=0), confusion_CxC.sum()
    spread = (total**2 - label_C @ label_C) * (total**2 - told_C @ told_C)
    return float((np.trace(confusion_CxC) * total - label_C @ told_C) / np.sqrt(spread)) if spread > 0 else 0.0


def hits(found: Callable[[Sequence[Any]], set[Any]], rows: Rows) -> np.ndarray:
    """N x 3: how many of what is found in a label are told too, are told at all, are in the label.

    Raises TypeError where these are no lists.
    """
    counted = []
    for row in rows:
        if not (isinstance(row['label'], list) and isinstance(row['told'], list)):
            raise TypeError('no lists')
        label, told = found(row['label']), found(row['told'])
        counted.append((len(label & told), len(told), len(label)))
    return np.array(counted, np.float64)


def f1_of_counts(sums_3: np.ndarray) -> float:
    return float(2 * sums_3[0] / (sums_3[1] + sums_3[2])) if sums_3[1] + sums_3[2] else 0.0


def spans_of(tags: Sequence[str]) -> set[Any]:
    """The spans that the tags of a text spell, as seqeval has it. Raises TypeError where they spell none."""
    if not spell_spans(tags):
        raise TypeError('no spans')
    return set(sequence_labeling().get_entities(list(tags)))


def moments(rows: Rows) -> np.ndarray:
    """N x 6: 1, label, told, their squares and their product. Raises TypeError where they are no numbers."""
    every = [row[name] for row in rows for name in ('label', 'told')]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in every):
        raise TypeError('no numbers')
    x_N, y_N = (np.array([row[name] for row in rows], np.float64) for name in ('label', 'told'))
    return np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)


def pearson(sums_6: np.ndarray) -> float:
    count, x, y, xx, yy, xy = sums_6
    spread = (count * xx - x * x) * (count * yy - y * y)
    return float((count * xy - x * y) / np.sqrt(spread)) if spread > 0 else 0.0


TOLD_SCORES: dict[str, ToldScore] = {
    'accuracy': each(lambda row: float(row['told'] == row['label'])),
    'words': each(share_of_words),
    'loss_nats': each(lambda row: float(row['loss_nats'])),
    'macro_f1': ToldScore(confusions, macro_f1),
    'mcc': ToldScore(confusions, matthews),
    'micro_f1': ToldScore(partial(hits, set), f1_of_counts),
    'span_f1': ToldScore(partial(hits, spans_of), f1_of_counts),
    'squared_error': ToldScore(lambda rows: moments(rows) @ [0, 0, 0, 1, 1, -2]),
    'pearson': ToldScore(moments, pearson),
}
# what is told (a row of ANSWERS) -> the scores that an evaluation says with intervals
REPORTED = {
    'class': ('accuracy', 'macro_f1', 'mcc', 'loss_nats'),
    'classes': ('accuracy', 'micro_f1'),
    'number': ('squared_error', 'pearson'),
    'tags': ('words', 'span_f1'),
    'span': ('em', 'f1'),
    'preferred': ('accuracy',),
    'tail': ('accuracy', 'loss_nats'),
    **dict.fromkeys(('target', 'middle', 'caption'), ('exact',)),
}


def statistics_of(score: str, rows: Rows) -> np.ndarray:
    """The score of each row, N, or its statistics, N x C. Raises KeyError, TypeError or ValueError where it has none."""
    if score in TOLD_SCORES:
        return TOLD_SCORES[score].statistics(rows)
    if not all(isinstance(row['told'], str) for row in rows):
        raise TypeError('no text is told')
    return TEXT_SCORES[score].statistics([row['told'] for row in rows], [row['label'] for row in rows])


def finish_of(score: str) -> Finish | None:
    """What makes a score of summed statistics; None where it is a mean over texts."""
    return TOLD_SCORES[score].finish if score in TOLD_SCORES else TEXT_SCORES[score].finish


def intervals(rows: Rows, scores: Sequence[str]) -> dict[str, Interval]:
    """Of those scores that these predictions have, each with the 95% interval of texts drawn again."""
    found = {}
    for score in scores:
        try:
            statistics = statistics_of(score, rows)
        except (KeyError, TypeError, ValueError):
            continue
        found[score] = bootstrap_mean(statistics[None], finish=finish_of(score))
    return found
