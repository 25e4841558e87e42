"""Pictures of emoji: which are drawn, and what stands in the rows."""

import json

import pytest
from PIL import Image, ImageDraw

from experiments.make_emoji import draw, drawn, names_of
from lmjax.config import UsageError
from lmjax.data.sources import open_source


class Font:
    """A font whose signs are discs of a colour that follows from their number; it lacks the letter Z."""

    def getbbox(self, text):
        return (0, 10, 0 if text == 'Z' else 40 * len(text) ** 2, 50)

    def paint(self, image, at, text):
        colour = tuple((37 * ord(text[0]) * k) % 200 for k in (1, 2, 3))
        ImageDraw.Draw(image).ellipse((at[0], at[1] + 10, at[0] + 39, at[1] + 49), fill=colour)


@pytest.fixture
def font(monkeypatch):
    font, original = Font(), ImageDraw.Draw

    class Pen:
        def __init__(self, image):
            self.image = image

        def text(self, at, text, *, font, embedded_color):
            assert embedded_color
            monkeypatch.setattr(ImageDraw, 'Draw', original)
            font.paint(self.image, at, text)
            monkeypatch.setattr(ImageDraw, 'Draw', Pen)

    monkeypatch.setattr(ImageDraw, 'Draw', Pen)
    return font


def test_each_emoji_is_drawn_once_in_a_square(font, tmp_path):
    names = [
        {'emoji': 'A', 'label': 'first', 'hexcode': '41', 'group': 0},
        {'emoji': 'B', 'label': 'letter', 'hexcode': '42'},
        {'emoji': 'C', 'label': 'man: A', 'hexcode': '43-200D-41', 'group': 1},
        {'emoji': 'Z', 'label': 'lacking', 'hexcode': '5A', 'group': 1},
        {'emoji': 'AAA', 'label': 'many signs', 'hexcode': '41-41-41', 'group': 1},
        {'emoji': 'A', 'label': 'again', 'hexcode': 'FF', 'group': 1},
        {'emoji': 'D', 'label': 'last', 'hexcode': '44', 'group': 2},
    ]
    counts = dict.fromkeys(('letters_and_tones', 'joined', 'not_in_the_font', 'looks_like_another'), 0)
    rows = list(drawn(names, font, str(tmp_path), counts))
    assert rows == [
        {'picture': '41.png', 'caption': 'first', 'group': 0},
        {'picture': '44.png', 'caption': 'last', 'group': 2},
    ]
    assert list(counts.values()) == [1, 1, 2, 1]
    image = Image.open(tmp_path / '41.png')
    assert image.size == (40, 40)
    assert image.getpixel((20, 20)) == tuple((37 * 65 * k) % 200 for k in (1, 2, 3))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    assert len(list(open_source(f'pictures:{tmp_path}/rows.jsonl').documents())) == 2


def test_a_sign_that_paints_nothing_is_not_there(font):
    font.paint = lambda image, at, text: None
    assert draw('A', font) is None


def test_a_file_of_other_names_is_refused(tmp_path):
    path = tmp_path / 'names.json'
    for content, problem in (('no json', 'no JSON'), ('[{"label": "a"}]', 'is no list of objects with emoji')):
        path.write_text(content)
        with pytest.raises(UsageError, match=problem):
            names_of(str(path))
