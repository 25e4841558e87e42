"""Functions of Python's standard library, each with a line to fill in, as JSON lines.

    python -m experiments.make_gaps --output=gaps.jsonl [--bytes=300]

A row has the `text` of a function of 300 bytes at most, and the same in three parts: what stands before one of the
lines of its body (`prefix`, with the line's indentation), that line (`middle`, 8 signs or more) and what stands after it
(`suffix`, from the end of the line on). Each function comes once, in random order. Printed is one line of JSON with counts.
"""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Iterator, Sequence

from absl import flags

from experiments import cli
from experiments.definitions import OUTPUT, Function, definitions, files
from lmjax.data.sources import read_bytes

_BYTES = flags.DEFINE_integer('bytes', 300, 'Longer functions are left out.')
SHORTEST = 8  # signs of a line that is filled in


def main(_: Sequence[str]) -> int:
    cli.need((OUTPUT, 'gaps.jsonl'))
    draw = random.Random(0)
    every = list(dict.fromkeys(text for path in files() for text in functions_of(path)))
    draw.shuffle(every)
    short = [text for text in every if len(text.encode()) <= _BYTES.value]
    rows = [row_of(text, draw.choice(lines)) for text in short if (lines := lines_of(text))]
    cli.write_rows('output', OUTPUT.value, rows)
    print(json.dumps({'functions': len(rows), 'too_long': len(every) - len(short), 'without_line': len(short) - len(rows)}))
    return 0


def functions_of(path: str) -> Iterator[str]:
    """The source of each function of a file, with its decorators, as if it stood by itself."""
    lines = read_bytes(path).decode('utf-8-sig', 'replace').splitlines()
    for node in definitions(path):
        if isinstance(node, Function):
            begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield textwrap.dedent('\n'.join(lines[begin - 1 : node.end_lineno])) + '\n'


def lines_of(text: str) -> list[int]:
    """The numbers of the lines after a function's heading that are long enough; none where a string reaches further left."""
    lines = text.split('\n')
    headings = [number for number, line in enumerate(lines) if line.startswith(('def ', 'async def '))]
    return [number for number, line in enumerate(lines) if headings and number > headings[0] and len(line.strip()) >= SHORTEST]


def row_of(text: str, number: int) -> dict[str, str]:
    """A function and its parts, where a line is filled in."""
    lines = text.split('\n')
    middle = lines[number].strip()
    indent, _, trailing = lines[number].partition(middle)
    prefix = '\n'.join([*lines[:number], indent])
    suffix = '\n'.join([trailing, *lines[number + 1 :]])
    return {'text': text, 'prefix': prefix, 'middle': middle, 'suffix': suffix}


if __name__ == '__main__':
    cli.run(main)
