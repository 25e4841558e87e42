"""Which sentence says what a function does: pairs made of Python's standard library, as JSON lines.

    python -m experiments.make_preferences --output=pairs.jsonl

A row has the heading of a function up to where its docstring begins (`prompt`), the first line of that (`chosen`), and that of
another function (`rejected`), drawn once, among those of about as many characters. No first line comes twice as `chosen`.
`text` is the prompt with what belongs to it, for a network to begin with.
Printed is one line of JSON with counts.
"""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Sequence

from experiments import cli
from experiments.definitions import OUTPUT, Function, definitions, files, heading

NEAR = 20  # lines next in length, among which the rejected one is drawn
SHORTEST = 10  # characters of a line


def main(_: Sequence[str]) -> int:
    cli.need((OUTPUT, 'pairs.jsonl'))
    found = [(heading(node), line) for path in files() for node in definitions(path) if (line := first_line(node))]
    rows = pairs(found, random.Random(0))
    cli.write_rows('output', OUTPUT.value, rows)
    print(json.dumps({'pairs': len(rows), 'repeated': len(found) - len(rows)}))
    return 0


def first_line(node: ast.AST) -> str:
    """That of a function's docstring; empty where it is short or there is none."""
    line = ((ast.get_docstring(node) or '') if isinstance(node, Function) else '').split('\n')[0].strip()
    return line if len(line) >= SHORTEST else ''


def pairs(found: Sequence[tuple[str, str]], draw: random.Random) -> list[dict[str, str]]:
    """A row for each distinct line, in random order."""
    distinct = list({line: head for head, line in reversed(found)}.items())  # of equal lines the first heading
    by_length = sorted((line for line, _ in distinct), key=lambda line: (len(line), line))
    places = {line: at for at, line in enumerate(by_length)}
    draw.shuffle(distinct)
    rows = []
    for line, head in distinct:
        at = places[line]
        near = [other for other in by_length[max(0, at - NEAR // 2) : at + NEAR // 2 + 1] if other != line]
        prompt = f'{head}:\n    """'
        rows.append({'prompt': prompt, 'chosen': line, 'rejected': draw.choice(near), 'text': prompt + line})
    return rows


if __name__ == '__main__':
    cli.run(main)
