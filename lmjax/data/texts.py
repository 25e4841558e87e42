"""Rows that are scored as a whole, for vectors of texts."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def texts(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is one text, as it stands, that counts once if it has any token; targets (zeros) and weights are B x 1."""

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        segments_BxT = batch.inputs.segments
        real_BxT = np.ones(batch.inputs.ids.shape, bool) if segments_BxT is None else np.asarray(segments_BxT) > 0
        weights_Bx1 = np.asarray(real_BxT.any(axis=1, keepdims=True), np.float32)
        return Batch(batch.inputs, np.zeros(weights_Bx1.shape, np.int32), weights_Bx1)

    return corrupt
