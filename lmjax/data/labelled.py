"""Sources of texts with something to be told of each: documents are `text<TAB>label` until they are encoded.

What the label is (a row of LABELS) follows from the source: a class, several classes or none, a number, or a tag of each word.
"""

from __future__ import annotations

import json
import math

from lmjax.data.chats import open_chats
from lmjax.data.infilling import open_infill
from lmjax.data.parallel_text import SIGN
from lmjax.data.passages import label_of
from lmjax.data.preferences import open_preferred
from lmjax.data.rows import is_conll, open_rows
from lmjax.data.sources import Source, bad_source
from lmjax.data.triples import open_triples
from lmjax.data.words import as_word

BETWEEN = '|'  # classes of a text in a cell of a table
MOST = 9  # texts of a row of those that belong together


def open_labelled(name: str, argument: str) -> Source:
    """Rows with a text and its class: a string, or a whole number or true or false of JSON."""

    def document(texts: list[object], label: object, place: str) -> str | None:
        return join_label(texts, written_class(label))

    return open_rows(name, argument, kind='class', default='text,label', document=document)


def open_multilabelled(name: str, argument: str) -> Source:
    """Rows with a text and its classes, none or many: a list of JSON, or `one|two` in a table."""

    def document(texts: list[object], labels: object, place: str) -> str | None:
        found = labels.split(BETWEEN) if isinstance(labels, str) else labels
        if not isinstance(found, list):
            return None
        names = [written_class(label) for label in found if label != '']
        known = [name for name in names if name is not None]
        return join_label(texts, json.dumps(known, ensure_ascii=False)) if len(known) == len(names) else None

    return open_rows(name, argument, kind='classes', default='text,labels', document=document)


def open_scored(name: str, argument: str) -> Source:
    """Rows with a text and a number."""

    def document(texts: list[object], score: object, place: str) -> str | None:
        number = as_number(score)
        return None if number is None else join_label(texts, repr(number))

    return open_rows(name, argument, kind='number', default='text,score', document=document)


def open_tagged(name: str, argument: str) -> Source:
    """Rows with the words of a sentence and a tag of each: lists of JSON, cells of words parted by spaces, or CoNLL's columns.

    Raises UsageError for a row whose words and tags are not as many; white space within a word becomes U+2423.
    """

    def document(words: list[object], tags: object, place: str) -> str | None:
        sides = [strings(side) for side in (*words, tags)]
        if not all(sides):
            return None
        if len(sides[0]) != len(sides[1]):
            what = f'{place}: {len(sides[0])} words and {len(sides[1])} tags'
            raise bad_source(name, what, 'give each word one tag, or remove the row')
        return SIGN.join(' '.join(map(as_word, side)) for side in sides)

    default = 'form,upos' if '.conllu' in argument else '1,-1' if is_conll(argument) else 'tokens,tags'
    return open_rows(name, argument, kind='tags', default=default, document=document, texts=(1,))


def open_answers(name: str, argument: str) -> Source:
    """Rows with a question, a text, and the answer, which stands in the text, or is empty."""

    def document(texts: list[object], answer: object, place: str) -> str | None:
        plain = join_label(texts, 'x')
        label = plain and label_of(answer, plain.split(SIGN)[1])
        return join_label(texts, label) if label else None

    return open_rows(name, argument, kind='span', default='question,context,answer', document=document, texts=(2,))


def open_matched(name: str, argument: str) -> Source:
    """Rows with a text, one that belongs to it, and any number that do not (hard negatives), in columns in this order."""

    def document(texts: list[object], label: object, place: str) -> str | None:
        return join_label(texts, 'match')

    counts = tuple(range(2, MOST + 1))
    return open_rows(name, argument, kind='match', default='text,match', document=document, texts=counts, has_label=False)


def join_label(texts: list[object], label: str | None) -> str | None:
    """The document of a text, or of two, and a label; a list of strings is a line each. None where one of them is none."""
    lines = ('\n'.join(text) if isinstance(text, list) and strings(text) else text for text in texts)
    parts = [part.replace(SIGN, ' ') if isinstance(part, str) and part.strip() else None for part in (*lines, label)]
    known = [part for part in parts if part is not None]
    return SIGN.join(known) if len(known) == len(parts) else None


def strings(value: object) -> list[str]:
    """The strings of a list, or those that spaces part; none where one of them is no string, or empty."""
    parts = value.split() if isinstance(value, str) else value
    return parts if isinstance(parts, list) and all(isinstance(part, str) and part for part in parts) else []


def written_class(value: object) -> str | None:
    """A label's name; None where it is none."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    return value if isinstance(value, str) else None


def as_number(value: object) -> float | None:
    """A finite number, of JSON or as it is written; None where it is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def split_label(document: str) -> tuple[str, str]:
    """The text of a document, FIRST<TAB>SECOND where it is two, and its label as it is written."""
    text, _, label = document.rpartition(SIGN)
    return text, label


# by label
OPENERS = {
    'class': open_labelled,
    'classes': open_multilabelled,
    'number': open_scored,
    'tags': open_tagged,
    'said': open_chats,
    'middle': open_infill,
    'preferred': open_preferred,
    'match': open_matched,
    'span': open_answers,
    'tail': open_triples,
}
