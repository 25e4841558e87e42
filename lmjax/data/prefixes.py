"""Prefixes that are seen whole, for prefix language models."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks, noise
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def prefix(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """The first tokens of each document are open to all of it and not scored (Raffel et al. 2020, section 3.2.1).

    Of a document's n tokens in a row 1 to n - 1 are its prefix, each number as likely; the last of them tells the first that
    is scored.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxT, segments_BxT = np.asarray(batch.inputs.ids), batch.inputs.segments
        segments_BxT = np.ones(ids_BxT.shape, np.int32) if segments_BxT is None else np.asarray(segments_BxT)
        first_BxT, last_BxT = bounds(segments_BxT)
        share_BxT = np.take_along_axis(noise(keys_B, 0, ids_BxT.shape[1]), first_BxT, axis=1)
        size_BxT = 1 + (share_BxT * (last_BxT - first_BxT)).astype(np.int64)
        place_BxT = np.arange(ids_BxT.shape[1])[None] - first_BxT
        open_BxT = (place_BxT < size_BxT) & (segments_BxT > 0)
        weights_BxT = np.where(place_BxT >= size_BxT - 1, batch.weights, 0).astype(np.float32)
        return batch._replace(inputs=batch.inputs._replace(open=open_BxT), weights=weights_BxT)

    return corrupt


def bounds(segments_BxT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the segment of each token begins and ends, the last one included; both B x T."""
    index_T = np.arange(segments_BxT.shape[1])
    changes_BxT = np.diff(segments_BxT, axis=1) != 0
    edge_Bx1 = np.ones((len(segments_BxT), 1), bool)
    starts_BxT = np.concatenate([edge_Bx1, changes_BxT], axis=1)
    ends_BxT = np.concatenate([changes_BxT, edge_Bx1], axis=1)
    first_BxT = np.maximum.accumulate(np.where(starts_BxT, index_T[None], 0), axis=1)
    last_BxT = np.minimum.accumulate(np.where(ends_BxT, index_T[None], len(index_T))[:, ::-1], axis=1)[:, ::-1]
    return first_BxT, last_BxT
