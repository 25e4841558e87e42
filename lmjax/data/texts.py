"""Rows that are scored as a whole, for vectors of texts."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks
from lmjax.data.sourced import texts_of, to_the_left
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs


def texts(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is one text, as it would be read by itself, that counts once if it has any token.

    No separator stands at its ends, and its last token, which none follows, is there. Targets (zeros) and weights are B x 1.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        B, T = batch.inputs.ids.shape
        segments_BxT = batch.inputs.segments
        own_B = np.full(B, T) if segments_BxT is None else (np.asarray(segments_BxT) > 0).sum(axis=1)
        whole = Inputs(
            np.concatenate([batch.inputs.ids[:, :1], batch.targets], axis=1),
            segments=np.arange(T + 1)[None] < (own_B + (own_B > 0))[:, None],
        )
        ids_BxW, count_B = to_the_left(*texts_of(batch._replace(inputs=whole), store), T + 1)
        real_BxT = np.arange(T)[None] < count_B[:, None]
        inputs = Inputs(np.where(real_BxT, ids_BxW[:, :T], 0).astype(np.int32), segments=real_BxT.astype(np.int32))
        weights_Bx1 = np.asarray(real_BxT.any(axis=1, keepdims=True), np.float32)
        return Batch(inputs, np.zeros(weights_Bx1.shape, np.int32), weights_Bx1, labels=batch.labels)

    return corrupt
