"""Conversations to learn from: which tokens of them are the assistant's, who is to be learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lmjax.config import UsageError
from lmjax.data.chat import Chat, need_chat, render_chats
from lmjax.data.parallel_text import SIGN
from lmjax.data.rows import open_rows
from lmjax.data.sources import Source
from lmjax.data.store import OUTSIDE
from lmjax.data.tokenizers import Tokenizer

ASSISTANT, USER = 'assistant', 'user'
SAID = 1  # the tag of a token that the assistant says; all others are OUTSIDE


def open_chats(name: str, argument: str) -> Source:
    """Rows with a conversation: a list of messages, `{"role": "user", "content": "text"}`, or of strings, the user's first."""

    def document(values: list[object], label: object, place: str) -> str | None:
        messages = messages_of(values[0])
        return SIGN.join([json.dumps(messages, ensure_ascii=False), ASSISTANT]) if messages else None

    return open_rows(name, argument, kind='said', default='messages', document=document, texts=(1,), has_label=False)


def messages_of(value: object) -> list[dict[str, Any]]:
    """The messages up to the last of the assistant; none where they are none, or where nobody speaks before the assistant."""
    if not isinstance(value, list):
        return []
    found = [
        {'role': (USER, ASSISTANT)[at % 2], 'content': turn} if isinstance(turn, str) else turn for at, turn in enumerate(value)
    ]
    sound = all(isinstance(m, dict) and isinstance(m.get('role'), str) and isinstance(m.get('content'), str) for m in found)
    places = [at for at, message in enumerate(found) if sound and message['role'] == ASSISTANT]
    return found[: places[-1] + 1] if places and places[0] > 0 else []


def plain_text(conversation: str) -> str:
    """What is said in a conversation, a line each."""
    return '\n'.join(message['content'] for message in json.loads(conversation))


def encode_chats(
    conversations: Sequence[str], roles: Sequence[str], tokenizer: Tokenizer
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of conversations as the tokenizer's chat template writes them, and SAID for each that the assistant says.

    What opens an answer is not said, what ends it is. Each answer is encoded by itself, after what it answers, as when the
    network goes on with a prompt.

    Raises:
      UsageError: no template, one that refuses the messages, or one that writes a message otherwise once others follow.
    """
    chat = need_chat('data.tokenizer', tokenizer)
    ids, tags = [], []
    for pieces in written(chat, [json.loads(conversation) for conversation in conversations]):
        rows = [tokenizer.encode_rendered(piece) for piece in pieces]
        ids.append(np.concatenate(rows))
        tags.append(np.concatenate([np.full(len(row), SAID if at % 2 else OUTSIDE) for at, row in enumerate(rows)]))
    return ids, tags


def written(chat: Chat, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[str]]:
    """Each conversation in pieces: what the assistant answers, its answer, what it answers next, ..."""
    ends = [[at for at, message in enumerate(messages) if message['role'] == ASSISTANT] for messages in conversations]
    asked = [messages[:end] for messages, places in zip(conversations, ends, strict=True) for end in places]
    answered = [messages[: end + 1] for messages, places in zip(conversations, ends, strict=True) for end in places]
    prompts = iter(render_chats(chat, asked, add_generation_prompt=True))
    wholes = iter(render_chats(chat, answered, add_generation_prompt=False))
    found = []
    for places in ends:
        pieces, before = [], ''
        for _ in places:
            prompt, whole = next(prompts), next(wholes)
            if not (prompt.startswith(before) and whole.startswith(prompt)):
                what = f'goes on otherwise than it began: {prompt[-40:]!r} became {whole[: len(prompt)][-40:]!r}'
                raise UsageError(f'chat_template: {what}; mend the template, or give conversations of one answer each')
            pieces += [prompt[len(before) :], whole[len(prompt) :]]
            before = whole
        found.append(pieces)
    return found
