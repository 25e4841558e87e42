"""Pictures of emoji with their names, as PNG files and rows that name them.

    python -m experiments.make_emoji --font=NotoColorEmoji.ttf --names=data.json --folder=emoji

The font is Debian's fonts-noto-color-emoji, the names are `en/data.json` of the npm package emojibase-data. Written are a
picture of each emoji and `rows.jsonl` in the order of the file of names: `picture`, `caption` (the name), `group`. Left out,
and counted in the line of JSON that is printed, are letters by themselves and sequences that join several emoji (ZWJ: men and
women of each occupation, families), since these are one picture many times and would stand on both sides of a split, as would
skin tones, which that file has apart; what the font lacks; and what looks like an emoji before it (the flags of some islands).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from experiments import cli
from lmjax.config import UsageError, require

_FONT = flags.DEFINE_string('font', '', 'A font of coloured pictures, as NotoColorEmoji.ttf.')
_NAMES = flags.DEFINE_string('names', '', 'A JSON list of objects with emoji, label, hexcode and group.')
_FOLDER = flags.DEFINE_string('folder', '', 'Where the pictures and rows.jsonl are put.')
SIZE = 109  # pixels: the one size of Noto's bitmaps
JOINER = '200D'


def main(_: Sequence[str]) -> int:
    cli.need((_FONT, 'NotoColorEmoji.ttf'), (_NAMES, 'data.json'), (_FOLDER, 'emoji'))
    counts: Counter[str] = Counter()
    os.makedirs(_FOLDER.value, exist_ok=True)
    rows = list(drawn(names_of(_NAMES.value), font_of(_FONT.value), _FOLDER.value, counts))
    cli.write_rows('folder', os.path.join(_FOLDER.value, 'rows.jsonl'), rows)
    print(json.dumps({'pictures': len(rows), **counts}))
    return 0


def names_of(path: str) -> list[dict[str, Any]]:
    """What the file of names has. Raises UsageError where it is another."""
    try:
        found = json.loads(cli.read_text('names', path))
    except ValueError as error:
        raise UsageError(f'--names={path!r}: no JSON ({error}); name en/data.json of emojibase-data') from None
    sound = isinstance(found, list) and all(
        isinstance(one, dict) and {'emoji', 'label', 'hexcode'} <= set(one) for one in found
    )
    require(sound, '--names', path, 'is no list of objects with emoji, label and hexcode; name en/data.json of emojibase-data')
    return found


def font_of(path: str) -> Any:
    """The font at its size. Raises UsageError for one that has no such size."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(path, SIZE)
    except OSError as error:
        raise UsageError(f'--font={path!r}: cannot be used at {SIZE} pixels ({error}); name NotoColorEmoji.ttf') from None


def drawn(names: Sequence[dict[str, Any]], font: Any, folder: str, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """The row of each emoji whose picture was written; of all others it is counted why not."""
    seen: set[bytes] = set()
    for one in names:
        reason = reason_to_leave(one)
        picture = None if reason else draw(one['emoji'], font)
        if picture is None:
            counts[reason or 'not_in_the_font'] += 1
            continue
        if picture.tobytes() in seen:
            counts['looks_like_another'] += 1
            continue
        seen.add(picture.tobytes())
        name = f'{one["hexcode"]}.png'
        picture.save(os.path.join(folder, name))
        yield {'picture': name, 'caption': one['label'], 'group': one['group']}


def reason_to_leave(one: dict[str, Any]) -> str:
    if 'group' not in one:
        return 'letters_and_tones'
    return 'joined' if JOINER in one['hexcode'].split('-') else ''


def draw(emoji: str, font: Any) -> Any:
    """The picture on white; None where the font has none, which draws nothing, or several signs."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = map(round, font.getbbox(emoji))
    if right - left <= 0 or bottom - top <= 0 or right - left > 2 * SIZE:
        return None
    side = max(right - left, bottom - top)
    image = Image.new('RGBA', (side, side), 'white')
    at = ((side - (right - left)) // 2 - left, (side - (bottom - top)) // 2 - top)
    ImageDraw.Draw(image).text(at, emoji, font=font, embedded_color=True)
    return image.convert('RGB') if len(image.getcolors(1 << 20) or ()) > 1 else None


if __name__ == '__main__':
    cli.run(main)
