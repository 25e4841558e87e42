"""Questions whose answers stand in a text, from Python's standard library, as JSON lines.

    python -m experiments.make_answers --output=answers.jsonl [--rows=3000]

A text is the headings of a few functions of a file that follow each other, each with the first line of its docstring; it is
asked for the default of an argument of one. Where the argument has none the answer is empty. Answers are written as in SQuAD,
with the place where they begin; each text comes once, so that none to test on was trained on. Printed is one line of JSON with
counts.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from experiments import cli
from experiments.definitions import OUTPUT, Function, definitions, files, heading

_ROWS = flags.DEFINE_integer('rows', 3000, 'How many questions at most.')
TOGETHER = 3  # functions of a text
LONGEST = 40  # signs of a default
ANSWERED = 0.75  # of the questions, where there is a choice


def main(_: Sequence[str]) -> int:
    cli.need((OUTPUT, 'answers.jsonl'))
    draw = random.Random(0)
    every = [row for path in files() for row in rows_of(path, draw)]
    found = list({row['context']: row for row in reversed(every)}.values())
    draw.shuffle(found)
    kept = found[: _ROWS.value]
    cli.write_rows('output', OUTPUT.value, kept)
    print(json.dumps({'questions': len(kept), 'without_answer': sum(not row['answer']['text'] for row in kept)}))
    return 0


def rows_of(path: str, draw: random.Random) -> Iterator[dict[str, Any]]:
    """A question about each text of a file."""
    every = [node for node in definitions(path) if isinstance(node, Function)]
    for begin in range(0, len(every), TOGETHER):
        functions = every[begin : begin + TOGETHER]
        names = [node.name for node in functions]
        asked = [(node, *one) for node in functions if names.count(node.name) == 1 for one in arguments_of(node)]
        answered = draw.random() < ANSWERED
        chosen = [one for one in asked if bool(one[2]) == answered]
        if chosen:
            yield row_of(functions, *draw.choice(chosen))


def row_of(functions: Sequence[Function], asked: Function, name: str, default: str) -> dict[str, Any]:
    lines = [told(node) for node in functions]
    before = sum(len(line) + 1 for line in lines[: functions.index(asked)])
    answer: dict[str, list[Any]] = {'text': [], 'answer_start': []}
    if default:
        found = re.search(rf'(?<!\w){name}=', heading(asked))
        answer = {'text': [default], 'answer_start': [before + found.end()]} if found else answer
    return {'question': f'What is the default of {name} in {asked.name}?', 'context': '\n'.join(lines), 'answer': answer}


def arguments_of(node: Function) -> list[tuple[str, str]]:
    """Names of arguments without annotation, each with its default as it is written, or nothing; too long ones are left out."""
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    pairs = [*zip(plain, defaults, strict=True), *zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    known = [(one.arg, ast.unparse(default) if default else '') for one, default in pairs if not one.annotation]
    return [(name, default) for name, default in known if name not in ('self', 'cls') and len(default) <= LONGEST]


def told(node: Function) -> str:
    """The heading of a function, and the first line of its docstring."""
    summary = (ast.get_docstring(node) or '').partition('\n')[0].strip()
    return heading(node) + (f': {summary}' if summary else '')


if __name__ == '__main__':
    cli.run(main)
