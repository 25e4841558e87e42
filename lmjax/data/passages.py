"""Questions and texts in which their answers stand, read in windows: what each token is of, and where the answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import require
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
    spans: np.ndarray  # T x 2, the characters of the text that each token is of; -1 for others, and where these are cut


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
    if not (isinstance(answer, str) and isinstance(start, int)):
        return None
    found = answer.replace(SIGN, ' ').strip()
    start += len(answer) - len(answer.lstrip()) if start >= 0 else 0
    there = not found or (found in text if start < 0 else text[start : start + len(found)] == found)
    return json.dumps({'text': found, 'start': start, 'there': there}, ensure_ascii=False)


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


def reader(tokenizer: Tokenizer, *, seq_len: int, stride: int) -> Callable[[str], tuple[list[Window], np.ndarray]]:
    """A function: QUESTION<TAB>TEXT -> its windows, each with the whole question, and the characters of all tokens of the text.

    Each is as the tokenizer puts two texts together; they begin `stride` tokens of the text after each other (0: half of what
    fits), so that every token is in one, and the last one ends with the text.

    Raises UsageError for a question that leaves no room.
    """
    before, between, after = frame(tokenizer)

    def read(document: str) -> tuple[list[Window], np.ndarray]:
        question, text = split_pair(document)
        head = np.concatenate([before, tokenizer.encode_rendered(question), between])
        room = seq_len - len(head) - len(after)
        remedy = f'leaves no room for a text after {question[:40]!r}; use {2 * len(head)} or more'
        require(room > 0, 'data.seq_len', seq_len, remedy)
        ids, spans = located(text, tokenizer)
        step = min(stride or max(1, room // 2), room)
        last = max(0, len(ids) - room)
        starts = [*range(0, last, step), last]
        return [window(head, ids[at : at + room], whole_of(spans, at, at + room), after) for at in starts], spans

    return read


def located(text: str, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a text, and the characters that each is of, T x 2, -1 where it is of none.

    A checkpoint's tokenizer says which; with one of ours each word, and each other sign, is encoded by itself, and its tokens
    are of all of it.
    """
    if isinstance(tokenizer, LibraryTokenizer):
        return tokenizer.encode_located(text)
    pieces = pieces_of(text)
    spaced = [begin > 0 and text[begin - 1].isspace() for begin, _ in pieces]
    rows = [tokenizer.encode_rendered(' ' * gap + text[a:b]) for (a, b), gap in zip(pieces, spaced, strict=True)]
    spans = np.repeat(np.array(pieces, np.int64).reshape(-1, 2), [len(row) for row in rows], axis=0)
    return np.concatenate([*rows, np.zeros(0, np.int32)]).astype(np.int32), spans


def whole_of(spans: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The characters of some tokens, -1 where others are of the same."""
    found = spans[begin:end].copy()
    for outside, edge in ((spans[:begin][-1:], found[:1].copy()), (spans[end:][:1], found[-1:].copy())):
        if len(outside) and (outside == edge).all():
            found[(found == edge).all(axis=1)] = -1
    return found


def window(head: np.ndarray, ids: np.ndarray, spans: np.ndarray, after: np.ndarray) -> Window:
    before, behind = (np.full((len(side), 2), -1) for side in (head, after))
    return Window(np.concatenate([head, ids, after]).astype(np.int32), np.concatenate([before, spans, behind]))


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

    Where the answer is not whole in a window it is the first token (Devlin et al. 2019, section 4.3). A token that it
    covers in part it covers whole.
    """
    read, ids, tags = reader(tokenizer, seq_len=seq_len, stride=stride), [], []
    for document, label in zip(documents, labels, strict=True):
        text = document.partition(SIGN)[2]
        begin, end = place_of(label, text)
        windows, spans = read(document)
        ends = covering(spans, begin, end) if begin >= 0 else None
        remedy = 'has no token in this tokenizer; mend its row'
        require(begin < 0 or ends is not None, 'answer', text[max(begin, 0) : end], remedy)
        for one in windows:
            ids.append(one.ids)
            tags.append(tags_of(one.spans, ends))
    return ids, tags


def covering(spans: np.ndarray, begin: int, end: int) -> np.ndarray | None:
    """The spans of the first and the last token that have any of the characters, 2 x 2; None where none has."""
    has = (spans[:, 0] >= 0) & (spans[:, 0] < end) & (spans[:, 1] > begin)
    return spans[has][[0, -1]] if has.any() else None


def tags_of(spans: np.ndarray, ends: np.ndarray | None) -> np.ndarray:
    """The tags of a window's tokens, int32, where the answer goes from a token with the first span to one with the second."""
    found = np.where(spans[:, 0] >= 0, OPEN, OUTSIDE).astype(np.int32)
    found[0] = OPEN
    if ends is not None:
        firsts, lasts = (np.flatnonzero((spans == one).all(axis=1)) for one in ends)
        if len(firsts) and len(lasts):
            found[firsts[0]] |= START
            found[lasts[-1]] |= END
            return found
    found[0] = START | END
    return found
