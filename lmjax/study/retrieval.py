"""Queries and the texts among which those that belong to them are to be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lmjax.config import require
from lmjax.data.rows import check_columns, chosen_rows
from lmjax.data.sources import matching_files, parse_columns
from lmjax.training.config import Config
from lmjax.training.rescoring import read_labelled


def read_queries(data: str) -> tuple[list[str], list[str], list[list[int]]]:
    """Queries, the distinct texts of all rows, and the numbers of those that belong to each query.

    Raises UsageError for a file or a column that is not there, or a row without a query or a text.
    """
    pattern, columns, share, _ = parse_columns(data, data)
    require(len(columns) == 2 and all(columns), '--data', data, 'name two columns, as FILE#question,answers')
    queries: list[str] = []
    right: list[list[int]] = []
    places: dict[str, int] = {}
    paths = matching_files(data, pattern)
    for path in paths:
        check_columns(data, path, columns)
    for row in chosen_rows(data, paths, share):
        query, answers = (row.values.get(column) for column in columns)
        answers = answers if isinstance(answers, list) else [answers]
        sound = all(isinstance(text, str) and text.strip() for text in (query, *answers)) and answers
        require(bool(sound), '--data', data, f'{row.place} lacks a query or a text; mend or remove it')
        queries.append(str(query))
        right.append(sorted({places.setdefault(str(text).strip(), len(places)) for text in answers}))
    require(bool(queries), '--data', data, 'has no rows; name others')
    return queries, list(places), right


def read_captioned(config: Config, source: str) -> tuple[list[str], list[str], list[list[int]]]:
    """Files of a source of captions, as a run reads them, the distinct captions, and the number of each file's own."""
    paths, captions, _ = read_labelled(config, source)
    places = {text: number for number, text in enumerate(dict.fromkeys(captions))}
    return paths, list(places), [[places[text]] for text in captions]


def narrowed(scores_QxC: np.ndarray, right: Sequence[Sequence[int]], among: int, *, seed: int = 0) -> np.ndarray:
    """The same scores, -inf for all but those right for a query and others drawn by `seed`, `among` in all.

    Raises UsageError where there are not as many.
    """
    found = np.full(scores_QxC.shape, -np.inf)
    require(among <= scores_QxC.shape[1], '--among', among, f'there are {scores_QxC.shape[1]} texts; use as many or fewer')
    draw = np.random.default_rng(seed)
    for new_C, scores_C, places in zip(found, scores_QxC, right, strict=True):
        others = np.setdiff1d(np.arange(len(scores_C)), places)
        kept = [*places, *draw.permutation(others)[: max(0, among - len(places))]]
        new_C[kept] = scores_C[kept]
    return found


def less_prior(scores_QxC: np.ndarray) -> np.ndarray:
    """Log-likelihoods of texts less the log of their mean likelihood over all queries: pointwise mutual information."""
    highest_C = scores_QxC.max(axis=0)
    return scores_QxC - highest_C - np.log(np.exp(scores_QxC - highest_C).mean(axis=0))


def chance(score: Callable[[np.ndarray], np.ndarray], among: int) -> float:
    """A score of ranks where the one right text is as likely at each of them."""
    return float(score(np.arange(1.0, among + 1)).mean())


def overlap(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Cosines of TF-IDF vectors of words, queries x texts (Pedregosa et al. 2011: scikit-learn does the work)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r'(?u)\b\w+\b').fit([*queries, *texts])
    return (vectors.transform(queries) @ vectors.transform(texts).T).toarray()
