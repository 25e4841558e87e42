"""Texts that are read a little otherwise each time that training sees them: tokens left out, neighbours swapped."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks, noise
from lmjax.data.sourced import to_the_left
from lmjax.data.store import TokenStore
from lmjax.types import Batch

PAIRS, SWAPS, DROPS = 101, 102, 103  # streams of random numbers


def augmented(corrupt: Corruption, marks: Marks, *, drop: float, swap: float) -> Corruption:
    """The same batches with a share `swap` of their tokens in each other's place and then a share `drop` left out.

    Both are drawn token by token (Wei and Zou 2019, section 2, deletion and swap; here of neighbours), of text alone: special
    tokens keep their places in the order, and one token of each text stays.
    """

    def changed(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        batch = corrupt(batch, keys_B, store)
        ids_BxT, segments_BxT = np.asarray(batch.inputs.ids), np.asarray(batch.inputs.segments)
        text_BxT = marks.ordinary[ids_BxT] & (segments_BxT > 0)
        ids_BxT = np.take_along_axis(ids_BxT, swapped(text_BxT, keys_B, swap), axis=1)
        kept_BxT = (segments_BxT > 0) & ~dropped(text_BxT, keys_B, drop)
        width = ids_BxT.shape[1]
        ids_BxT, count_B = to_the_left(ids_BxT, kept_BxT, width)
        types = batch.inputs.types
        types = None if types is None else to_the_left(np.asarray(types), kept_BxT, width)[0]
        real_BxT = np.arange(width)[None] < count_B[:, None]
        return batch._replace(inputs=batch.inputs._replace(ids=ids_BxT, segments=real_BxT.astype(np.int32), types=types))

    return changed


def swapped(text_BxT: np.ndarray, keys_B: np.ndarray, share: float) -> np.ndarray:
    """Where each token comes from, B x T: pairs of neighbours, from the first or the second token on, change places."""
    B, T = text_BxT.shape
    index_BxT = np.broadcast_to(np.arange(T), (B, T)).copy()
    begins_BxT = index_BxT % 2 == (noise(keys_B, PAIRS, 1) < 0.5)
    chosen_BxT = begins_BxT & text_BxT & np.roll(text_BxT, -1, axis=1) & (noise(keys_B, SWAPS, T) < share)
    chosen_BxT[:, -1] = False
    rows, columns = np.nonzero(chosen_BxT)
    index_BxT[rows, columns], index_BxT[rows, columns + 1] = columns + 1, columns
    return index_BxT


def dropped(text_BxT: np.ndarray, keys_B: np.ndarray, share: float) -> np.ndarray:
    """Which tokens of text are left out, B x T bool; of each text the one that was drawn last of all stays."""
    drawn_BxT = np.where(text_BxT, noise(keys_B, DROPS, text_BxT.shape[1]), -1.0)
    is_last_BxT = drawn_BxT == drawn_BxT.max(axis=1, keepdims=True)
    return text_BxT & (drawn_BxT < share) & ~is_last_BxT
