"""Hiding a share of the tokens, for masked language models."""

from __future__ import annotations

import numpy as np

from lmjax.data.marks import Corruption, Marks, noise, role
from lmjax.data.pairs import paired
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def masked(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """A share of the tokens is hidden, to be told from all others (Devlin et al. 2019, section 3.1 and appendix A.1).

    Of a row's n tokens `round(mask_fraction x n)` are hidden, at least one: `mask_replaced` of them become the mask,
    `mask_random` a random token, the rest stay. With `whole_words` they are whole words, so far as these fit. Each time that a
    row is read others are hidden (Liu et al. 2019, section 4.1). Targets and weights are B x K, at the positions `at`.
    """
    mask_id = role(marks, 'mask')
    drawn = np.flatnonzero(marks.ordinary)
    pair = paired(objective, marks) if objective.pairs else None

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        batch = batch if pair is None else pair(batch, keys_B, store)
        ids_BxT, segments_BxT = np.asarray(batch.inputs.ids), batch.inputs.segments
        B, T = ids_BxT.shape
        rank_BxT, how_BxT, which_BxT = (noise(keys_B, stream, T) for stream in range(3))
        hideable_BxT = marks.ordinary[ids_BxT] & (True if segments_BxT is None else np.asarray(segments_BxT) > 0)
        at_BxK, weights_BxK = pick(ids_BxT, hideable_BxT, rank_BxT, objective, marks)
        chosen_BxT = np.zeros((B, T), bool)
        np.put_along_axis(chosen_BxT, at_BxK, weights_BxK > 0, axis=1)
        random_BxT = drawn[(which_BxT * len(drawn)).astype(np.int64)]
        edge = objective.mask_replaced
        shown_BxT = np.where(how_BxT < edge, mask_id, np.where(how_BxT < edge + objective.mask_random, random_BxT, ids_BxT))
        inputs = batch.inputs._replace(ids=np.where(chosen_BxT, shown_BxT, ids_BxT).astype(np.int32))
        return Batch(inputs, np.take_along_axis(ids_BxT, at_BxK, axis=1), weights_BxK, at_BxK, batch.labels)

    return corrupt


def pick(
    ids_BxT: np.ndarray, hideable_BxT: np.ndarray, rank_BxT: np.ndarray, objective: ObjectiveConfig, marks: Marks
) -> tuple[np.ndarray, np.ndarray]:
    """Which positions of each row are hidden, B x K in order, and 1.0 for each that is meant; K is the share of a whole row."""
    T = hideable_BxT.shape[1]
    K, total_B = int(budget(np.array(T), objective)), hideable_BxT.sum(axis=1)
    count_B = np.minimum(budget(total_B, objective), total_B)
    if marks.inside is not None:
        rank_BxT = rank_words(word_numbers(ids_BxT, hideable_BxT, marks), hideable_BxT, rank_BxT, count_B)
    rank_BxT = np.where(hideable_BxT, rank_BxT, np.inf)
    at_BxK = np.argsort(rank_BxT, axis=1)[:, :K]
    meant_BxK = (np.arange(K)[None] < count_B[:, None]) & np.isfinite(np.take_along_axis(rank_BxT, at_BxK, axis=1))
    order_BxK = np.argsort(at_BxK, axis=1)
    at_BxK, meant_BxK = (np.take_along_axis(x, order_BxK, axis=1) for x in (at_BxK, meant_BxK))
    return at_BxK.astype(np.int32), meant_BxK.astype(np.float32)


def budget(tokens: np.ndarray, objective: ObjectiveConfig) -> np.ndarray:
    """How many of so many tokens are hidden."""
    return np.maximum(1, np.rint(objective.mask_fraction * tokens)).astype(np.int64)


def rank_words(words_BxT: np.ndarray, hideable_BxT: np.ndarray, rank_BxT: np.ndarray, count_B: np.ndarray) -> np.ndarray:
    """Ranks that put first the words that fit a row's count, in random order; infinity for all others."""
    ranks = np.full(rank_BxT.shape, np.inf)
    for b, left in enumerate(count_B.tolist()):
        where = np.flatnonzero(hideable_BxT[b])
        _, first, number, sizes = np.unique(words_BxT[b, where], return_index=True, return_inverse=True, return_counts=True)
        place = np.full(len(first), np.inf)
        for i, word in enumerate(np.argsort(rank_BxT[b, where[first]]).tolist()):
            if sizes[word] <= left:
                place[word], left = i, left - sizes[word]
        ranks[b, where] = place[number]
    return ranks


def word_numbers(ids_BxT: np.ndarray, hideable_BxT: np.ndarray, marks: Marks) -> np.ndarray:
    """B x T: which word of its row each token is of; what may not be hidden is a word by itself."""
    goes_on_BxT = np.zeros(ids_BxT.shape, bool)
    if marks.inside is not None and marks.open is not None:
        open_BxT = marks.open[ids_BxT] & hideable_BxT
        goes_on_BxT[:, 1:] = open_BxT[:, :-1] & marks.inside[ids_BxT[:, 1:]] & hideable_BxT[:, 1:]
    return np.cumsum(~goes_on_BxT, axis=1)
