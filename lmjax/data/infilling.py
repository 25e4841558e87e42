"""Text with a gap: a prefix and a suffix are shown, and what stands between them is told after both."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from lmjax.config import require
from lmjax.data.chats import SAID
from lmjax.data.marks import Corruption, Marks, noise, role
from lmjax.data.parallel_text import SIGN
from lmjax.data.rows import open_rows
from lmjax.data.sourced import to_the_left
from lmjax.data.sources import Source
from lmjax.data.special_tokens import GAP, end_id, needed
from lmjax.data.store import OUTSIDE, TokenStore
from lmjax.data.texts import whole_texts
from lmjax.data.tokenizers import Tokenizer
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs

MARKED = len(GAP) + 1  # tokens that a text gains: a mark before each of its parts, and the end


def open_infill(name: str, argument: str) -> Source:
    """Rows with what stands before a gap, what stands after it, and what belongs into it; the first two may be empty."""

    def document(shown: list[object], middle: object, place: str) -> str | None:
        if not (all(isinstance(part, str) for part in shown) and isinstance(middle, str) and middle and any(shown)):
            return None
        return SIGN.join(json.dumps(part, ensure_ascii=False) for part in (shown, middle))

    return open_rows(name, argument, kind='middle', default='prefix,suffix,middle', document=document, texts=(2,))


def sides_of(text: str) -> tuple[str, str]:
    """The prefix and the suffix of a text. Raises UsageError unless it is a JSON list of the two."""
    try:
        sides = json.loads(text)
    except ValueError:
        sides = None
    fits = isinstance(sides, list) and len(sides) == 2 and all(isinstance(side, str) for side in sides)
    require(fits, 'text', text, 'this network fills a gap; give a JSON list of what stands before and after it')
    return sides[0], sides[1]


def plain_sides(text: str) -> str:
    """What is shown of a text, as a person reads it."""
    return ''.join(sides_of(text))


def encode_middles(
    texts: Sequence[str], middles: Sequence[str], tokenizer: Tokenizer, *, seq_len: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of each text with what belongs into its gap, and SAID for each token of that, its end too.

    Of what is shown the nearest to the gap stays, so that there are `seq_len` + 1 ids at most. A tokenizer without the marks of
    GAP reads the prefix alone, and no end is told.

    Raises UsageError for a middle that does not fit.
    """
    ids, tags = [], []
    for text, written in zip(texts, middles, strict=True):
        middle = tokenizer.encode_rendered(json.loads(written))
        ends = np.array([end_id(tokenizer)] if has_gaps(tokenizer) else [], np.int32)
        room = seq_len + 1 - len(middle) - len(ends)
        remedy = f'has {len(middle)} tokens, too many for data.seq_len={seq_len}; use {len(middle) + 2 * MARKED} or more'
        require(room > MARKED, 'middle', json.loads(written), remedy)
        shown = shown_ids(text, tokenizer, room)
        ids.append(np.concatenate([shown, middle, ends]).astype(np.int32))
        tags.append(np.repeat([OUTSIDE, SAID], [len(shown), len(middle) + len(ends)]))
    return ids, tags


def has_gaps(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer has all marks of GAP."""
    return all(name in tokenizer.specials for name in GAP)


def shown_ids(text: str, tokenizer: Tokenizer, room: int) -> np.ndarray:
    """What is read before a middle is told, at most `room` ids: `prefix, p, suffix, s, middle`, or p as a document begins."""
    prefix, suffix = (tokenizer.encode_rendered(side) for side in sides_of(text))
    if not has_gaps(tokenizer):
        start = [] if tokenizer.separator_id is None else [tokenizer.separator_id]
        return np.append(np.array(start, np.int32), prefix)[-room:]
    room -= len(GAP)
    after = min(len(suffix), max(room // 2, room - len(prefix)))
    before = min(len(prefix), room - after)
    begin, then, last = (np.array([tokenizer.specials[name]], np.int32) for name in GAP)
    return np.concatenate([begin, prefix[len(prefix) - before :], then, suffix[:after], last])


def infilled(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """A share of the rows have their middle after their end (Bavarian et al. 2022, section 3, PSM), the rest are as they were.

    The row is cut in two places, all as likely and one as the other, and becomes `prefix, p, suffix, s, middle, m, end`, all of
    which is scored but the first token. A row of seq_len tokens loses its last ones to make room for the marks. Parts are cut
    between tokens: so that texts which are cut within words look alike, tokens should be bytes or characters (section 4.4).

    Raises UsageError where the tokenizer lacks the marks, or an end.
    """
    roles = [*(role(marks, name) for name in GAP), needed(marks.end, 'end', marks.specials)]

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW, kept_BxW = whole_texts(batch, store)
        text_BxW, count_B = to_the_left(ids_BxW, kept_BxW, ids_BxW.shape[1])
        count_B = np.minimum(count_B, ids_BxW.shape[1] - MARKED)
        drawn_Bx3 = noise(keys_B, 0, 3)
        cuts_Bx2 = np.sort((drawn_Bx3[:, :2] * (count_B[:, None] + 1)).astype(np.int64), axis=1)
        chosen_Bx1 = ((drawn_Bx3[:, 2] < objective.infill_rate) & (count_B > 0))[:, None]
        row_BxW, real_BxT = rearranged(text_BxW, count_B, cuts_Bx2, roles)
        segments_BxT = batch.inputs.segments
        was_BxT = np.ones(real_BxT.shape, bool) if segments_BxT is None else np.asarray(segments_BxT) > 0
        ids_BxT = np.where(chosen_Bx1, row_BxW[:, :-1] * real_BxT, batch.inputs.ids).astype(np.int32)
        return Batch(
            Inputs(ids_BxT, segments=np.where(chosen_Bx1, real_BxT, was_BxT).astype(np.int32)),
            np.where(chosen_Bx1, row_BxW[:, 1:] * real_BxT, batch.targets).astype(np.int32),
            np.where(chosen_Bx1, real_BxT, batch.weights).astype(np.float32),
        )

    return corrupt


def rearranged(
    text_BxW: np.ndarray, count_B: np.ndarray, cuts_Bx2: np.ndarray, roles: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Texts with the marks of GAP and an end, their middles last, B x W; and which of their ids have a next, B x (W - 1)."""
    B, W = text_BxW.shape
    start_B, stop_B = cuts_Bx2.T
    row = np.zeros((B, W + 1), np.int32)  # the last for what is left out
    np.put_along_axis(row, places_of(cuts_Bx2, count_B, W), text_BxW, axis=1)
    places = np.stack([0 * start_B, start_B + 1, start_B + count_B - stop_B + 2, count_B + MARKED - 1], axis=1)
    np.put_along_axis(row, places, np.array(roles, np.int32)[None], axis=1)
    return row[:, :W], np.arange(W - 1)[None] < count_B[:, None] + MARKED - 1


def places_of(cuts_Bx2: np.ndarray, count_B: np.ndarray, width: int) -> np.ndarray:
    """Where each token of a text goes once its middle stands last, B x width; `width` for those beyond the count."""
    index_W, (start_Bx1, stop_Bx1), count_Bx1 = np.arange(width)[None], np.split(cuts_Bx2, 2, axis=1), count_B[:, None]
    told_Bx1 = 3 + start_Bx1 + count_Bx1 - stop_Bx1  # where the middle begins
    before, between = index_W < start_Bx1, index_W < stop_Bx1
    place_BxW = np.where(before, index_W + 1, np.where(between, told_Bx1 - start_Bx1, 2 + start_Bx1 - stop_Bx1) + index_W)
    return np.where(index_W < count_Bx1, place_BxW, width)
