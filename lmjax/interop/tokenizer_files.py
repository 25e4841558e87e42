"""What lies beside a tokenizer in Hugging Face's format: the names of its special tokens, and its chat templates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lmjax.config import UsageError, require
from lmjax.data.chat import DEFAULT, Chat
from lmjax.interop.tensors import read_json

CONFIG_FILE, MAP_FILE = 'tokenizer_config.json', 'special_tokens_map.json'
CHAT_FILE, CHAT_FOLDER = 'chat_template.jinja', 'additional_chat_templates'
TOKEN_ENDING = '_token'  # of the fields that name special tokens
MAX_TEMPLATE, MAX_FILE = 1 << 20, 1 << 28  # bytes


def read_text(path: str, *, limit: int = MAX_FILE) -> str:
    """A file of UTF-8 text. Raises UsageError for one of more than `limit` bytes or of anything else."""
    try:
        size = os.path.getsize(path)
        require(size <= limit, f'{path}: bytes', size, f'at most {limit:,} are read; fetch it again')
        with open(path, encoding='utf-8', newline='') as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'{path}: not readable as text ({error}); fetch it again') from error


def read_optional(folder: str, name: str) -> dict[str, Any]:
    """The JSON object in a file, {} where there is no file."""
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return {}
    require(os.path.getsize(path) <= MAX_FILE, f'{path}: bytes', os.path.getsize(path), 'too many; fetch it again')
    return read_json(path)


def read_named(folder: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Field, such as bos_token -> special token, by its text or an object with `content`; `defaults` where none is said."""
    said = read_optional(folder, MAP_FILE) | read_optional(folder, CONFIG_FILE)
    named = {**defaults, **{field: token for field, token in said.items() if field.endswith(TOKEN_ENDING)}}
    return {field: token for field, token in named.items() if isinstance(text_of(token), str)}


def text_of(token: Any) -> Any:
    """The text of a token that is written as such or as an object."""
    return token.get('content') if isinstance(token, dict) else token


def read_chat(folder: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> Chat | None:
    """The chat templates of a folder with the special tokens that they may name; None where there are none.

    Those in files of their own stand for those in tokenizer_config.json. Raises UsageError for what is no template.
    """
    templates = _template_files(folder) or _template_field(folder)
    if not templates:
        return None
    for name, text in templates.items():
        size = len(text.encode('utf-8', 'replace'))
        require(size <= MAX_TEMPLATE, f'{folder}: bytes of chat_template {name!r}', size, f'at most {MAX_TEMPLATE:,} are read')
    tokens = {field: text_of(token) for field, token in read_named(folder, defaults).items()}
    return Chat(templates, tokens)


def _template_files(folder: str) -> dict[str, str]:
    found = {}
    if os.path.isfile(path := os.path.join(folder, CHAT_FILE)):
        found[DEFAULT] = read_text(path, limit=MAX_TEMPLATE)
    more = os.path.join(folder, CHAT_FOLDER)
    for name in sorted(os.listdir(more)) if os.path.isdir(more) else ():
        if name.endswith('.jinja'):
            found[name.removesuffix('.jinja')] = read_text(os.path.join(more, name), limit=MAX_TEMPLATE)
    return found


def _template_field(folder: str) -> dict[str, str]:
    """Of tokenizer_config.json: one template, or a list of named ones."""
    said = read_optional(folder, CONFIG_FILE).get('chat_template')
    listed = [{'name': DEFAULT, 'template': said}] if isinstance(said, str) else said or []
    try:
        found = {row['name']: row['template'] for row in listed}
        sound = all(isinstance(text, str) for pair in found.items() for text in pair)
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise UsageError(f'{os.path.join(folder, CONFIG_FILE)}: chat_template is neither a text nor a list of named texts')
    return found


def described_chat(chat: Chat) -> dict[str, Any]:
    """What tokenizer_config.json says of a chat and its tokens."""
    if set(chat.templates) == {DEFAULT}:
        return {**chat.tokens, 'chat_template': chat.templates[DEFAULT]}
    listed = [{'name': name, 'template': text} for name, text in chat.templates.items()]
    return {**chat.tokens, 'chat_template': listed}
