"""The table of what is told of a text: from labels as they are written to numbers beside the tokens in a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax.config import UsageError
from lmjax.data.chats import encode_chats, plain_text
from lmjax.data.config import DataConfig
from lmjax.data.frames import medium_of
from lmjax.data.infilling import encode_middles, plain_sides
from lmjax.data.labelled import split_label
from lmjax.data.matches import encode_matches
from lmjax.data.parallel_text import SIGN
from lmjax.data.passages import NOT_THERE, encode_answers, problem_of
from lmjax.data.preferences import encode_preferred, plain_parts
from lmjax.data.sources import Source, columns_of, is_two, label_kind
from lmjax.data.store import TokenStore
from lmjax.data.words import encode_tagged

SHOWN = 5  # names in a line


class Labels(NamedTuple):
    """A kind of what is told of a text."""

    written: str  # a source that has it
    names: Callable[[str], list[str]] = lambda label: []  # the names of classes in a label as it is written
    order: Callable[[set[str]], tuple[str, ...]] = lambda found: ()  # those of the training text -> the classes
    # labels as they are written, and the names -> numbers
    parse: Callable[[Sequence[str], Sequence[str]], Any] = lambda written, classes: list(written)
    encode: Callable[..., tuple[Any, Any]] | None = None  # texts, numbers, tokenizer -> ids, what is told of each
    plain: Callable[[str], str] = lambda text: text.replace(SIGN, '\n')  # what of a document's text a person reads
    fitted: tuple[str, ...] = ()  # fields of DataConfig by which texts are made to fit a row, which `encode` takes by name
    framed: bool = False  # labels are files, whose frames stand before the text
    bounded: bool = False  # texts say themselves where they begin and end, so that no separator stands between them
    packs: bool = False  # many may share a row


class UnseenLabelError(UsageError):
    """A label that training never saw, or that cannot be."""

    def __init__(self, message: str, label: str) -> None:
        super().__init__(message)
        self.label = label


def classes_of(source: Source, documents: Iterable[str]) -> tuple[str, ...]:
    """The classes in the labels of a source's documents. Raises UsageError where there is nothing to tell apart."""
    row = LABELS[source.labels]
    return row.order({name for document in documents for name in row.names(split_label(document)[1])})


def part_labels(source: Source, documents: Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[str], Any]:
    """The texts of a source's documents, their labels as they are written, and in numbers.

    Raises UsageError for a label that is none of the classes, with the file and line of the first.
    """
    row = LABELS[source.labels]
    texts, written = map(list, zip(*map(split_label, documents), strict=True))
    try:
        return texts, written, row.parse(written, classes)
    except UnseenLabelError as error:
        label = error.label
        place = source.find(lambda document: label in row.names(split_label(document)[1]))
        raise UsageError(f'{error} (first seen at {place})' if place else str(error)) from None


UNSEEN = ('refuse', 'leave_out')  # what data.unseen_labels may be


def told_apart(source: Source, documents: Sequence[str], classes: Sequence[str], data: DataConfig) -> tuple[list[str], int]:
    """The documents of a source whose labels are among the classes, and how many are not, if these may be left out."""
    if data.unseen_labels != 'leave_out':
        return list(documents), 0
    names, known = LABELS[source.labels].names, set(classes)
    kept = [document for document in documents if known.issuperset(names(split_label(document)[1]))]
    if not kept:
        raise UsageError(f'data.source={source.name!r}: all labels are unseen in training; give texts with some of its labels')
    return kept, len(documents) - len(kept)


def describe_unseen(counts: Mapping[str, int]) -> str:
    """A line on the held-out texts that are left out for their labels; empty where there are none."""
    count = counts.get('dropped_unseen_label', 0)
    return f'{count:,} held-out texts are left out: training never saw their labels' if count else ''


def parse_classes(written: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The number of each text's class, N int32."""
    return numbered(written, classes, unit='texts')


def parse_sets(written: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Which classes each text has, N x classes float32 of 0 and 1."""
    sets = [LABELS['classes'].names(label) for label in written]
    labels_NxC = np.zeros((len(sets), len(classes)), np.float32)
    rows = np.repeat(np.arange(len(sets)), [len(names) for names in sets])
    labels_NxC[rows, numbered([name for names in sets for name in names], classes, unit='texts')] = 1.0
    return labels_NxC


def parse_numbers(written: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """N float32."""
    return np.array([float(label) for label in written], np.float32)


def parse_tags(written: Sequence[str], classes: Sequence[str]) -> list[np.ndarray]:
    """The number of each word's tag, an array of int32 for each text."""
    rows = [LABELS['tags'].names(label) for label in written]
    numbers = numbered([tag for row in rows for tag in row], classes, unit='words')
    return np.split(numbers, np.cumsum([len(row) for row in rows])[:-1])


def numbered(names: Sequence[str], classes: Sequence[str], *, unit: str) -> np.ndarray:
    """The place of each name among the classes, int32. Raises UsageError for names that are none."""
    places = {name: number for number, name in enumerate(classes)}
    if strange := Counter(name for name in names if name not in places):
        told = ', '.join(f'{name!r} ({count} {unit})' for name, count in strange.most_common(SHOWN))
        shown = ', '.join(map(repr, classes[:SHOWN]))
        remedy = f'training saw {shown}; remove those {unit}, or leave their texts out with data.unseen_labels=leave_out'
        raise UnseenLabelError(f'label={told}: was never seen in training; {remedy}', strange.most_common(1)[0][0])
    return np.array([places[name] for name in names], np.int32)


def ends_of(label: str) -> list[str]:
    """The tail and the head of a triple."""
    told = json.loads(label)
    return [told['tail'], told['head']]


def parse_tails(written: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The number of each query's tail and then those of the others that are right, N x K int32, -1 where there are no more."""
    told, places = [json.loads(label) for label in written], {name: i for i, name in enumerate(classes)}
    others = [[places[name] for name in one['others'] if name in places] for one in told]
    tails_NxK = np.full((len(told), 1 + max(map(len, others), default=0)), -1, np.int32)
    tails_NxK[:, 0] = numbered([one['tail'] for one in told], classes, unit='queries')
    for row, more in enumerate(others):
        tails_NxK[row, 1 : 1 + len(more)] = more
    return tails_NxK


def parse_answers(written: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The labels as they are. Raises UnseenLabelError where an answer is not in its text."""
    for label in written:
        if problem_of(label):
            remedy = 'mend its row, or leave it out with data.unseen_labels=leave_out'
            raise UnseenLabelError(f'answer={json.loads(label)["text"]!r}: is not in its text; {remedy}', NOT_THERE)
    return list(written)


def ordered(found: set[str]) -> tuple[str, ...]:
    """Names in order, numbers by their size. Raises UsageError where there is nothing to tell apart."""
    if len(found) < 2:
        named = ', '.join(found) if found else ''
        raise UsageError(f'data.source: all texts to train on have the label {named!r}; give texts of two classes')
    return tuple(sorted(found, key=lambda name: (0, int(name), name) if name.lstrip('-').isdecimal() else (1, 0, name)))


def at_least_one(found: set[str]) -> tuple[str, ...]:
    """Names in order. Raises UsageError where there is none."""
    if not found:
        raise UsageError('data.source: no text to train on has a class; give labels in the column')
    return tuple(sorted(found))


LABELS = {
    'class': Labels('labelled:GLOB#TEXT,LABEL', lambda label: [label], ordered, parse_classes),
    'classes': Labels('multilabelled:GLOB#TEXT,LABELS', json.loads, at_least_one, parse_sets),
    'number': Labels('scored:GLOB#TEXT,SCORE', parse=parse_numbers),
    'language': Labels(
        'languages:NAME=SOURCE;NAME=SOURCE', lambda label: [label], at_least_one, parse_classes, fitted=('balance',)
    ),
    'tags': Labels('tagged:GLOB#WORDS,TAGS', lambda label: label.split(' '), ordered, parse_tags, encode=encode_tagged),
    'said': Labels(
        'chats:GLOB#MESSAGES',
        encode=encode_chats,
        plain=plain_text,
        bounded=True,
        packs=True,
    ),
    'tail': Labels('triples:GLOB', ends_of, ordered, parse_tails),
    'caption': Labels(
        'pictures:GLOB#PICTURE,CAPTION or sounds:GLOB#SOUND,TRANSCRIPT',
        framed=True,
        bounded=True,
    ),
    'span': Labels(
        'answers:GLOB#QUESTION,TEXT,ANSWER',
        names=problem_of,
        parse=parse_answers,
        encode=encode_answers,
        fitted=('seq_len', 'stride'),
    ),
    'middle': Labels(
        'infill:GLOB#PREFIX,SUFFIX,MIDDLE',
        encode=encode_middles,
        plain=plain_sides,
        fitted=('seq_len',),
        bounded=True,
        packs=True,
    ),
    'preferred': Labels(
        'preferred:GLOB#PROMPT,CHOSEN,REJECTED',
        encode=encode_preferred,
        plain=plain_parts,
        fitted=('seq_len',),
        bounded=True,
    ),
    'match': Labels(
        'matched:GLOB#TEXT,MATCH',
        encode=encode_matches,
    ),
}


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Of each class, inverse to how often it occurs and 1 on average over texts (King and Zeng 2001)."""
    return tuple((len(labels) / (classes * np.bincount(labels, minlength=classes))).tolist())


def describe_split(data: DataConfig, counts: Mapping[str, int]) -> str:
    """A line on which texts validate, where nobody said; empty where somebody did, or where texts have no labels."""
    if data.valid_source or not label_kind(data.source):
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
        if store.labelled and count:
            said.append(f'{count:,} of the {len(lengths):,} {name} texts')
            longest = max(longest, int(lengths.max()))
    return f'data.seq_len={seq_len} cuts {" and ".join(said)}; with {longest} every one is read whole' if said else ''


def plain_labels(data: DataConfig, texts: int, *, classes: int) -> dict[str, Any]:
    """What `memory_store` takes for so many texts of data.seq_len + 2 tokens about which nothing is known."""
    kind, width = label_kind(data.source), data.seq_len + 2
    of_rows: dict[str, Callable[[], np.ndarray]] = {
        **dict.fromkeys(('class', 'language'), lambda: np.zeros(texts, np.int32)),
        'classes': lambda: np.zeros((texts, classes), np.float32),
        'number': lambda: np.zeros(texts, np.float32),
        'tail': lambda: np.zeros((texts, 1), np.int32),
    }
    of_tokens: dict[str, Callable[[], np.ndarray]] = {
        **dict.fromkeys(('tags', 'said', 'middle', 'span'), lambda: np.zeros(width, np.int32)),
        'match': lambda: np.minimum(np.arange(width), columns_of(data.source) - 1),
        'preferred': lambda: np.arange(width) * 4 // width,
    }
    if kind == 'caption':
        return {'frames': np.zeros((texts, *medium_of(data.source).shape(data)), np.float32)}
    labels = {'labels': of_rows[kind]()} if kind in of_rows else {}
    tags = {'tags': [of_tokens[kind]()] * texts} if kind in of_tokens else {}
    return {**labels, **tags, 'two': is_two(data.source)}
