"""Pieces of a page: escaped text, tables, columns. Whatever came from a run goes through `safe`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any


def safe(value: Any) -> str:
    """Escaped text; control characters, which byte-level samples hold, as their visible pictures."""
    visible = re.sub(r'[\x00-\x08\x0b-\x1f]', lambda match: chr(0x2400 + ord(match[0])), str(value))
    return html.escape(visible.replace('\x7f', '\u2421'))


def flat(tree: Any, prefix: str = '') -> dict[str, Any]:
    """Nested dicts as one dict from dotted names; `class`, which names a config's Python class, is left out."""
    found: dict[str, Any] = {}
    for name, value in (tree or {}).items():
        if isinstance(value, Mapping):
            found.update(flat(value, f'{prefix}{name}.'))
        elif name != 'class':
            found[f'{prefix}{name}'] = value
    return found


def config_tables(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The fields by the part of the config that they belong to, as the command line names them."""
    own = {name: value for name, value in config.items() if not isinstance(value, Mapping)}
    parts = {f'config.{name}': flat(value) for name, value in config.items() if isinstance(value, Mapping)}
    return {'config': flat(own), **parts}


def grid(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table with a head."""
    top = ''.join(f'<th>{safe(name)}</th>' for name in head)
    lines = (''.join(f'<td>{cell(value)}</td>' for value in row) for row in rows)
    body = ''.join(f'<tr>{line}</tr>' for line in lines)
    return f'<div class="wide"><table class="numbers"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def columns(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables under their titles, side by side where there is room."""
    made = {title: table(rows) for title, rows in tables.items()}
    boxes = [f'<div><h3>{safe(title)}</h3>{content}</div>' for title, content in made.items() if content]
    return f'<div class="columns">{"".join(boxes)}</div>' if boxes else ''


def table(rows: Mapping[str, Any]) -> str:
    """Names and what each is, without those that are None."""
    kept = {name: value for name, value in rows.items() if value is not None}
    lines = ''.join(f'<tr><th>{safe(name)}</th><td>{cell(value)}</td></tr>' for name, value in kept.items())
    return f'<table>{lines}</table>' if lines else ''


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, list | tuple):
        return safe(json.dumps(value, ensure_ascii=False))
    return safe(value) if value != '' else '<i>empty</i>'


def tile_row(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Numbers that stand out, each with its name and a remark; those without a number are left out."""
    line = '<div class="tile"><b>{}</b><span>{}</span><i>{}</i></div>'
    return ''.join(line.format(*map(safe, tile)) for tile in tiles if tile[0])
