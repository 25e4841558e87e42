"""Questions and texts in which their answers stand, read in windows: what each token is of, and where the answer is."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.parallel_text import SIGN, split_pair
from lmjax.data.store import OUTSIDE
from lmjax.data.tokenizers import Tokenizer

PIECES = re.compile(r'\w+|[^\w\s]')
OPEN, START, END = 0, 1, 2  # tags of tokens that may begin and end an answer, and bits of those that do
NOT_THERE = 'answer that is not in its text'


class Window(NamedTuple):
    """What is read at once."""

    ids: np.ndarray  # int32
    pieces: np.ndarray  # of each token the number of the piece of the text that it is of, -1 for others and where that is cut


def label_of(answer: object, text: str) -> str | None:
    """An answer as documents have it: where its characters begin, -1 where they are not in the text; None where it is none.

    It is a string, or as SQuAD writes it: `{"text": [...], "answer_start": [...]}`; empty: there is no answer.
    """
    start = -1
    if isinstance(answer, dict):
        texts, starts = answer.get('text'), answer.get('answer_start')
        if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
            return None
        answer, start = (texts[0], starts[0]) if texts else ('', -1)
    if not isinstance(answer, str):
        return None
    answer = answer.strip()
    told = {'text': answer, 'start': start if isinstance(start, int) else -1, 'there': not answer or answer in text}
    return json.dumps(told, ensure_ascii=False)


def problem_of(label: str) -> list[str]:
    """What is wrong with a label."""
    return [] if json.loads(label)['there'] else [NOT_THERE]


def pieces_of(text: str) -> list[tuple[int, int]]:
    """Where the words of a text, and its other signs one by one, begin and end."""
    return [match.span() for match in PIECES.finditer(text)]


def place_of(label: str, text: str) -> tuple[int, int]:
    """The characters of an answer, (-1, -1) where there is none. Raises UsageError where cleaning has changed them."""
    told = json.loads(label)
    answer, start = told['text'], told['start']
    if not answer:
        return -1, -1
    at = start if start >= 0 and text[start : start + len(answer)] == answer else text.find(answer)
    require(at >= 0, 'answer', answer, f'is not in its text ({text[:40]!r}...); mend the row, or clean less')
    return at, at + len(answer)


def reader(tokenizer: Tokenizer, *, seq_len: int, stride: int) -> Callable[[str], list[Window]]:
    """A function: QUESTION<TAB>TEXT -> its windows, each with the whole question.

    Each is as the tokenizer puts two texts together; they begin `stride` tokens of the text after each other (0: half of what
    fits), so that every token is in one, and the last one ends with the text.

    Raises UsageError for a question that leaves no room.
    """
    before, between, after = frame(tokenizer)

    @functools.lru_cache(maxsize=1 << 16)
    def encode(written: str) -> np.ndarray:
        return tokenizer.encode_rendered(written)

    def read(document: str) -> list[Window]:
        question, text = split_pair(document)
        head = np.concatenate([before, encode(question), between])
        room = seq_len - len(head) - len(after)
        remedy = f'leaves no room for a text after {question[:40]!r}; use {2 * len(head)} or more'
        require(room > 0, 'data.seq_len', seq_len, remedy)
        spans = pieces_of(text)
        rows = [encode(('' if begin == 0 or not text[begin - 1].isspace() else ' ') + text[begin:end]) for begin, end in spans]
        ids = np.concatenate([*rows, np.zeros(0, np.int32)]).astype(np.int32)
        owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        step = min(stride or max(1, room // 2), room)
        last = max(0, len(ids) - room)
        starts = [*range(0, last, step), last]
        return [window(head, ids[at : at + room], whole_of(owners, at, at + room), after) for at in starts]

    return read


def whole_of(owners: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The owners of some tokens, -1 where the owner has others as well."""
    found = owners[begin:end].copy()
    for outside, edge in ((owners[:begin][-1:], found[:1]), (owners[end:][:1], found[-1:])):
        if len(outside) and outside[0] == edge[0]:
            found[found == edge[0]] = -1
    return found


def window(head: np.ndarray, ids: np.ndarray, owners: np.ndarray, after: np.ndarray) -> Window:
    around = (np.full(len(side), -1) for side in (head, after))
    return Window(np.concatenate([head, ids, after]).astype(np.int32), np.concatenate([next(around), owners, next(around)]))


def frame(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens before, between and after two texts."""
    before, after = tokenizer.edges()
    if isinstance(tokenizer, LibraryTokenizer) and tokenizer.frames_two:
        (both,), bare = tokenizer.encode_two([('a', 'a')]), tokenizer.encode_rendered('a')
        return before, both[len(before) + len(bare) : len(both) - len(bare) - len(after)], after
    separator = tokenizer.specials.get('separator')
    between = tokenizer.encode_rendered('\n') if separator is None else np.array([separator], np.int32)
    return before, between, after


def encode_answers(
    documents: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer, *, seq_len: int, stride: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of all windows, and of each token whether an answer may begin and end there, and whether it does; else OUTSIDE.

    Where the answer is not whole in a window it is the first token (Devlin et al. 2019, section 4.3). A word that it covers in
    part it covers whole.
    """
    read, ids, tags = reader(tokenizer, seq_len=seq_len, stride=stride), [], []
    for document, label in zip(documents, labels, strict=True):
        text = document.partition(SIGN)[2]
        begin, end = place_of(label, text)
        owned = [number for number, (first, last) in enumerate(pieces_of(text)) if first < end and last > begin]
        for one in read(document):
            ids.append(one.ids)
            tags.append(tags_of(one.pieces, owned))
    return ids, tags


def tags_of(pieces_T: np.ndarray, owned: Sequence[int]) -> np.ndarray:
    """The tags of a window's tokens, int32, where the answer is so many pieces of the text."""
    found = np.where(pieces_T >= 0, OPEN, OUTSIDE).astype(np.int32)
    found[0] = OPEN
    places = np.flatnonzero(np.isin(pieces_T, owned)) if owned else np.zeros(0, np.int64)
    whole = len(places) and {owned[0], owned[-1]} <= set(pieces_T[places].tolist())
    first, last = (places[0], places[-1]) if whole else (0, 0)
    found[first] |= START
    found[last] |= END
    return found


def parse_answers(written: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The labels as they are. Raises UsageError where an answer is not in its text."""
    for label in written:
        if problem_of(label):
            answer = json.loads(label)['text']
            remedy = 'mend its row, or leave it out with data.unseen_labels=leave_out'
            raise AbsentAnswerError(f'answer={answer!r}: is not in its text; {remedy}')
    return list(written)


class AbsentAnswerError(UsageError):
    """An answer that is not in its text."""

    label = NOT_THERE
