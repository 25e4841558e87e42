"""Renders a chat template in a process of its own, whose computing time and memory the system bounds.

Reads a JSON object from standard input and writes one to standard output. Jinja's sandbox keeps a template from Python's
internals but bounds neither time nor memory (`range` alone is bounded): loops in loops, a string times 10**10 or a list that
doubles must end by other means, and only an own process can be ended from outside whatever it is doing.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import resource
import sys
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils


class RefusedError(jinja2.TemplateError):
    """A template's own complaint about the messages, made with `raise_exception`."""


class TooLongError(Exception):
    """The text outgrew its bound."""


class PlainNamespace(jinja2.utils.Namespace):
    """`namespace()` that keeps no attribute of Python's own kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith('_'):
            raise jinja2.sandbox.SecurityError(f'a namespace may not hold {name!r}')
        super().__setitem__(name, value)


class Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`, with which templates mark the assistant's part, renders what it encloses."""

    tags = {'generation'}

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(parser.parse_statements(('name:endgeneration',), drop_needle=True), lineno=line)


class Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox; what it would leave undefined for safety's sake is an error here."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        raise jinja2.sandbox.SecurityError(f'{attribute!r} of a {type(obj).__name__} is out of bounds for a template')


def environment() -> Environment:
    """What transformers gives templates: its white space rules, loop controls, functions and filters."""
    made = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation])
    made.filters['tojson'] = to_json
    made.globals |= {'raise_exception': refuse, 'strftime_now': now, 'namespace': PlainNamespace}
    return made


def to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def refuse(message: str) -> None:
    raise RefusedError(message)


def now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def render(template: str, variables: list[dict[str, Any]], *, max_chars: int) -> list[str]:
    """The texts of a template. Raises whatever Jinja raises, RefusedError, and TooLongError past `max_chars` in all."""
    texts, size, compiled = [], 0, environment().from_string(template)
    for one in variables:
        pieces: list[str] = []
        for piece in compiled.generate(one):
            size += len(piece)
            if size > max_chars:
                raise TooLongError(f'more than {max_chars:,} characters')
            pieces.append(piece)
        texts.append(''.join(pieces))
    return texts


def confine(seconds: int, memory: int) -> None:
    """Bounds this process: seconds of computing, bytes of memory, and no file written or process started."""
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NPROC: (0, 0),
    }
    for kind, bounds in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a system that does not know one, or is stricter already
            resource.setrlimit(kind, bounds)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """`{'texts': [...]}`, or why not: `refused` by the template, `forbidden`, `exceeded` bounds, or an `error` in it."""
    try:
        return {'texts': render(task['template'], task['variables'], max_chars=task['max_chars'])}
    except RefusedError as error:
        return {'refused': str(error)}
    except jinja2.sandbox.SecurityError as error:
        return {'forbidden': str(error)}
    except (TooLongError, MemoryError, RecursionError, OverflowError) as error:
        return {'exceeded': str(error) or type(error).__name__}
    except Exception as error:  # a template may do anything that an expression can
        return {'error': f'{type(error).__name__}: {error}'}


if __name__ == '__main__':
    confine(*map(int, sys.argv[1:3]))
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
