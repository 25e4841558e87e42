"""Pairs of a document and its summary from the docstrings of Python's standard library, as JSON lines.

    python -m experiments.make_summaries --output=summaries.jsonl

The summary is a docstring's first line, with an empty line after it; the document is what follows, with the line that defines
the function or class at its end. Shorter ones than three and five words are left out, and folders of tests. Each document and
each summary comes once, so that rows to test on do not occur among those to train on. Printed is one line of JSON with counts.
"""

from __future__ import annotations

import ast
import inspect
import json
import random
from collections.abc import Iterator, Sequence

from experiments import cli
from experiments.definitions import OUTPUT, definitions, files, heading

WORDS = (3, 5)  # that a summary and what follows it have at least


def main(_: Sequence[str]) -> int:
    cli.need((OUTPUT, 'summaries.jsonl'))
    found = [pair for path in files() for pair in pairs_of(path)]
    kept = once(found)
    random.Random(0).shuffle(kept)  # neighbours in a file are alike: rows modulo 10 are then as far apart as any
    cli.write_rows('output', OUTPUT.value, ({'document': document, 'summary': summary} for document, summary in kept))
    print(json.dumps({'pairs': len(kept), 'repeated': len(found) - len(kept)}))
    return 0


def pairs_of(path: str) -> Iterator[tuple[str, str]]:
    """Documents and summaries of a file's functions and classes."""
    for node in definitions(path):
        summary, _, rest = inspect.cleandoc(ast.get_docstring(node) or '').partition('\n')
        if rest.startswith('\n') and len(summary.split()) >= WORDS[0] and len(rest.split()) >= WORDS[1]:
            yield f'{rest.strip()}\n\n{heading(node)}', summary.strip()


def once(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those whose summary, and whose text before the heading, did not come before."""
    seen: set[str] = set()
    kept = []
    for document, summary in pairs:
        keys = {summary.lower(), document.rpartition('\n')[0].lower()}
        if not keys & seen:
            kept.append((document, summary))
        seen |= keys
    return kept


if __name__ == '__main__':
    cli.run(main)
