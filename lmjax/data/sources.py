"""Where text comes from: `data.source` is the name of a row of SOURCES, then `:` and its argument.

A source is opened once, which checks that it can be read and digests its content, and may then be read any number of
times, always in the same order.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lmjax.config import UsageError, choose, require
from lmjax.data import synthetic
from lmjax.data.parallel_text import SIGN, join_pair

STDLIB_SKIPPED = frozenset({'test', 'tests', 'idlelib', 'site-packages', 'dist-packages', '__pycache__'})

# kind -> row of LABELS
LABELLED = {
    'labelled': 'class',
    'multilabelled': 'classes',
    'scored': 'number',
    'tagged': 'tags',
    'chats': 'said',
    'infill': 'middle',
    'preferred': 'preferred',
    'languages': 'language',
    'matched': 'match',
    'triples': 'tail',
    'answers': 'span',
    'pictures': 'caption',
    'sounds': 'caption',
}
FRAMED = ('pictures', 'sounds')  # of these, where frames of a file stand before the text


class Share(NamedTuple):
    """The rows whose number, counted from 0 over all files, is first .. last modulo `of`; or, `without` them, all others."""

    first: int = 0
    last: int = 0
    of: int = 1
    without: bool = False

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and (self.first <= row % self.of <= self.last) != self.without


class Source(NamedTuple):
    """Documents in a fixed order; None stands for a record that could not be read (cleaning counts it)."""

    name: str  # as in data.source
    documents: Callable[[], Iterator[str | None]]
    digest: str  # SHA-256 of the content
    provenance: str  # one line for people
    interleaved: bool = False  # validation takes every tenth document rather than the last tenth
    paired: bool = False  # documents are `source<TAB>target`
    labels: str = ''  # a row of LABELS: documents are `text<TAB>label`; empty: they have none
    two: bool = False  # those texts are two in one, `first<TAB>second`
    find: Callable[[Callable[[str], bool]], str] = lambda is_wanted: ''  # FILE:LINE of the first document that is wanted


def open_source(name: str) -> Source:
    """The source of `data.source=name`; raises UsageError when it is missing, empty or not text."""
    kind, _, argument = name.partition(':')
    return choose(SOURCES, kind, 'data.source')(name, argument)


def is_paired(name: str) -> bool:
    """Whether the documents of `data.source=name` are pairs."""
    kind, _, argument = name.partition(':')
    return kind in ('pairs', *synthetic.PAIRED) or (kind == 'jsonl' and ',' in argument.partition('#')[2])


def label_kind(name: str) -> str:
    """The row of LABELS that tells what labels the documents of `data.source=name` have; empty where they have none."""
    return LABELLED.get(name.partition(':')[0], '')


def is_two(name: str) -> bool:
    """Whether the texts with labels of `data.source=name` are two in one."""
    return label_kind(name) not in ('', 'match', 'tail', 'middle', 'preferred', 'language') and columns_of(name) == 3


def columns_of(name: str) -> int:
    """How many columns `data.source=name` names; where it leaves that to the default 2, or 3 of answers."""
    _, columns, _, _ = parse_columns(name, name.partition(':')[2])
    return len(columns) if any(columns) else 2 + (label_kind(name) == 'span')


def need_pairs(field: str, name: str, who: str) -> None:
    """Raises UsageError unless the documents of a source are pairs."""
    require(is_paired(name), field, name, f'{who} reads pairs; use pairs:GLOB, jsonl:GLOB#SOURCE_FIELD,TARGET_FIELD or reverse')


def bad_source(name: str, what: str, remedy: str) -> UsageError:
    return UsageError(f'data.source={name!r}: {what}; {remedy}')


def parse_columns(name: str, argument: str, *, default: str = '') -> tuple[str, list[str], Share, str]:
    """`GLOB#COLUMNS@SHARE` -> the pattern, the columns (else `default`'s), which rows, and how that is written, with its @.

    Raises UsageError for a share that says no rows.
    """
    pattern, named, columns = argument.partition('#')
    rest, at, share = (columns if named else pattern).partition('@')
    pattern, columns = (pattern, rest) if named else (rest, '')
    return pattern, (columns or default).split(','), parse_share(name, share) if at else Share(), at + share


def parse_share(name: str, written: str) -> Share:
    """Raises UsageError unless it is FIRST-LAST/OF or ONE/OF, or either after a `!`, for all other rows."""
    without = written.startswith('!')
    span, _, of = written.removeprefix('!').partition('/')
    first, _, last = span.partition('-')
    last = last or first
    if all(number.isdigit() for number in (first, last, of)):
        share = Share(int(first), int(last), int(of), without)
        if share.first <= share.last < share.of and any(row in share for row in range(share.of)):
            return share
    remedy = 'write FIRST-LAST/OF, as @2-9/10, or ONE/OF, as @0/10, or @!0/10 for the others'
    raise bad_source(name, f'@{written} says no rows', remedy)


def open_stdlib(name: str, argument: str) -> Source:
    """The running Python's library sources, sorted by path, then the topics of the language reference, sorted by title.

    Folders of tests (`test`, and `tests` inside packages), idlelib and installed packages are left out. The file that
    holds the reference as one Python literal is replaced by its topics, each a document of its own.
    """
    if argument:
        raise bad_source(name, 'stdlib takes no argument', 'use data.source=stdlib')
    root = sysconfig.get_path('stdlib')
    paths = [path for path in library_files(root) if path != os.path.join('pydoc_data', 'topics.py')]
    if not paths:
        raise bad_source(name, 'this Python has no library sources', 'use data.source=text:GLOB')

    def documents() -> Iterator[str]:
        for path in paths:
            yield read_bytes(os.path.join(root, path)).decode('utf-8-sig', 'replace')
        yield from reference_topics()

    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.encode() + b'\0' + hashlib.sha256(read_bytes(os.path.join(root, path))).digest())
    digest.update(json.dumps(reference_topics()).encode())
    provenance = f'standard library of Python {sys.version.split()[0]}: {len(paths)} files and the language reference'
    return Source(name, documents, digest.hexdigest(), provenance, interleaved=True)


def library_files(root: str) -> list[str]:
    """Relative paths of the library's .py files in sorted order."""
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in STDLIB_SKIPPED]
        found += [os.path.relpath(os.path.join(folder, file), root) for file in files if file.endswith('.py')]
    return sorted(found)


def reference_topics() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return []
    return [topics[title] for title in sorted(topics)]


def read_bytes(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read()


def matching_files(name: str, pattern: str) -> list[str]:
    """Files that match a glob (`**` goes into folders, `{a,b}` is a or b), sorted; at least one for each of its choices."""
    choices = re.fullmatch(r'(.*?)\{([^{}]*,[^{}]*)\}(.*)', pattern)
    if choices and not os.path.isfile(pattern):
        before, among, after = choices.groups()
        return sorted({path for one in among.split(',') for path in matching_files(name, before + one + after)})
    kind = name.partition(':')[0]
    if not pattern:
        raise bad_source(name, 'no files named', f"use data.source='{kind}:FOLDER/*.txt'")
    pattern = os.path.expanduser(pattern)
    paths = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
    files = sorted(path for path in paths if os.path.isfile(path))
    if not files and paths:
        raise bad_source(name, 'this is a folder', f"name its files: '{kind}:{os.path.join(pattern, '**', '*.txt')}'")
    if not files:
        raise bad_source(name, 'no file matches', f'check the path; it is relative to {os.getcwd()}')
    return files


def read_text(name: str, path: str) -> str:
    """The whole file, which must be UTF-8 (with or without a byte-order mark) and no binary."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise bad_source(name, f'{path}: {error.strerror}', 'make the file readable') from None
    if content[:2] in (b'\xff\xfe', b'\xfe\xff'):
        raise bad_source(name, f'{path} is UTF-16', f'convert it: iconv -f UTF-16 -t UTF-8 {path} > NEW')
    position = content.find(b'\0')
    if position >= 0:
        raise bad_source(name, f'{path} is binary (a zero byte at {position})', 'name text files only')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        what = f'{path} is not UTF-8 (byte {content[error.start]:#04x} at {error.start})'
        raise bad_source(name, what, f'convert it: iconv -f LATIN1 -t UTF-8 {path} > NEW, or remove it') from None


def digest_files(name: str, paths: list[str]) -> str:
    """SHA-256 over the contents in order; names do not matter, so a corpus may move."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, 'rb') as file:
                digest.update(hashlib.file_digest(file, 'sha256').digest())
        except OSError as error:
            raise bad_source(name, f'{path}: {error.strerror}', 'make the file readable') from None
    return digest.hexdigest()


def open_text(name: str, argument: str) -> Source:
    """Text files, each a document."""
    paths = matching_files(name, argument)
    if not any(map(os.path.getsize, paths)):
        raise bad_source(name, 'every file is empty', 'name files with text in them')

    def documents() -> Iterator[str]:
        return (read_text(name, path) for path in paths)

    return Source(name, documents, digest_files(name, paths), f'{len(paths)} text files')


def open_jsonl(name: str, argument: str) -> Source:
    """Files of one JSON object a line; the document is the string in `field` (after `#`, by default `text`).

    Two fields, as `#en,it`, are the source and the target of pairs. After them `@` says which rows, as `@2-9/10`.
    """
    pattern, fields, share, written = parse_columns(name, argument, default='text')
    if len(fields) > 2 or not all(fields):
        raise bad_source(
            name, f'{",".join(fields)!r} names neither a field nor two', 'put FIELD or SOURCE_FIELD,TARGET_FIELD after #'
        )
    from lmjax.data.rows import row_files

    paths = row_files(name, pattern)
    for one in fields:
        check_field(name, paths, one)

    def documents() -> Iterator[str | None]:
        rows = (record for path in paths for record in records_of(name, path))
        return (field_of(record, *fields) for number, record in enumerate(rows) if number in share)

    named = ','.join(fields) + (f' {share}' if written else '')
    digest = hashlib.sha256(f'{digest_files(name, paths)} {named}'.encode()).hexdigest()
    provenance = f'{len(paths)} JSON-lines files, field{"s" * (len(fields) - 1)} {",".join(fields) + written!r}'
    return Source(name, documents, digest, provenance, paired=len(fields) == 2)


def open_pairs(name: str, argument: str) -> Source:
    """Files of one `source<TAB>target` a line."""
    paths = matching_files(name, argument)
    check_pairs(name, paths)

    def documents() -> Iterator[str | None]:
        for path in paths:
            for line in text_lines(name, path):
                columns = line.split(SIGN)
                yield join_pair(*columns) if len(columns) == 2 else None

    digest = hashlib.sha256(f'{digest_files(name, paths)} pairs'.encode()).hexdigest()
    return Source(name, documents, digest, f'{len(paths)} files of pairs', paired=True)


def text_lines(name: str, path: str) -> list[str]:
    """The lines of a text file that are not empty."""
    lines = (line.removesuffix('\r') for line in read_text(name, path).split('\n'))
    return [line for line in lines if line.strip()]


def check_pairs(name: str, paths: list[str]) -> None:
    """Raises UsageError unless one of the first thousand lines of a file is a pair."""
    columns: set[int] = set()
    for path in paths:
        columns |= {line.count(SIGN) + 1 for line in text_lines(name, path)[:1000]}
        if 2 in columns:
            return
    if not columns:
        raise bad_source(name, 'every file is empty', 'write one SOURCE<TAB>TARGET a line')
    found = ' or '.join(map(str, sorted(columns)[:3]))
    remedy = 'two of more columns are kept by: cut -f1,2 OLD > NEW'
    raise bad_source(name, f'no line is SOURCE<TAB>TARGET (they have {found} columns)', remedy)


def records_of(name: str, path: str) -> Iterator[dict[str, object]]:
    """What a file has in each row: JSON lines, unless its ending is of another kind of table."""
    from lmjax.data.rows import READERS, ending_of

    if ending_of(path) in READERS:
        yield from (row.values for row in READERS[ending_of(path)](name, path))
        return
    with open(path, 'rb') as file:
        yield from (json_record(line) for line in file if line.strip())


def json_record(line: bytes) -> dict[str, object]:
    """The object on a line, or an empty one where the line is not a JSON object in UTF-8."""
    try:
        record = json.loads(line.decode('utf-8-sig'))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def field_of(record: Mapping[str, object], field: str, target: str = '') -> str | None:
    """The text in a field, or the pair of those in two."""
    if target:
        return join_pair(record.get(field), record.get(target))
    text = record.get(field)
    return text if isinstance(text, str) else None


def check_field(name: str, paths: list[str], field: str) -> None:
    """Raises UsageError unless one of the first thousand rows has the field as a string."""
    fields: dict[str, None] = {}
    for path in paths:
        for record in itertools.islice(records_of(name, path), 1000):
            if isinstance(record.get(field), str):
                return
            fields.update(dict.fromkeys(key for key, value in record.items() if isinstance(value, str)))
    if not fields:
        raise bad_source(name, 'no row is a JSON object with a string in it', 'write one object a line, as UTF-8')
    raise bad_source(name, f'no row has text in the field {field!r}', f'put one of {", ".join(fields)} after #')


def open_tfds(name: str, argument: str) -> Source:
    """A TensorFlow Datasets builder prepared as array_record; read without TensorFlow."""
    from lmjax.data import tfds_text

    return Source(name, *tfds_text.open_dataset(name, argument))


def open_labelled(name: str, argument: str) -> Source:
    """Texts with a label each, from rows of JSON or of a table."""
    from lmjax.data import labelled

    return labelled.OPENERS[label_kind(name)](name, argument)


def open_languages(name: str, argument: str) -> Source:
    """Texts of several languages, each from a source of its own."""
    from lmjax.data import languages

    return languages.open_languages(name, argument)


def open_framed(name: str, argument: str) -> Source:
    """Texts with a picture or a sound each, from rows that name its file."""
    from lmjax.data import frames

    return frames.open_framed(name, argument)


def open_synthetic(name: str, argument: str) -> Source:
    """Documents made by a rule from a seed, for ablations and tests; options after `:` as key=value,key=value."""
    kind = name.partition(':')[0]
    options = synthetic.parse_options(name, kind, argument)
    digest = hashlib.sha256(f'{synthetic.VERSION} {kind} {sorted(options.items())}'.encode()).hexdigest()
    settings = ', '.join(f'{key}={value}' for key, value in options.items())
    documents, provenance = lambda: synthetic.TASKS[kind](**options), f'synthetic {kind}: {settings}'
    return Source(name, documents, digest, provenance, paired=kind in synthetic.PAIRED)


SOURCES: dict[str, Callable[[str, str], Source]] = {
    'stdlib': open_stdlib,
    'text': open_text,
    'jsonl': open_jsonl,
    'tfds': open_tfds,
    **dict.fromkeys(synthetic.TASKS, open_synthetic),
    'pairs': open_pairs,
    **dict.fromkeys(LABELLED, open_labelled),
    **dict.fromkeys(FRAMED, open_framed),
    'languages': open_languages,
}
