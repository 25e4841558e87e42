"""Glue for typed configs: choices, validation, JSON, fingerprints and what may change between runs.

A config is a tree of dataclasses whose leaves are scalars or tuples. Fields are part of a run's identity unless they are
declared with `free(...)`: those may differ when a run is resumed.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


class UsageError(ValueError):
    """Bad input from a person: one line that names field, value and remedy. Entry points print it and exit 2."""


def first_line(error: Exception) -> str:
    """What an error says, for a place within a line of ours: its first line, or its class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def free(default: Any = dataclasses.MISSING, **kwargs: Any) -> Any:
    """A config field that may change when a run is resumed (mesh, logging, cadences)."""
    if default is not dataclasses.MISSING:
        kwargs['default'] = default
    return dataclasses.field(metadata={'identity': False}, **kwargs)


def nearest(name: str, names: Iterable[str]) -> str:
    """A phrase that helps with a mistyped name: the closest one, or all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f'choose one of: {", ".join(names)}'


def choose(table: Mapping[str, Any], name: str, field: str) -> Any:
    """The row of a table of choices; raises UsageError naming the rows that exist."""
    if name not in table:
        raise UsageError(f'{field}={name!r}: no such choice; choose one of: {", ".join(table)}')
    return table[name]


def require(condition: bool, field: str, value: Any, remedy: str) -> None:
    """Raises UsageError `field=value: remedy` unless the condition holds."""
    if not condition:
        raise UsageError(f'{field}={value!r}: {remedy}')


def leaves(config: Any, prefix: str = '') -> dict[str, Any]:
    """Dotted path -> scalar or tuple, in declaration order."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found.update(leaves(value, f'{prefix}{field.name}.'))
        else:
            found[prefix + field.name] = value
    return found


def free_paths(config: Any, prefix: str = '', inherited: bool = False) -> set[str]:
    """Dotted paths of the leaves that are not part of a run's identity."""
    found: set[str] = set()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_free = inherited or not field.metadata.get('identity', True)
        if dataclasses.is_dataclass(value):
            found |= free_paths(value, f'{prefix}{field.name}.', is_free)
        elif is_free:
            found.add(prefix + field.name)
    return found


def differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Dotted path -> (old, new) where two configs differ; a field that one side lacks shows as None."""
    old_leaves, new_leaves = leaves(old), leaves(new)
    paths = list(dict.fromkeys([*old_leaves, *new_leaves]))
    pairs = {path: (old_leaves.get(path), new_leaves.get(path)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dicts, each with the class that it came from under `class`, for JSON."""
    cls = type(config)
    out: dict[str, Any] = {'class': f'{cls.__module__}:{cls.__qualname__}'}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        out[field.name] = to_dict(value) if dataclasses.is_dataclass(value) else value
    return out


def from_dict(data: Mapping[str, Any]) -> Any:
    """The config that `to_dict` wrote; only dataclasses of lmjax are built, unknown fields raise UsageError."""
    module, _, name = data['class'].partition(':')
    if module.split('.')[0] != 'lmjax':
        raise UsageError(f'class={data["class"]!r}: a saved config may name lmjax classes only')
    cls = getattr(importlib.import_module(module), name, None)
    if not dataclasses.is_dataclass(cls):
        raise UsageError(f'class={data["class"]!r}: not a config class of this version of lmjax')
    names = [field.name for field in dataclasses.fields(cls)]
    values = {}
    for key, value in data.items():
        if key == 'class':
            continue
        if key not in names:
            raise UsageError(f'{name}.{key}={value!r}: no such field; {nearest(key, names)}')
        if isinstance(value, Mapping):
            value = from_dict(value)
        values[key] = tuple(value) if isinstance(value, list) else value
    return cls(**values)  # type: ignore[operator]


def fingerprint(config: Any) -> str:
    """SHA-256 over the identity fields."""
    skip = free_paths(config)
    kept = {path: value for path, value in leaves(config).items() if path not in skip}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
