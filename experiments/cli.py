"""The one wrapper of the entry points: bad input ends with one line and exit code 2, never with a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from lmjax.config import UsageError, leaves, nearest


def define_config() -> flags.FlagHolder:
    """The flag `--config=configs/x.py`, with `--config.a.b=value` for any field."""
    from ml_collections import config_flags

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

    try:
        app.run(guarded, flags_parser=_parse)
    except UsageError as error:
        sys.exit(_refuse(error))


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
    except (flags.Error, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        _explain_override(argv)
        raise UsageError(str(error).splitlines()[0]) from error


def _load_config(argv: Sequence[str]) -> object:
    """The config object that `--config` names, or UsageError saying what is wrong with the file."""
    path = _config_path(argv)
    if not path:
        raise UsageError('--config: missing; name a config file, as in --config=configs/quickstart.py')
    if not os.path.isfile(path.partition(':')[0] if not os.path.isfile(path) else path):
        folder = os.path.dirname(path) or '.'
        names = [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []
        hint = nearest(path, [name for name in names if name.endswith('.py') and '__' not in name] or ['configs/quickstart.py'])
        raise UsageError(f'--config={path!r}: no such file; {hint}')
    try:
        config = flags.FLAGS.config
        leaves(config)
        return config
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f'--config={path!r}: the file cannot be loaded: {type(error).__name__}: {error}') from error


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
                close = f'see the fields in {_config_path(argv)} and lmjax/train/config.py'
            raise UsageError(f'config.{field}={value}: no such field; {close}')
        if not _parses(value, known[field]):
            raise UsageError(f'config.{field}={value!r}: expected {_kind(known[field])}, such as {known[field]!r}')


def _pristine(path: str) -> object:
    import runpy

    name, _, argument = path.partition(':') if not os.path.isfile(path) else (path, '', '')
    get_config = runpy.run_path(name)['get_config']
    return get_config(argument) if argument else get_config()


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
