"""The one wrapper of the entry points: bad input ends with one line and exit code 2, never with a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import app, flags, logging

import lmjax
from lmjax.config import UsageError, first_line, leaves, nearest
from lmjax.training.memory import keep_freed_memory

MANY = 1024  # texts of a file that are read at a time, so that those of like length travel together


OPTIONAL: set[str] = set()  # flags that may be left out


def define_config(*, optional: bool = False) -> flags.FlagHolder:
    """The flag `--config=configs/x.py`, with `--config.a.b=value` for any field; None where it is optional and left out."""
    from ml_collections import config_flags

    if optional:
        OPTIONAL.add('config')
    return config_flags.DEFINE_config_file('config', None, 'Path of a config file; --config.field=value changes a field.')


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """`absl.app.run` with UsageError and flag errors turned into one line on standard error and exit code 2."""

    def guarded(argv: Sequence[str]) -> int | None:
        if not flags.FLAGS['verbosity'].present:
            logging.set_verbosity(logging.WARNING)  # libraries narrate every save at INFO
        try:
            if len(argv) > 1:
                raise UsageError(f'argument {argv[1]!r}: no such argument; options look like --name=value')
            return main(argv)
        except UsageError as error:
            return _refuse(error)
        except BrokenPipeError:  # whoever read the output has enough of it, as `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1

    keep_freed_memory()  # before jax starts threads
    try:
        app.run(guarded, flags_parser=_parse)
    except UsageError as error:
        sys.exit(_refuse(error))


def train(function: Callable[..., Mapping[str, Any]], *args: Any, **kwargs: Any) -> int:
    """Calls what trains a run, its lines printed as they come; returns 0, 3 (the loss is not a number) or 130 (interrupted)."""
    try:
        outcome = function(*args, say=lambda line: print(line, flush=True), **kwargs)
    except lmjax.NonFiniteLossError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 130 if outcome['status'] == 'interrupted' else 0


def need(*asked: tuple[flags.FlagHolder, str]) -> None:
    """Raises UsageError for the first flag that is not given, with its example."""
    for flag, example in asked:
        if not flag.value:
            raise UsageError(f'--{flag.name}: missing; give it, as in --{flag.name}={example}')


def read_text(flag: str, path: str) -> str:
    """The UTF-8 text of a file, or of the standard input (-). Raises UsageError, with the flag, for what cannot be read."""
    try:
        if path == '-':
            return sys.stdin.buffer.read().decode('utf-8')
        with open(path, 'rb') as file:
            return file.read().decode('utf-8')
    except OSError as error:
        raise UsageError(f'--{flag}={path!r}: cannot be read ({error.strerror}); name a text file, or -') from None
    except UnicodeDecodeError as error:
        raise UsageError(f'--{flag}={path!r}: not UTF-8 text at byte {error.start}; convert it') from None


def labelled_texts(flag: str, source: str) -> tuple[list[str], list[str]]:
    """Texts and the class of each, of a source. Raises UsageError, with the flag, for another kind of source."""
    from lmjax.data.config import DataConfig
    from lmjax.data.corpus import read_documents
    from lmjax.data.labelled import split_label
    from lmjax.data.sources import label_kind, open_source

    if label_kind(source) != 'class':
        raise UsageError(f'--{flag}={source!r}: name texts with labels, as labelled:FILE#TEXT,LABEL@2-9/10')
    documents, _ = read_documents(open_source(source), DataConfig())
    texts, labels = zip(*map(split_label, documents), strict=True)
    return list(texts), list(labels)


def text_batches(flag: str, path: str) -> Iterator[list[str]]:
    """Texts, one a line, without empty ones: those of the standard input (-) one by one, those of a file many at a time."""
    if path == '-':
        yield from ([line.strip()] for line in sys.stdin if line.strip())
        return
    texts = [line.strip() for line in io.StringIO(read_text(flag, path), newline=None) if line.strip()]
    for start in range(0, len(texts), MANY):
        yield texts[start : start + MANY]


def write_rows(flag: str, path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a JSON object a line. Raises UsageError, with the flag, where the file cannot be written."""
    write_text(flag, path, ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))


def write_text(flag: str, path: str, text: str) -> None:
    """Writes UTF-8. Raises UsageError, with the flag, where the file cannot be written."""
    try:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f'--{flag}={path!r}: cannot be written ({error.strerror}); name a file in a folder there is') from None


def _refuse(error: Exception) -> int:
    print('error: ' + ' '.join(str(error).split()), file=sys.stderr)
    return 2


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        if 'config' in flags.FLAGS:
            _load_config(argv)
        return rest
    except UsageError:
        raise
    except Exception as error:  # the parser raises whatever the config file and its fields raise
        _explain_override(argv)
        raise UsageError(first_line(error)) from error


def _load_config(argv: Sequence[str]) -> None:
    """Raises UsageError unless `--config` names a file that gives a config."""
    path = _config_path(argv)
    if not path and 'config' in OPTIONAL:
        return
    if not path:
        raise UsageError('--config: missing; name a config file, as in --config=configs/quickstart.py')
    name = _file_of(path)
    if not os.path.isfile(name):
        folder = os.path.dirname(name) or '.'
        names = [os.path.join(folder, other) for other in sorted(os.listdir(folder))] if os.path.isdir(folder) else []
        presets = [other for other in names if other.endswith('.py') and '__' not in other]
        raise UsageError(f'--config={path!r}: no such file; {nearest(path, presets or ["configs/quickstart.py"])}')
    leaves(flags.FLAGS.config)


def _file_of(path: str) -> str:
    """The file of 'configs/x.py:argument'."""
    return path if os.path.isfile(path) else path.partition(':')[0]


def _config_path(argv: Sequence[str]) -> str:
    for at, arg in enumerate(argv):
        if match := re.fullmatch(r'--?config=(.*)', arg):
            return match[1]
        if arg in ('--config', '-config') and at + 1 < len(argv):
            return argv[at + 1]
    return ''


def _explain_override(argv: Sequence[str]) -> None:
    """Raises UsageError for the first `--config.field=value` whose field is unknown or whose value has a wrong type."""
    if 'config' not in flags.FLAGS or not _config_path(argv):
        return
    known = leaves(_pristine(_config_path(argv)))
    for at, arg in enumerate(argv):
        match = re.fullmatch(r'--?config\.([^=]+)(?:=(.*))?', arg, flags=re.DOTALL)
        if not match:
            continue
        field, value = match[1], match[2] if match[2] is not None else ' '.join(argv[at + 1 : at + 2])
        if field not in known:
            close = nearest('config.' + field, ['config.' + name for name in known])
            if close.startswith('choose'):
                close = f'see the fields in {_config_path(argv)} and lmjax/training/config.py'
            raise UsageError(f'config.{field}={value}: no such field; {close}')
        if not _parses(value, known[field]):
            raise UsageError(f'config.{field}={value!r}: expected {_kind(known[field])}, such as {known[field]!r}')


def _pristine(path: str) -> object:
    """The config as its file gives it, without overrides."""
    import runpy

    name = _file_of(path)
    argument = path[len(name) + 1 :]
    try:
        get_config = runpy.run_path(name)['get_config']
        return get_config(argument) if argument else get_config()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f'--config={path!r}: the file cannot be loaded: {type(error).__name__}: {error}') from error


def _kind(value: object) -> str:
    return {bool: 'true or false', int: 'a whole number', float: 'a number', tuple: "a tuple like ('a','b')"}.get(
        type(value), 'text'
    )


def _parses(text: str, like: object) -> bool:
    try:
        if isinstance(like, bool):
            return text.lower() in ('true', 'false', '1', '0', 't', 'f', 'y', 'n', 'yes', 'no')
        if isinstance(like, int | float):
            type(like)(text)
        elif isinstance(like, tuple):
            return text.startswith('(')
    except ValueError:
        return False
    return True
