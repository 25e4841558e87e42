"""Functions with a line to fill in."""

import ast

from experiments.make_gaps import SHORTEST, functions_of, lines_of, row_of

SOURCE = '''
class A:
    @property
    def b(
        self,
    ):
        """Tells b."""
        if self.c:
            x = 1

            return self.c + 1  
        return 0

    def d(self):
        return """
at the left"""


def e(): return 1
'''


def test_each_line_of_a_body_can_be_filled_in(tmp_path):
    (tmp_path / 'a.py').write_text(SOURCE)
    found = sorted(functions_of(str(tmp_path / 'a.py')))
    whole = next(text for text in found if text.startswith('@property'))
    assert ast.parse(whole).body[0].name == 'b'
    rows = [row_of(whole, number) for number in lines_of(whole)]
    assert [row['middle'] for row in rows] == ['"""Tells b."""', 'if self.c:', 'return self.c + 1', 'return 0']
    assert all(row['prefix'] + row['middle'] + row['suffix'] == row['text'] == whole for row in rows)
    assert all(len(row['middle']) >= SHORTEST for row in rows)
    assert rows[2]['suffix'].startswith('  \n')
    assert [lines_of(text) for text in found if text != whole] == [[], []]
