"""Rows that are a source and a target of their own, for translation, summaries and the like."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks, role
from lmjax.data.sourced import Side, ends_of, sourced_batch
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def sequences(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is a document: a source, the separator, a target, to be told given the source (Sutskever et al. 2014).

    Both have the end token after them and are B x T; nothing is drawn. Rows without a separator score nothing. Documents come
    whole (layout 'documents' of a paired source): the separators between them belong to neither side.
    """
    separator, ends = role(marks, 'separator'), ends_of(marks)

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW = np.concatenate([batch.inputs.ids[:, :1], batch.targets], axis=1)  # with the last token, which none follows
        count_B = (np.asarray(batch.inputs.segments) > 0).sum(axis=1)
        edge = int(store.separator_id is not None)
        index_W = np.arange(ids_BxW.shape[1])[None]
        real_BxW = (index_W >= edge) & (index_W <= count_B[:, None] - edge) & (count_B[:, None] > 0)
        parts_BxW = real_BxW & (ids_BxW == separator)
        width, at_Bx1 = ids_BxW.shape[1] - 1, parts_BxW.argmax(axis=1)[:, None]
        whole_B = parts_BxW.any(axis=1) & (count_B < width + edge)  # a longer row is cut out of something
        source = Side(ids_BxW, real_BxW & (index_W < at_Bx1), width)
        return sourced_batch(source, Side(ids_BxW, real_BxW & (index_W > at_Bx1), width), whole_B, ends)

    return corrupt
