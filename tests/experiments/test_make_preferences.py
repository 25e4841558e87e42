"""Pairs of docstrings: what is read of the standard library, and which line is the wrong one."""

import ast
import random

from experiments.make_preferences import NEAR, first_line, pairs

LINES = [(f'def f{n}(x)', f'Tells a thing{"!" * (n // 2)}{chr(97 + 7 * n % 26)}') for n in range(100)]


def test_the_first_line_of_a_docstring_is_read():
    def read(body):
        return first_line(ast.parse(f'def f():\n{body}\n    return 1').body[0])

    assert read('    """Tells a thing.\n\n    And more."""') == 'Tells a thing.'
    assert (read('    """Short."""'), read('    pass')) == ('', '')
    assert first_line(ast.parse('class A:\n    """Tells a thing."""').body[0]) == ''


def test_each_line_has_another_of_about_its_length():
    rows = pairs(LINES, random.Random(0))
    assert sorted(row['chosen'] for row in rows) == sorted({line for _, line in LINES})
    firsts = {line: head for head, line in reversed(LINES)}
    for row in rows:
        assert row['prompt'] == f'{firsts[row["chosen"]]}:\n    """'
        assert row['text'] == row['prompt'] + row['chosen']
        assert abs(len(row['chosen']) - len(row['rejected'])) <= NEAR // 4
        assert row['chosen'] != row['rejected']
    assert [row['chosen'] for row in rows] != sorted(row['chosen'] for row in rows)
    assert pairs(LINES, random.Random(0)) == rows
