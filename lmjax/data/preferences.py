"""Pairs of answers to a prompt, of which one is preferred: both in one row, none of which sees the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax.config import require
from lmjax.data.chats import ASSISTANT, SAID, USER, encode_chats
from lmjax.data.marks import Corruption, Marks
from lmjax.data.parallel_text import SIGN
from lmjax.data.rows import open_rows
from lmjax.data.sources import Source
from lmjax.data.special_tokens import end_id
from lmjax.data.store import TokenStore
from lmjax.data.texts import along, plain_texts, whole_texts
from lmjax.data.tokenizers import Tokenizer
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs

FIRST = 'first'  # the label of every pair: the one that is preferred is written first


class Side(NamedTuple):
    """One answer as it is read: ids of what stands before it, and its own with its end, int32."""

    before: np.ndarray
    answer: np.ndarray


def open_preferred(name: str, argument: str) -> Source:
    """Rows with a prompt (a text, or a list of messages), the answer that is preferred, and another one."""

    def document(shown: list[object], rejected: object, place: str) -> str | None:
        parts = [*shown, rejected]
        return SIGN.join([json.dumps(parts, ensure_ascii=False), FIRST]) if is_pair(parts) else None

    return open_rows(name, argument, kind='preferred', default='prompt,chosen,rejected', document=document, texts=(2,))


def is_pair(parts: object) -> bool:
    """Whether these are a prompt and two answers that differ."""
    if not isinstance(parts, list) or len(parts) != 3:
        return False
    prompt, *answers = parts
    sound = isinstance(prompt, str) or (isinstance(prompt, list) and bool(prompt) and all(map(is_message, prompt)))
    return sound and all(isinstance(answer, str) and answer for answer in answers) and answers[0] != answers[1]


def is_message(value: object) -> bool:
    """Whether this is a message, or a text that stands for one."""
    return isinstance(value, str) or (
        isinstance(value, dict) and all(isinstance(value.get(k), str) for k in ('role', 'content'))
    )


def parts_of(text: str) -> tuple[str | list[Any], str, str]:
    """The prompt and the two answers of a text. Raises UsageError unless it is a JSON list of these."""
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    require(is_pair(parts), 'text', text, 'answers are compared; give a JSON list of a prompt and two that differ')
    return parts[0], parts[1], parts[2]


def plain_parts(text: str) -> str:
    """What is said in a pair, a line each."""
    prompt, *answers = parts_of(text)
    said = [prompt] if isinstance(prompt, str) else [one if isinstance(one, str) else one['content'] for one in prompt]
    return '\n'.join([*said, *answers])


def encode_sides(texts: Sequence[str], tokenizer: Tokenizer, *, seq_len: int) -> list[tuple[Side, Side]]:
    """Both answers of each text, together at most `seq_len` ids; of what stands before them the last stays.

    A prompt that is a text stands behind the token that begins a document, and an answer before the one that ends it. Messages
    are written by the chat template, and of the answer what ends it is scored too.

    Raises UsageError for answers that do not fit, for lack of a token that ends a text or of a template.
    """
    found = [parts_of(text) for text in texts]
    talks = [conversation(prompt, answer) for prompt, *answers in found if not isinstance(prompt, str) for answer in answers]
    talked = iter(last_said(*encode_chats(talks, [ASSISTANT] * len(talks), tokenizer)) if talks else [])
    start = [] if tokenizer.separator_id is None else [tokenizer.separator_id]
    pairs = []
    for prompt, *answers in found:
        if isinstance(prompt, str):
            before, end = np.array([*start, *tokenizer.encode_rendered(prompt)], np.int32), end_id(tokenizer)
            sides = [Side(before, np.append(tokenizer.encode_rendered(answer), end).astype(np.int32)) for answer in answers]
        else:
            sides = [next(talked), next(talked)]
        pairs.append(fitted(sides, answers[0], seq_len))
    return pairs


def conversation(prompt: list[Any], answer: str) -> str:
    """The messages of a prompt with an answer, for `encode_chats`; texts are the user's and the assistant's in turn."""
    roles = (USER, ASSISTANT)
    told = [{'role': roles[at % 2], 'content': one} if isinstance(one, str) else one for at, one in enumerate(prompt)]
    return json.dumps([*told, {'role': ASSISTANT, 'content': answer}])


def last_said(ids: Sequence[np.ndarray], tags: Sequence[np.ndarray]) -> list[Side]:
    """Each conversation parted before the last thing that the assistant says."""
    begins = [int(np.flatnonzero(np.diff(row == SAID, prepend=False) & (row == SAID))[-1]) for row in tags]
    return [Side(row[:at].astype(np.int32), row[at:].astype(np.int32)) for row, at in zip(ids, begins, strict=True)]


def fitted(sides: Sequence[Side], answer: str, seq_len: int) -> tuple[Side, Side]:
    """Both, with so much before them that they fit. Raises UsageError where nothing could stand before them."""
    tokens = sum(len(side.answer) for side in sides)
    remedy = f'and the other have {tokens} tokens, too many for data.seq_len={seq_len}; use {tokens + 2} or more'
    room = (seq_len - tokens) // 2
    require(room > 0, 'chosen', answer[:40], remedy)
    first, second = (side._replace(before=side.before[-room:]) for side in sides)
    require(bool(len(first.before) and len(second.before)), 'prompt', '', 'is empty, and no token begins a text; write one')
    return first, second


def encode_preferred(
    texts: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer, *, seq_len: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of both sides of each text, in turn, and of each id twice its side's number, 0 or 1, plus 1 if it is said.

    Raises UsageError as `encode_sides`.
    """
    ids, tags = [], []
    for sides in encode_sides(texts, tokenizer, seq_len=seq_len):
        ids.append(np.concatenate([part for side in sides for part in side]))
        tags.append(np.repeat(np.arange(4, dtype=np.int32), [len(part) for side in sides for part in side]))
    return ids, tags


def preferred(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is a pair, its sides segments 1 and 2; labels, B x T int32, tell of which of them a token is said, 0 of none.

    Targets (zeros) and weights are B x 1.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW, kept_BxW = whole_texts(batch, store)
        tags_BxT = along(batch, kept_BxW)[:, :-1]
        real_BxT, second_BxT = tags_BxT >= 0, tags_BxT >= 2
        index_T = np.arange(tags_BxT.shape[1])[None]
        begin_Bx1 = np.argmax(second_BxT, axis=1)[:, None]
        side_BxT = np.where(real_BxT, 1 + second_BxT, 0).astype(np.int32)
        said_BxT = np.where(tags_BxT % 2 == 1, side_BxT, 0).astype(np.int32)
        inputs = Inputs(
            np.where(real_BxT, np.asarray(plain_texts(ids_BxW, kept_BxW).ids), 0).astype(np.int32),
            np.where(real_BxT, index_T - second_BxT * begin_Bx1, 0).astype(np.int32),
            side_BxT,
        )
        weights_Bx1 = np.asarray(second_BxT.any(axis=1, keepdims=True), np.float32)
        return Batch(inputs, np.zeros(weights_Bx1.shape, np.int32), weights_Bx1, labels=said_BxT)

    return corrupt
