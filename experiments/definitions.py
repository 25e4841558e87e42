"""What Python's standard library defines, for the scripts that make texts of it."""

from __future__ import annotations

import ast
import os
import sysconfig
from collections.abc import Iterator

from absl import flags

from lmjax.data.sources import library_files

OUTPUT = flags.DEFINE_string('output', '', 'The file that is written.')  # of every script that makes texts

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def files() -> list[str]:
    """The paths of its files, without tests."""
    root = sysconfig.get_path('stdlib')
    return [os.path.join(root, path) for path in library_files(root)]


def definitions(path: str) -> Iterator[Definition]:
    """The functions and classes of a file; none where it cannot be parsed."""
    with open(path, 'rb') as file:
        try:
            tree = ast.parse(file.read())
        except (SyntaxError, ValueError):
            return
    yield from (node for node in ast.walk(tree) if isinstance(node, Definition))


def heading(node: Definition) -> str:
    """The line that defines a function or a class."""
    if isinstance(node, ast.ClassDef):
        return f'class {node.name}'
    return f'def {node.name}({ast.unparse(node.args)})'
