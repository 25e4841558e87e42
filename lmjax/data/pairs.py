"""Rows of two texts, of which it is told how they belong together."""

from __future__ import annotations

import numpy as np

from lmjax.config import choose
from lmjax.data.marks import Corruption, Marks, noise, role
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs


def paired(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each window as two texts, `class A separator B separator`, of types 0 and 1, and a label for the row.

    With pairs='next' every other B is from anywhere (label 1) and else what follows A (0) (Devlin et al. 2019, section 3.1);
    with 'order' every other pair is swapped (1) (Lan et al. 2020, section 3.1). A window's last three tokens make room.
    """
    first, separator = role(marks, 'class'), role(marks, 'separator')
    is_other = choose({'next': True, 'order': False}, objective.pairs, 'objective.pairs')

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxT, segments_BxT = np.asarray(batch.inputs.ids), batch.inputs.segments
        B, T = ids_BxT.shape
        half = (T - 3) // 2
        real_BxT = np.ones((B, T), np.int32) if segments_BxT is None else np.asarray(segments_BxT)
        one, two = ids_BxT[:, :half], ids_BxT[:, half : 2 * half]
        changed_Bx1 = noise(keys_B, 3, 1) < 0.5
        starts_Bx1 = (noise(keys_B, 4, 1) * (len(store) - half)).astype(np.int64)
        other = store.tokens[starts_Bx1 + np.arange(half)].astype(np.int32) if is_other else one
        left, right = one if is_other else np.where(changed_Bx1, two, one), np.where(changed_Bx1, other, two)
        column = np.ones((B, 1), np.int32)
        ids = np.concatenate([first * column, left, separator * column, right, separator * column], axis=1)
        # Only the end of a text has padding, and there no label.
        whole_B = real_BxT.all(axis=1)
        shown = np.concatenate([column, real_BxT[:, :half], column, real_BxT[:, half : 2 * half], column], axis=1)
        types = np.repeat(np.array([[0, 1]], np.int32), (half + 2, half + 1), axis=1) * column
        segments = None if segments_BxT is None else np.where(real_BxT[:, :1] > 0, shown, 0).astype(np.int32)
        inputs = Inputs(ids.astype(np.int32), segments=segments, types=types)
        labels_B = np.where(whole_B, changed_Bx1[:, 0], -1).astype(np.int32)
        return Batch(inputs, ids, np.ones(ids.shape, np.float32), labels=labels_B)

    return corrupt
