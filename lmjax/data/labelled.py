"""Texts that belong to classes: `text<TAB>label` until they are encoded, from rows of JSON or of a table."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.parallel_text import join_pair, split_pair
from lmjax.data.sources import Source, bad_source, digest_files, is_labelled, json_record, matching_files, read_text
from lmjax.data.store import TokenStore

DELIMITERS = {'.csv': ',', '.tsv': '\t'}
SHOWN = 5  # names in a line


class Share(NamedTuple):
    """The rows whose number, counted from 0 over all files, is first .. last modulo `of`."""

    first: int = 0
    last: int = 0
    of: int = 1

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and self.first <= row % self.of <= self.last


def open_labelled(name: str, argument: str) -> Source:
    """Files of rows, .jsonl, .csv or .tsv (with a header), as `GLOB#TEXT,LABEL@FIRST-LAST/OF`.

    After `#` stand the columns of the text and of its label (by default text,label), after `@` which rows: `2-9/10` those whose
    number modulo 10 is 2 to 9, `0/10` every tenth. A label is a string, or a whole number or true or false of JSON.
    """
    rest, at, share = argument.partition('@')
    pattern, _, columns = rest.partition('#')
    names = (columns or 'text,label').split(',')
    if len(names) != 2 or not all(names):
        raise bad_source(name, f'{columns!r} does not name two columns', 'put TEXT,LABEL after #')
    text, label = names
    chosen = parse_share(name, share) if at else Share()
    paths = matching_files(name, pattern)
    for path in paths:
        check_columns(name, path, names)

    def documents() -> Iterator[str | None]:
        rows = (row for path in paths for row in read_rows(name, path))
        for number, row in enumerate(rows):
            if number in chosen:
                yield join_pair(row.get(text), label_of(row.get(label)))

    digest = hashlib.sha256(f'{digest_files(name, paths)} labelled {names} {chosen}'.encode()).hexdigest()
    provenance = f'{len(paths)} files of labelled texts, columns {text!r} and {label!r}' + (f', rows {share}' if at else '')
    return Source(name, documents, digest, provenance, interleaved=True, labelled=True)


def parse_share(name: str, written: str) -> Share:
    """Raises UsageError unless it is FIRST-LAST/OF or ONE/OF."""
    span, _, of = written.partition('/')
    first, _, last = span.partition('-')
    numbers = (first, last or first, of)
    if all(number.isdigit() for number in numbers):
        share = Share(*map(int, numbers))
        if share.first <= share.last < share.of:
            return share
    raise bad_source(name, f'@{written} says no rows', 'write FIRST-LAST/OF, as @2-9/10, or ONE/OF, as @0/10')


def read_rows(name: str, path: str) -> Iterator[dict[str, object]]:
    """The rows of a file by column; an empty one where a line cannot be read."""
    delimiter, content = DELIMITERS.get(os.path.splitext(path)[1]), read_text(name, path)
    if delimiter:
        try:
            yield from csv.DictReader(io.StringIO(content, newline=''), delimiter=delimiter, strict=True)
        except csv.Error as error:
            raise bad_source(name, f'{path} is no table ({error})', 'mend its quotes, or name .jsonl files') from None
    else:
        yield from (json_record(line.encode()) for line in content.split('\n') if line.strip())


def check_columns(name: str, path: str, wanted: Sequence[str]) -> None:
    """Raises UsageError, with the file's columns, unless its first row that can be read has those wanted."""
    found = next((row for row in read_rows(name, path) if row), {})
    if not found:
        raise bad_source(name, f'{path} has no rows', 'write one JSON object a line, or a table with a header')
    for column in wanted:
        if column not in found:
            have = ', '.join(str(key) for key in found)
            raise bad_source(name, f'{path} has no column {column!r}', f'it has {have}; put two of them after #')


def label_of(value: object) -> str | None:
    """A label's name; None where it is none."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    return value if isinstance(value, str) else None


def classes_of(documents: Iterable[str]) -> tuple[str, ...]:
    """The labels of documents in order, numbers by their size. Raises UsageError where there is nothing to tell apart."""
    names = {split_pair(document)[1] for document in documents}
    if len(names) < 2:
        raise UsageError(f'data.source: all texts to train on have the label {", ".join(names)!r}; give texts of two classes')
    return tuple(sorted(names, key=lambda name: (0, int(name), name) if name.lstrip('-').isdecimal() else (1, 0, name)))


def part_labels(documents: Sequence[str], classes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Texts, and the number of each one's class, int32. Raises UsageError for labels that are no class."""
    texts, labels = zip(*map(split_pair, documents), strict=True)
    numbers = {name: number for number, name in enumerate(classes)}
    if strange := Counter(label for label in labels if label not in numbers):
        told = ', '.join(f'{label!r} ({count} texts)' for label, count in strange.most_common(SHOWN))
        remedy = f'training saw {", ".join(map(repr, classes[:SHOWN]))}; remove those texts or train on the label'
        raise UsageError(f'label={told}: was never seen in training; {remedy}')
    return list(texts), np.array([numbers[label] for label in labels], np.int32)


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Of each class, inverse to how often it occurs and 1 on average over texts (King and Zeng 2001)."""
    return tuple((len(labels) / (classes * np.bincount(labels, minlength=classes))).tolist())


def describe_split(data: DataConfig, counts: Mapping[str, int]) -> str:
    """A line on which texts validate, where nobody said; empty where somebody did, or where texts have no labels."""
    if data.valid_source or not is_labelled(data.source):
        return ''
    valid, every = counts['valid_documents'], round(1 / data.valid_fraction)
    total = valid + counts['train_documents']
    return f'no data.valid_source: every {every}th of the texts validates, {valid:,} of {total:,}'


def describe_cut(stores: dict[str, TokenStore], seq_len: int) -> str:
    """A line on the texts with labels that are longer than a row, by split; empty where there are none."""
    said, longest = [], 0
    for name, store in stores.items():
        lengths = np.diff(store.doc_offsets) - (store.separator_id is not None)
        count = int((lengths > seq_len).sum())
        if store.labels is not None and count:
            said.append(f'{count:,} of the {len(lengths):,} {name} texts')
            longest = max(longest, int(lengths.max()))
    return f'data.seq_len={seq_len} cuts {" and ".join(said)}; with {longest} every one is read whole' if said else ''
