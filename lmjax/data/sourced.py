"""Rows of a source for the encoder and a target for the decoder, packed to the left into arrays of fixed shapes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmjax.data.marks import Marks
from lmjax.data.special_tokens import needed
from lmjax.data.store import TokenStore
from lmjax.types import Batch, Inputs


class Side(NamedTuple):
    """One side of a batch: of each row the ids where `kept`, in their order, in arrays of `width` with the end token."""

    ids: np.ndarray  # B x W int32
    kept: np.ndarray  # B x W bool
    width: int


class Ends(NamedTuple):
    """What a decoder's text begins with, and what ends both sides."""

    start: int
    end: int


def ends_of(marks: Marks) -> Ends:
    """Raises UsageError where the tokenizer has neither such roles nor a separator."""
    return Ends(needed(marks.start, 'start', marks.specials), needed(marks.end, 'end', marks.specials))


def texts_of(batch: Batch, store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """Ids, B x T int32, and which of them are the row's text, B x T bool: no padding, and no separator at either end.

    A target that began with the separator would begin as texts end; one that ended with it would end twice.
    """
    ids_BxT, segments_BxT = np.asarray(batch.inputs.ids), batch.inputs.segments
    real_BxT = np.ones(ids_BxT.shape, bool) if segments_BxT is None else np.asarray(segments_BxT) > 0
    if store.separator_id is not None:
        index_T = np.arange(ids_BxT.shape[1])[None]
        edge_BxT = (index_T == 0) | (index_T == real_BxT.sum(axis=1)[:, None] - 1)
        real_BxT = real_BxT & ~(edge_BxT & (ids_BxT == store.separator_id))
    return ids_BxT, real_BxT


def to_the_left(ids_BxW: np.ndarray, kept_BxW: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The kept ids of each row in their order, B x width int32 and 0 beyond them, and how many they are, B."""
    packed = np.zeros((len(ids_BxW), width), np.int32)
    rows, columns = np.nonzero(kept_BxW)
    packed[rows, np.cumsum(kept_BxW, axis=1)[rows, columns] - 1] = ids_BxW[rows, columns]
    return packed, kept_BxW.sum(axis=1)


def ended(side: Side, whole_B: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids with the end token after them, and which are real, both B x width; rows that are not whole have none."""
    ids, count_B = to_the_left(side.ids, side.kept & whole_B[:, None], side.width)
    rows = np.flatnonzero(whole_B)
    ids[rows, count_B[rows]] = end
    return ids, np.arange(side.width)[None] < (count_B + whole_B)[:, None]


def sourced_batch(source: Side, target: Side, whole_B: np.ndarray, ends: Ends) -> Batch:
    """The batch that asks for the target given the source; rows that are not whole are padding and score nothing.

    The decoder reads the start token and then the target less its last token (Sutskever et al. 2014, section 2).
    """
    source_ids, source_mask = ended(source, whole_B, ends.end)
    targets, real = ended(target, whole_B, ends.end)
    ids = np.roll(targets, 1, axis=1)
    ids[:, 0] = ends.start
    inputs = Inputs(
        np.where(real, ids, 0).astype(np.int32),
        segments=real.astype(np.int32),
        source_ids=source_ids,
        source_mask=source_mask,
    )
    return Batch(inputs, targets, real.astype(np.float32))
