"""Text whose sentences are shuffled and of which spans are hidden, for encoder-decoders of BART's kind."""

from __future__ import annotations

import math

import numpy as np

from lmjax.data.marks import Corruption, Marks, noise, role
from lmjax.data.masking import budget
from lmjax.data.sourced import Side, ends_of, sourced_batch, texts_of, to_the_left
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def denoise(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """The text is told from what is left of it (Lewis et al. 2020, section 2.2: sentence permutation, then text infilling).

    Of a row's n tokens `round(mask_fraction x n)`, at least 1, are hidden, in spans whose lengths are Poisson numbers of mean
    `span_length`, the last one cut to fit. Each span becomes one mask, and one of length 0 is a mask where nothing is missing;
    there are no more masks than hidden tokens, so that a source is never longer than its text. All ways to place the spans
    among the other tokens are as likely. With `shuffle_sentences` the sentences are put in random order first; one ends with a
    token that `Marks.stops` names, or the last of several. The target is the row as it was; both have the end token, and
    are B x (T + 1). The paper hides 30%: `mask_fraction` is 0.15 unless it is set.
    """
    mask_id, ends = role(marks, 'mask'), ends_of(marks)
    stops_V = marks.stops if objective.shuffle_sentences else None

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxT, count_B = to_the_left(*texts_of(batch, store), width := np.shape(batch.inputs.ids)[1])
        real_BxT = np.arange(width)[None] < count_B[:, None]
        read_BxT = ids_BxT if stops_V is None else shuffled_sentences(ids_BxT, real_BxT, stops_V, noise(keys_B, 2, width))
        lengths_BxT, many_B = draw_lengths(count_B, keys_B, objective, width)
        source_BxT, left_B = infilled(read_BxT, count_B, lengths_BxT, many_B, noise(keys_B, 1, width), mask_id)
        source = Side(source_BxT, np.arange(width)[None] < left_B[:, None], width + 1)
        return sourced_batch(source, Side(ids_BxT, real_BxT, width + 1), count_B >= 1, ends)

    return corrupt


def shuffled_sentences(ids_BxT: np.ndarray, real_BxT: np.ndarray, stops_V: np.ndarray, order_BxT: np.ndarray) -> np.ndarray:
    """Ids with each row's sentences in the order of their numbers in `order_BxT`, B x T; padding stays at the end."""
    stops_BxT = stops_V[ids_BxT]
    ends_BxT = stops_BxT[:, :-1] & ~stops_BxT[:, 1:]
    sentence_BxT = np.cumsum(ends_BxT, axis=1)
    sentence_BxT = np.concatenate([np.zeros((len(ids_BxT), 1), np.int64), sentence_BxT], axis=1)
    place_BxT = np.where(real_BxT, np.take_along_axis(order_BxT, sentence_BxT, axis=1), np.inf)
    return np.take_along_axis(ids_BxT, np.argsort(place_BxT, axis=1, kind='stable'), axis=1)


def draw_lengths(
    count_B: np.ndarray, keys_B: np.ndarray, objective: ObjectiveConfig, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of each row's spans in their order, B x width and 0 beyond them, and how many there are, B."""
    hidden_B = np.minimum(budget(count_B, objective), count_B)
    draws = 2 * int(budget(np.array(width), objective)) + 16  # so many fall short of what is hidden less than once in 10^7
    drawn_BxD = poisson(noise(keys_B, 0, draws), objective.span_length)
    drawn_BxD[:, -1] = width
    left_BxD = hidden_B[:, None] - (np.cumsum(drawn_BxD, axis=1) - drawn_BxD)
    cut_BxD = np.clip(np.minimum(drawn_BxD, left_BxD), 0, None)
    spare_B = hidden_B - (cut_BxD > 0).sum(axis=1)  # masks where nothing is missing
    empty_BxD = (drawn_BxD == 0) & (left_BxD > 0)
    empty_BxD &= np.cumsum(empty_BxD, axis=1) <= spare_B[:, None]
    return to_the_left(cut_BxD, empty_BxD | (cut_BxD > 0), width)


def poisson(share: np.ndarray, mean: float) -> np.ndarray:
    """Poisson numbers of numbers that are uniform in [0, 1), int64: how many terms of the distribution lie below each."""
    most = math.ceil(mean + 12 * math.sqrt(mean) + 12)  # beyond lies less than one in 2^53
    terms = [math.exp(number * math.log(mean) - mean - math.lgamma(number + 1)) for number in range(most)]
    return np.searchsorted(np.cumsum(terms), share, side='right')


def infilled(
    ids_BxT: np.ndarray,
    count_B: np.ndarray,
    lengths_BxT: np.ndarray,
    many_B: np.ndarray,
    order_BxT: np.ndarray,
    mask_id: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Ids with a mask in place of each span, B x T, and how many there are of them in each row.

    The spans and the tokens that are shown stand in slots; the spans take those of the lowest numbers of `order_BxT`.
    """
    slots_B = count_B - lengths_BxT.sum(axis=1) + many_B
    slot_BxT = np.arange(order_BxT.shape[1])[None] < slots_B[:, None]
    rank_BxT = np.argsort(np.argsort(np.where(slot_BxT, order_BxT, np.inf), axis=1), axis=1)
    hides_BxT = rank_BxT < many_B[:, None]
    number_BxT = np.where(hides_BxT, np.cumsum(hides_BxT, axis=1) - 1, 0)
    takes_BxT = np.where(hides_BxT, np.take_along_axis(lengths_BxT, number_BxT, axis=1), 1)
    first_BxT = np.minimum(np.cumsum(takes_BxT, axis=1) - takes_BxT, ids_BxT.shape[1] - 1)
    return np.where(hides_BxT, mask_id, np.take_along_axis(ids_BxT, first_BxT, axis=1)), slots_B
