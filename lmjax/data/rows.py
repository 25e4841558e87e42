"""Rows of files by column, for texts with labels: JSON lines, tables with a header, and CoNLL's columns."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from lmjax.data.columnar import array_records, arrow_records, described_by, files_of_folder, parquet_records
from lmjax.data.sources import (
    Share,
    Source,
    bad_source,
    digest_files,
    is_two,
    json_record,
    matching_files,
    parse_columns,
    read_text,
)

DELIMITERS = {'.csv': ',', '.tsv': '\t'}
CONLL = ('.conll', '.conllu', '.iob', '.bio')
CONLLU = ('id', 'form', 'lemma', 'upos', 'xpos', 'feats', 'head', 'deprel', 'deps', 'misc')


class Row(NamedTuple):
    """What a file has in each column, and where; empty where it cannot be read."""

    values: dict[str, object]
    place: str  # 'FILE:LINE'


def open_rows(
    name: str,
    argument: str,
    *,
    kind: str,
    default: str,
    document: Callable[[list[object], object, str], str | None],
    texts: tuple[int, ...] = (1, 2),
    has_label: bool = True,
) -> Source:
    """A source of `GLOB#TEXT,LABEL@FIRST-LAST/OF`, whose documents are `document(texts, label, place)` of the rows chosen.

    After `#` stand the columns (else those of `default`) of as many texts as `texts` permits (two are read as one) and then of
    the label, if there is one; after `@` which rows: `2-9/10` those whose number modulo 10 is 2 to 9, `0/10` every tenth.

    Raises:
      UsageError: no such file or column, or a share that says no rows.
    """
    pattern, names, chosen, written = parse_columns(name, argument, default=default)
    counts = [count + has_label for count in texts]
    if len(names) not in counts or not all(names):
        more = ', or two texts and a label' if has_label and len(counts) > 1 else ''
        wanted = 'two columns' if counts[0] == 2 else 'a column'
        raise bad_source(name, f'{",".join(names)!r} does not name {wanted}', f'put {default.upper()} after #{more}')
    shown, label = (names[:-1], names[-1]) if has_label else (names, '')
    paths = row_files(name, pattern)
    for path in paths:
        check_columns(name, path, names)

    def placed() -> Iterator[tuple[str | None, str]]:
        for row in chosen_rows(name, paths, chosen):
            yield document([row.values.get(text) for text in shown], row.values.get(label), row.place), row.place

    def find(is_wanted: Callable[[str], bool]) -> str:
        return next((place for found, place in placed() if found is not None and is_wanted(found)), '')

    content = digest_files(name, [*paths, *described_by(paths)])
    digest = hashlib.sha256(f'{content} {kind} {names} {chosen}'.encode()).hexdigest()
    provenance = f'{len(paths)} files of texts, columns {", ".join(names)}' + (f', rows {written[1:]}' if written else '')
    how = {'interleaved': True, 'labels': kind, 'two': is_two(name), 'find': find}
    return Source(name, lambda: (found for found, _ in placed()), digest, provenance, **how)  # type: ignore[arg-type]


def chosen_rows(name: str, paths: Sequence[str], share: Share) -> Iterator[Row]:
    """The rows of all files that a share says, counted through."""
    rows = (row for path in paths for row in read_rows(name, path))
    return (row for number, row in enumerate(rows) if number in share)


def read_rows(name: str, path: str) -> Iterator[Row]:
    """The rows of a file, by its ending: JSON lines unless it is another of READERS."""
    return READERS.get(ending_of(path), json_rows)(name, path)


def ending_of(path: str) -> str:
    """The ending of a file's name, without the number of a shard."""
    return os.path.splitext(path)[1].partition('-')[0]


def row_files(name: str, pattern: str) -> list[str]:
    """The files of a pattern, or of a folder that `datasets` saved."""
    folder = os.path.expanduser(pattern)
    return (files_of_folder(name, folder) if os.path.isdir(folder) else []) or matching_files(name, pattern)


def json_rows(name: str, path: str) -> Iterator[Row]:
    lines = enumerate(read_text(name, path).split('\n'), start=1)
    return (Row(json_record(line.encode()), f'{path}:{number}') for number, line in lines if line.strip())


def table_rows(name: str, path: str) -> Iterator[Row]:
    content, delimiter = io.StringIO(read_text(name, path), newline=''), DELIMITERS[ending_of(path)]
    table = csv.DictReader(content, delimiter=delimiter, strict=True)
    try:
        yield from (Row(row, f'{path}:{table.line_num}') for row in table)
    except csv.Error as error:
        raise bad_source(name, f'{path} is no table ({error})', 'mend its quotes, or name .jsonl files') from None


def conll_rows(name: str, path: str) -> Iterator[Row]:
    """The sentences of a file of a word a line, with an empty line between them; each column is a list.

    Columns are named by their number from 1 and from the end (-1), in .conllu by name too. Comments, -DOCSTART-, and the lines
    of CoNLL-U that are no words (1-2, 1.1) are left out (Buchholz and Marsi 2006; Nivre et al. 2020).
    """
    united, begun, words = path.endswith('.conllu'), 0, []
    for number, line in enumerate([*read_text(name, path).split('\n'), ''], start=1):
        cells = line.rstrip('\r').split('\t' if united else None)
        if any(cells):
            if not (line.startswith('-DOCSTART-') or (united and (line.startswith('#') or not cells[0].isdigit()))):
                begun = begun or number
                words.append(cells)
        elif words:
            yield Row(columns_of(words, CONLLU if united else ()), f'{path}:{begun}')
            begun, words = 0, []


def numbered_rows(records: Callable[[str, str], Iterator[dict[str, object]]], name: str, path: str) -> Iterator[Row]:
    return (Row(record, f'{path}:{number}') for number, record in enumerate(records(name, path), start=1))


# ending -> (name of the source, path) -> its rows
READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    **dict.fromkeys(DELIMITERS, table_rows),
    **dict.fromkeys(CONLL, conll_rows),
    '.parquet': partial(numbered_rows, parquet_records),
    '.arrow': partial(numbered_rows, arrow_records),
    '.array_record': partial(numbered_rows, array_records),
}


def is_conll(argument: str) -> bool:
    """Whether a source's argument names files of CoNLL's columns."""
    return os.path.splitext(argument.partition('#')[0].partition('@')[0])[1] in CONLL


def columns_of(words: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, object]:
    """The columns of a sentence; none where its lines differ in how many they have."""
    widths = {len(cells) for cells in words}
    if len(widths) > 1:
        return {}
    columns, width = [list(column) for column in zip(*words, strict=True)], widths.pop()
    numbered = {str(i + 1): column for i, column in enumerate(columns)}
    return numbered | {str(i - width): column for i, column in enumerate(columns)} | dict(zip(names, columns, strict=False))


def check_columns(name: str, path: str, wanted: Sequence[str]) -> None:
    """Raises UsageError, with the file's columns, unless its first row that can be read has those wanted."""
    found = next((row.values for row in read_rows(name, path) if row.values), {})
    if not found:
        raise bad_source(name, f'{path} has no rows', 'write one JSON object a line, or a table with a header')
    for column in wanted:
        if column not in found:
            have = ', '.join(str(key) for key in found)
            raise bad_source(name, f'{path} has no column {column!r}', f'it has {have}; put two of them after #')
