"""What an objective does to a batch before the network reads it: a pure function of the rows and of a key for each.

A corruption is (batch, keys_B, store) -> batch. The batch comes with the next token as each target, and with segments where it
has any padding; the keys are 64 random bits a row, made of the seed and the row's number in the run, so that a row's corruption
depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lmjax.config import UsageError, choose, require
from lmjax.data.shuffle import mixed
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import SPECIALS
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer

Corruption = Callable[[Batch, np.ndarray, TokenStore], Batch]


class Marks(NamedTuple):
    """What a corruption must know of a tokenizer; arrays have an entry for each token of the vocabulary."""

    ordinary: np.ndarray  # bool; tokens of text, which may be hidden and may stand in for others
    specials: Mapping[str, int]  # role -> id
    inside: np.ndarray | None = None  # bool; goes on with the word of the token before, if that word is open
    open: np.ndarray | None = None  # bool; ends within a word


def marks_of(tokenizer: Tokenizer, objective: ObjectiveConfig) -> Marks:
    """Of a tokenizer; where its words begin only if the objective asks for it."""
    flags = tokenizer.word_flags() if objective.whole_words else (None, None)
    return Marks(tokenizer.byte_lengths > 0, tokenizer.specials, *flags)


def plain_marks(vocab_size: int) -> Marks:
    """Of no tokenizer, for the shapes of batches alone."""
    every = np.ones(vocab_size, bool)
    return Marks(every, dict.fromkeys(SPECIALS, 0), every, every)


def noise(keys_B: np.ndarray, stream: int, count: int) -> np.ndarray:
    """B x count independent numbers in [0, 1), of which every row has its own and every stream others."""
    index = np.arange(count, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    return (mixed(keys_B[:, None] ^ mixed(index)[None]) >> np.uint64(11)) * 2.0**-53


def role(marks: Marks, name: str) -> int:
    """The id of a special token. Raises UsageError where the tokenizer has none."""
    if name not in marks.specials:
        raise UsageError(f"data.specials={tuple(marks.specials)!r}: the objective needs a token for '{name}'; add '{name}'")
    return marks.specials[name]


def masked(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """A share of the tokens is hidden, to be told from all others (Devlin et al. 2019, section 3.1 and appendix A.1).

    Of a row's n tokens `round(mask_fraction x n)` are hidden, at least one: `mask_replaced` of them become the mask,
    `mask_random` a random token, the rest stay. With `whole_words` they are whole words, so far as these fit. Each time that a
    row is read others are hidden (Liu et al. 2019, section 4.1). Targets and weights are B x K, at the positions `at`.
    """
    mask_id = role(marks, 'mask')
    drawn = np.flatnonzero(marks.ordinary)

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
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
        return Batch(inputs, np.take_along_axis(ids_BxT, at_BxK, axis=1), weights_BxK, at_BxK)

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


# objective.kind -> what it does to a batch
CORRUPTIONS: dict[str, Callable[[ObjectiveConfig, Marks], Corruption | None]] = {
    'causal': lambda objective, marks: None,
    'masked': masked,
    'prefix': prefix,
}


def corruption_of(objective: ObjectiveConfig, marks: Marks) -> Corruption | None:
    """The corruption of an objective, None where it leaves batches as they are.

    Raises UsageError for shares out of range or a special token that is missing.
    """
    o = objective
    require(0 < o.mask_fraction < 1, 'objective.mask_fraction', o.mask_fraction, 'use a share between 0 and 1, as 0.15')
    total = o.mask_replaced + o.mask_random
    require(total <= 1, 'objective.mask_random', o.mask_random, f'with objective.mask_replaced it makes {total}; use 1 or less')
    return choose(CORRUPTIONS, o.kind, 'objective.kind')(o, marks)
