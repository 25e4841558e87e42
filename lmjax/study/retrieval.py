"""Queries and the texts among which those that belong to them are to be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmjax.config import require
from lmjax.data.rows import check_columns, chosen_rows
from lmjax.data.sources import matching_files, parse_columns


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


def overlap(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Cosines of TF-IDF vectors of words, queries x texts (Pedregosa et al. 2011: scikit-learn does the work)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r'(?u)\b\w+\b').fit([*queries, *texts])
    return (vectors.transform(queries) @ vectors.transform(texts).T).toarray()
