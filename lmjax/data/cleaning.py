"""What is done to documents before they are tokenised, with counts of all that was kept, dropped or changed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from lmjax.config import UsageError, require
from lmjax.data.config import DataConfig
from lmjax.data.parallel_text import SIGN

NORMAL_FORMS = ('NFC', 'NFD', 'NFKC', 'NFKD')
CONTROL = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]')
SURROGATES = re.compile('[\ud800-\udfff]')  # halves of a pair, which JSON can spell but UTF-8 cannot


def validate_cleaning(data: DataConfig) -> None:
    """Raises UsageError for values that make no sense, before anything is read."""
    if data.normal_form and data.normal_form not in NORMAL_FORMS:
        raise UsageError(f'data.normal_form={data.normal_form!r}: no such form; choose one of: {", ".join(NORMAL_FORMS)}')
    for name in ('min_chars', 'max_chars', 'max_documents'):
        require(getattr(data, name) >= 0, f'data.{name}', getattr(data, name), 'use 0 for no limit, or a positive number')
    if data.max_chars:
        require(
            data.min_chars <= data.max_chars, 'data.min_chars', data.min_chars, f'must not exceed max_chars={data.max_chars}'
        )


def edits(data: DataConfig) -> list[tuple[str, Callable[[str], str]]]:
    """(name of the count, edit) in the order in which they are applied."""
    chosen: list[tuple[str, Callable[[str], str]]] = [('surrogates', lambda text: SURROGATES.sub('\ufffd', text))]
    if data.normal_form:
        form = data.normal_form
        chosen.append(('normal_form', lambda text: unicodedata.normalize(form, text)))  # type: ignore[arg-type]
    if data.strip_control:
        chosen.append(('control', lambda text: CONTROL.sub('', text)))
    if data.lowercase:
        chosen.append(('lowercase', str.lower))
    return chosen


def edited(text: str, data: DataConfig) -> str:
    """A text as `clean` leaves it."""
    for _, edit in edits(data):
        text = edit(text)
    return text


def clean(documents: Iterable[str | None], data: DataConfig, counts: Counter[str], *, labelled: bool = False) -> Iterator[str]:
    """Documents that stay, as they will be tokenised; adds to `counts`: read, kept, dropped_*, changed_*.

    With `labelled` what follows the last tab is a label, which stays as it is.
    """
    steps = edits(data)
    seen: set[bytes] = set()
    for number, text in enumerate(documents):
        if data.max_documents and number >= data.max_documents:
            break
        counts['read'] += 1
        if text is None:
            counts['dropped_unreadable'] += 1
            continue
        text, sign, label = text.rpartition(SIGN) if labelled else (text, '', '')
        for name, edit in steps:
            edited = edit(text)
            counts[f'changed_{name}'] += edited != text
            text = edited
        whole = text + sign + label
        reason = reason_to_drop(text, whole, data, seen)
        counts[f'dropped_{reason}' if reason else 'kept'] += 1
        if not reason:
            yield whole


def describe_unreadable(counts: Mapping[str, int]) -> str:
    """A line on the records that could not be read; empty where there are none."""
    count = counts.get('dropped_unreadable', 0)
    return f'{count:,} of {counts["read"]:,} records are left out: they lack a field, or cannot be read' if count else ''


def reason_to_drop(text: str, whole: str, data: DataConfig, seen: set[bytes]) -> str:
    """Why a document of this text goes, or an empty string; remembers the digests of those that it saw whole."""
    if not text:
        return 'empty'
    if len(text) < data.min_chars:
        return 'short'
    if data.max_chars and len(text) > data.max_chars:
        return 'long'
    if data.deduplicate:
        digest = hashlib.blake2b(whole.encode(), digest_size=16).digest()
        if digest in seen:
            return 'repeat'
        seen.add(digest)
    return ''
