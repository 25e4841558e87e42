"""The table of scores of generated text beside its references, as the libraries that define them compute them.

Each text has statistics, and the score of many is made of their sums, so that a resample of texts is scored as a corpus is:
BLEU and chrF are no means over sentences. A reference is a text, or a list of texts any of which is right.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module, metadata
from typing import Any, NamedTuple

import numpy as np

from lmjax.config import UsageError

References = Sequence[str | Sequence[str]]


class TextScore(NamedTuple):
    """A row of the table."""

    statistics: Callable[[Sequence[str], References], np.ndarray]  # texts and the references of each -> N x C
    finish: Callable[[np.ndarray], float]  # their sums, C -> the score
    signature: Callable[[References], str]  # what it takes to compute the same again


def corpus_score(name: str, texts: Sequence[str], references: References) -> float:
    """The score of all texts together."""
    row = TEXT_SCORES[name]
    return row.finish(row.statistics(texts, references).sum(axis=0))


def each_a_list(references: References) -> list[list[str]]:
    return [[one] if isinstance(one, str) else list(one) for one in references]


def library(name: str, module: str) -> Any:
    """A module of a library for metrics. Raises UsageError, with the remedy, where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f"score: {name} is missing, which computes it; pip install -e '.[metrics]'") from None


def sacre_metric(kind: str, **settings: Any) -> Any:
    return getattr(library('sacrebleu', 'sacrebleu.metrics'), kind)(**settings)


def columns_of(references: References) -> list[list[str | None]]:
    """References as sacrebleu takes them: the first of each text, the second of each, and so on; None where there is none."""
    lists = each_a_list(references)
    return [[row[i] if i < len(row) else None for row in lists] for i in range(max(map(len, lists), default=1))]


def sacre_statistics(make: Callable[[], Any], texts: Sequence[str], references: References) -> np.ndarray:
    """N x C float64: what a metric of sacrebleu counts in each text; its own tests of significance resample the same."""
    return np.array(make()._extract_corpus_statistics(texts, columns_of(references)), np.float64)


def sacre_finish(make: Callable[[], Any], sums_C: np.ndarray) -> float:
    return float(make()._compute_score_from_stats(sums_C.tolist()).score)


def sacre_signature(make: Callable[[], Any], references: References) -> str:
    metric = make()
    metric.corpus_score([''] * len(references), columns_of(references))
    return str(metric.get_signature())


def sacre_row(kind: str, **settings: Any) -> TextScore:
    """A metric of sacrebleu (Post 2018), in 0 to 100."""
    make = partial(sacre_metric, kind, **settings)
    return TextScore(partial(sacre_statistics, make), partial(sacre_finish, make), partial(sacre_signature, make))


def mean_statistics(score: Callable[[str, list[str]], float], texts: Sequence[str], references: References) -> np.ndarray:
    """N x 2: a score of each text, and 1."""
    scores = [score(text, refs) for text, refs in zip(texts, each_a_list(references), strict=True)]
    return np.stack([np.array(scores, np.float64), np.ones(len(scores))], axis=1)


def mean_finish(sums_C: np.ndarray) -> float:
    return float(sums_C[0] / sums_C[1])


def rouge_statistics(name: str, texts: Sequence[str], references: References) -> np.ndarray:
    scorer = library('rouge-score', 'rouge_score.rouge_scorer').RougeScorer([name])
    return mean_statistics(lambda text, refs: scorer.score_multi(refs, text)[name].fmeasure, texts, references)


def rouge_signature(name: str, references: References) -> str:
    return f'{name}|F1|mean over texts|stemmer:no|rouge-score:{metadata.version("rouge-score")}'


def rouge_row(name: str) -> TextScore:
    """F1 of n-grams, or of the longest common subsequence (Lin 2004), in 0 to 1: the mean over texts, each by its best
    reference."""
    return TextScore(partial(rouge_statistics, name), mean_finish, partial(rouge_signature, name))


def equals(text: str, references: list[str]) -> float:
    return float(text.strip() in (one.strip() for one in references))


def bare(text: str) -> str:
    """A text as SQuAD compares it: small letters, no punctuation, no articles, single spaces (Rajpurkar et al. 2016, 6.1)."""
    plain = ''.join(sign for sign in text.lower() if sign not in string.punctuation)
    return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', plain).split())


def same_answer(text: str, references: list[str]) -> float:
    return float(bare(text) in map(bare, references))


def shared_words(text: str, references: list[str]) -> float:
    """F1 of words, that of the best reference; where one side has none, whether both do."""

    def score(told: list[str], wanted: list[str]) -> float:
        shared = (Counter(told) & Counter(wanted)).total()
        return 2 * shared / (len(told) + len(wanted)) if told and wanted else float(told == wanted)

    return max(score(bare(text).split(), bare(one).split()) for one in references)


def edit_statistics(split: Callable[[str], Sequence[str]], texts: Sequence[str], references: References) -> np.ndarray:
    """N x 2: how many units are put in, left out or exchanged (Levenshtein 1966), and those of the nearest reference."""
    distance = library('rapidfuzz', 'rapidfuzz.distance').Levenshtein.distance

    def nearest(text: str, refs: list[str]) -> tuple[int, int]:
        pairs = [(distance(split(text), split(one)), len(split(one))) for one in refs]
        return min(pairs, key=lambda pair: pair[0] / max(pair[1], 1))

    found = [nearest(text, refs) for text, refs in zip(texts, each_a_list(references), strict=True)]
    return np.array(found, np.float64).reshape(-1, 2)


def error_rate(sums_C: np.ndarray) -> float:
    return float(sums_C[0] / sums_C[1]) if sums_C[1] else float(sums_C[0] > 0)


def edit_row(unit: str, split: Callable[[str], Sequence[str]]) -> TextScore:
    """Errors over units of the references, 0 where all is right; the units of all texts together, as speech is scored."""
    return TextScore(
        partial(edit_statistics, split),
        error_rate,
        lambda references: f'{unit}|case:mixed|rapidfuzz:{metadata.version("rapidfuzz")}',
    )


TEXT_SCORES = {
    'wer': edit_row('words', str.split),
    'cer': edit_row('characters', str.strip),
    'em': TextScore(partial(mean_statistics, same_answer), mean_finish, lambda references: 'exact match, SQuAD normalisation'),
    'f1': TextScore(partial(mean_statistics, shared_words), mean_finish, lambda references: 'F1 of words, SQuAD normalisation'),
    'bleu': sacre_row('BLEU'),
    'chrf': sacre_row('CHRF'),
    **{name: rouge_row(name) for name in ('rouge1', 'rouge2', 'rougeL')},
    'exact': TextScore(partial(mean_statistics, equals), mean_finish, lambda references: 'share of texts that are a reference'),
}
