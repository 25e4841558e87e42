"""Fields of a config set by their dotted paths: what an arm of a study changes."""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, get_args

from lmjax.config import UsageError, leaves, nearest, require
from lmjax.models.config import ModelConfig

KINDS = {cls().kind: cls for cls in get_args(ModelConfig)}  # of networks, each with fields of its own
OPENING, CLOSING = '([{', ')]}'


def with_fields(config: Any, changes: Sequence[str]) -> Any:
    """A copy of a config with each 'path=value' set, in order; values are written as on the command line.

    Another `model.kind` is a config of that kind, with what was set of the fields that both have.

    Raises:
      UsageError: no such field, or a value of another type.
    """
    config = copy.deepcopy(config)
    for change in changes:
        path, value = split_change(change)
        known = leaves(config)
        if path not in known:
            raise UsageError(f'{change}: no such field; {nearest(path, known)}')
        owner = config
        *parents, name = path.split('.')
        for parent in parents:
            owner = getattr(owner, parent)
        if path == 'model.kind':
            config.model = _of_kind(config.model, value)
        else:
            setattr(owner, name, value_like(known[path], path, value))
    return config


def split_change(change: str) -> tuple[str, str]:
    """'path=value' -> path, value. Raises UsageError for what is no such thing."""
    path, equals, value = change.partition('=')
    require(bool(equals and path), 'change', change, 'write it as path=value, as in model.norm=rms')
    return path.strip().removeprefix('config.'), value.strip()


def value_like(old: Any, path: str, text: str) -> Any:
    """A value as it is written, of the type that the field has. Raises UsageError where it is of another."""
    try:
        if isinstance(old, bool):
            return {'true': True, 'false': False, '1': True, '0': False}[text.lower()]
        if isinstance(old, int):
            return int(text)
        if isinstance(old, float):
            return float(text)
        if isinstance(old, tuple):
            value = ast.literal_eval(text)
            return tuple(value) if isinstance(value, list | tuple) else (value,)
    except (ValueError, KeyError, SyntaxError):
        raise UsageError(f'{path}={text!r}: is no {type(old).__name__}; write one as {old!r}') from None
    return text


def split_values(text: str) -> list[str]:
    """The values that commas part, but for commas within brackets and quotes: "layer,rms", "('a','b'),()"."""
    parts, depth, quote = [''], 0, ''
    for letter in text:
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"':
            quote = letter
        depth += (letter in OPENING) - (letter in CLOSING) if not quote else 0
        if letter == ',' and not depth and not quote:
            parts.append('')
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _of_kind(model: Any, kind: str) -> Any:
    if kind not in KINDS:
        raise UsageError(f'model.kind={kind!r}: no such choice; choose one of: {", ".join(KINDS)}')
    cls = KINDS[kind]
    own, plain = {field.name for field in dataclasses.fields(cls)}, type(model)()
    taken = leaves(model).items() - leaves(plain).items()
    # `init` is a row of another table in each kind
    return cls(**{name: value for name, value in taken if name in own - {'kind', 'init'}})
