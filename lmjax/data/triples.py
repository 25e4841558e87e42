"""Triples of a graph as queries: a head and a relation, of which the tail is to be told; and which other tails are right."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.parallel_text import SIGN
from lmjax.data.sources import Source, bad_source, digest_files, matching_files, read_text
from lmjax.data.tokenizers import Tokenizer
from lmjax.data.words import as_word

INVERSE = '\u207b\u00b9'  # behind a relation: the same from the tail to the head


class Triple(NamedTuple):
    """A line of a file; names are words."""

    head: str
    relation: str
    tail: str
    place: str  # 'FILE:LINE'


def open_triples(name: str, argument: str) -> Source:
    """Files of `head<TAB>relation<TAB>tail` a line, each asked both ways (Lacroix et al. 2018, section 3: reciprocals).

    `GLOB#KNOWN` names other files of the same graph: tails that they, or the files themselves, have for the same head and
    relation are right as well, and no wrong answers where a tail is ranked (Bordes et al. 2013, section 4.2: filtered).

    Raises:
      UsageError: no such file, or a line that is no triple.
    """
    pattern, at, others = argument.partition('#')
    paths = matching_files(name, pattern)
    known = sorted({*paths, *matching_files(name, others)}) if at else []
    asked = {path: [one for found in read_triples(name, path) for one in both_ways(found)] for path in {*paths, *known}}

    def placed() -> Iterator[tuple[str, str]]:
        right: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for triple in (one for path in known for one in asked[path]):
            right[triple.head, triple.relation][triple.tail] = None
        for triple in (one for path in paths for one in asked[path]):
            more = [tail for tail in right.get((triple.head, triple.relation), ()) if tail != triple.tail]
            told = {'tail': triple.tail, 'head': triple.head, 'others': more}
            yield f'{triple.head} {triple.relation}{SIGN}{json.dumps(told, ensure_ascii=False)}', triple.place

    def find(is_wanted: Callable[[str], bool]) -> str:
        return next((place for document, place in placed() if is_wanted(document)), '')

    digest = hashlib.sha256(f'tails {digest_files(name, paths)} {digest_files(name, known)}'.encode()).hexdigest()
    provenance = f'{len(paths)} files of triples, both ways' + (f', other right tails in {len(known)}' if at else '')
    return Source(name, lambda: (d for d, _ in placed()), digest, provenance, interleaved=True, labels='tail', find=find)


def read_triples(name: str, path: str) -> Iterator[Triple]:
    """The triples of a file. Raises UsageError, with its line, for what is none."""
    for number, line in enumerate(read_text(name, path).split('\n'), start=1):
        cells = line.rstrip('\r').split('\t')
        if cells == ['']:
            continue
        if len(cells) != 3 or not all(cell.strip() for cell in cells):
            raise bad_source(name, f'{path}:{number} is no triple', 'write HEAD<TAB>RELATION<TAB>TAIL, or remove the line')
        head, relation, tail = map(as_word, cells)
        yield Triple(head, relation, tail, f'{path}:{number}')


def both_ways(triple: Triple) -> tuple[Triple, Triple]:
    return triple, Triple(triple.tail, triple.relation + INVERSE, triple.head, triple.place)


def tokens_of(names: Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
    """The token of each name, int32. Raises UsageError where one has none of its own."""
    rows = [tokenizer.encode(name) for name in names]
    for row, name in zip(rows, names, strict=True):
        if len(row) != 1 or row[0] == tokenizer.unknown_id:
            remedy = "set data.tokenizer='word', data.vocab_size=0 and data.lowercase=false"
            raise UsageError(f'name={name!r}: has no token of its own; {remedy}')
    return np.array([row[0] for row in rows], np.int32)


def query_of(text: str, tokenizer: Tokenizer) -> np.ndarray:
    """The two tokens of HEAD<TAB>RELATION, or of two words. Raises UsageError for another text, or a name that is unknown."""
    parts = [as_word(part) for part in text.split(SIGN)] if SIGN in text else text.split()
    require(len(parts) == 2, 'text', text, 'a graph is asked for the tail of HEAD<TAB>RELATION')
    for part in parts:
        require(tokenizer.encode(part)[0] != tokenizer.unknown_id, 'text', text, f'training never saw {part!r}; ask of others')
    return np.concatenate([tokenizer.encode(part) for part in parts]).astype(np.int32)
