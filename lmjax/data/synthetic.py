"""Documents made by a rule from a seed: what a network must be able to do, without anything else to learn.

Each document is a line of symbols separated by spaces, so that byte, character and word tokenizers all read it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import numpy as np

from lmjax.config import UsageError, nearest

VERSION = 1  # counts up when a rule changes, so that stored tokens are not mistaken for new ones


def copy(*, documents: int = 10_000, length: int = 16, symbols: int = 8, seed: int = 0) -> Iterator[str]:
    """A random string, a bar, the same string again."""
    for letters in random_letters(documents, length, symbols, seed):
        yield f'{" ".join(letters)} | {" ".join(letters)}\n'


def reverse(*, documents: int = 10_000, length: int = 8, symbols: int = 8, seed: int = 0) -> Iterator[str]:
    """Pairs of a random string and the same from its end to its beginning (Sutskever et al. 2014, section 3.3)."""
    for letters in random_letters(documents, length, symbols, seed):
        yield f'{" ".join(letters)}\t{" ".join(reversed(letters))}'


def recall(*, documents: int = 10_000, pairs: int = 8, symbols: int = 26, seed: int = 0) -> Iterator[str]:
    """Key-value pairs, then every key again in another order, each followed by its value (Ba et al. 2016, section 4.1)."""
    check(pairs <= symbols, 'pairs', pairs, 'keys are distinct: use at least as many symbols')
    rng = np.random.default_rng(seed)
    names = alphabet(symbols)
    for _ in range(documents):
        keys = [names[i] for i in rng.permutation(symbols)[:pairs]]
        values = [str(digit) for digit in rng.integers(10, size=pairs)]
        shown = [f'{key} {value}' for key, value in zip(keys, values, strict=True)]
        asked = [shown[i] for i in rng.permutation(pairs)]
        yield f'{" ".join(shown)} | {" ".join(asked)}\n'


def modadd(*, modulus: int = 97, seed: int = 0) -> Iterator[str]:
    """Every a + b = c modulo a number, once each, in random order (Power et al. 2022)."""
    check(modulus >= 2, 'modulus', modulus, 'use 2 or more')
    for pair in np.random.default_rng(seed).permutation(modulus * modulus).tolist():
        a, b = divmod(pair, modulus)
        yield f'{a} + {b} = {(a + b) % modulus}\n'


def induction(
    *, documents: int = 2_000, length: int = 128, symbols: int = 26, period: int = 24, seed: int = 0
) -> Iterator[str]:
    """Random symbols that repeat, with a period of each document's own (Olsson et al. 2022): one period tells the rest."""
    check(period >= 2, 'period', period, 'use 2 or more')
    rng = np.random.default_rng(seed)
    names = alphabet(symbols)
    for _ in range(documents):
        motif = rng.integers(symbols, size=rng.integers(2, period + 1))
        yield ' '.join(names[i] for i in np.resize(motif, length)) + '\n'


def random_letters(documents: int, length: int, symbols: int, seed: int) -> Iterator[list[str]]:
    names, rng = alphabet(symbols), np.random.default_rng(seed)
    for _ in range(documents):
        yield [names[i] for i in rng.integers(symbols, size=length)]


def alphabet(symbols: int) -> list[str]:
    """a .. z, then a1 .. z1 and so on."""
    check(symbols >= 2, 'symbols', symbols, 'use 2 or more')
    return [chr(ord('a') + i % 26) + (str(i // 26) if i >= 26 else '') for i in range(symbols)]


def check(condition: bool, option: str, value: int, remedy: str) -> None:
    if not condition:
        raise UsageError(f'data.source: {option}={value}: {remedy}')


TASKS: dict[str, Callable[..., Iterator[str]]] = {
    'copy': copy,
    'recall': recall,
    'modadd': modadd,
    'induction': induction,
    'reverse': reverse,
}
PAIRED = ('reverse',)  # whose documents are pairs of a source and a target


def parse_options(source: str, kind: str, text: str) -> dict[str, int]:
    """`length=8,seed=1` as whole numbers, completed by the task's defaults."""
    defaults = {name: p.default for name, p in inspect.signature(TASKS[kind]).parameters.items()}
    options = dict(defaults)
    for item in filter(None, text.split(',')):
        key, _, value = item.partition('=')
        if key not in defaults:
            raise UsageError(f'data.source={source!r}: no option {key!r} in {kind}; {nearest(key, defaults)}')
        if not value.isdecimal() or int(value) < (0 if key == 'seed' else 1):
            raise UsageError(
                f'data.source={source!r}: {key}={value!r}: use a whole number above 0, as in {key}={defaults[key]}'
            )
        options[key] = int(value)
    return options
