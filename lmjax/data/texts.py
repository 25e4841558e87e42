"""Rows with something told of each text, or of its words or tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmjax.config import choose
from lmjax.data.chats import SAID
from lmjax.data.marks import Corruption, Marks
from lmjax.data.matches import fingerprints, texts_of_row
from lmjax.data.passages import END, START
from lmjax.data.sourced import texts_of, to_the_left
from lmjax.data.special_tokens import needed
from lmjax.data.store import INSIDE, OUTSIDE, TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch, Inputs


def texts(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is one text, as it would be read by itself, that counts once if it has any token.

    No separator stands at its ends, and its last token, which none follows, is there. Targets (zeros) and weights are B x 1.
    Where a text is two, the second is of type 1.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        inputs = plain_texts(*whole_texts(batch, store))
        if store.two:
            inputs = inputs._replace(types=types_of(np.asarray(inputs.ids), marks.specials.get('separator')))
        weights_Bx1 = np.asarray((np.asarray(inputs.segments) > 0).any(axis=1, keepdims=True), np.float32)
        return Batch(inputs, np.zeros(weights_Bx1.shape, np.int32), weights_Bx1, labels=batch.labels)

    return corrupt


def tags(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is one text, as above; targets are the tags of its words, at one token of each, which is all that is scored.

    That token is the first of the word (Devlin et al. 2019, section 5.3) or the last, as `objective.word_token` says.
    """
    stands = choose(WORD_TOKENS, objective.word_token, 'objective.word_token')

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW, kept_BxW = whole_texts(batch, store)
        targets_BxT = stands(along(batch, kept_BxW)[:, :-1])
        inputs, weights_BxT = plain_texts(ids_BxW, kept_BxW), (targets_BxT >= 0).astype(np.float32)
        return Batch(inputs, np.maximum(targets_BxT, 0).astype(np.int32), weights_BxT)

    return corrupt


def matches(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is texts that belong together, as segments 1, 2, ..., none of which sees another; labels say which are equal.

    Each text is as it would be read by itself. What goes beyond the row is cut, and a row from which a whole text is cut counts
    for nothing. Targets (zeros) and weights are B x 1, labels B x texts.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW, kept_BxW = whole_texts(batch, store)
        number_BxT, index_T = along(batch, kept_BxW)[:, :-1], np.arange(ids_BxW.shape[1] - 1)[None]
        count = texts_of_row(store)
        whole_B = number_BxT.max(axis=1) == count - 1
        number_BxT = np.where(whole_B[:, None], number_BxT, OUTSIDE)
        begins_BxT = np.diff(number_BxT, axis=1, prepend=OUTSIDE) != 0
        positions_BxT = index_T - np.maximum.accumulate(np.where(begins_BxT, index_T, 0), axis=1)
        real_BxT = number_BxT >= 0
        ids_BxT = np.where(real_BxT, np.asarray(plain_texts(ids_BxW, kept_BxW).ids), 0).astype(np.int32)
        inputs = Inputs(
            ids_BxT,
            np.where(real_BxT, positions_BxT, 0).astype(np.int32),
            np.where(real_BxT, number_BxT + 1, 0).astype(np.int32),
        )
        weights_Bx1 = whole_B[:, None].astype(np.float32)
        return Batch(
            inputs, np.zeros(weights_Bx1.shape, np.int32), weights_Bx1, labels=fingerprints(ids_BxT, number_BxT, count)
        )

    return corrupt


def tails(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is a head and a relation, B x 2, whose target is the token of the tail, B x 1.

    Labels are the tokens that compete with it, B x V bool: all entities but those that are known to be right as well.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        assert marks.classes is not None
        tails_BxK, weights_Bx1 = np.asarray(batch.labels), np.asarray(batch.weights, np.float32)[:, :1]
        competes_BxV = np.zeros((len(tails_BxK), len(marks.ordinary)), bool)
        competes_BxV[:, marks.classes] = True
        rows, columns = np.nonzero(tails_BxK >= 0)
        competes_BxV[rows, marks.classes[tails_BxK[rows, columns]]] = False
        own_Bx1 = marks.classes[np.maximum(tails_BxK[:, :1], 0)]
        np.put_along_axis(competes_BxV, own_Bx1, True, axis=1)
        return Batch(Inputs(np.asarray(batch.inputs.ids)[:, :2]), own_Bx1, weights_Bx1, labels=competes_BxV)

    return corrupt


def ends(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is a window of a question and a text, as above, of which is told where the answer begins and ends.

    Targets are B x 2, of weight 1/2. Labels, B x T bool, are the tokens at which it may.
    """

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        ids_BxW, kept_BxW = whole_texts(batch, store)
        tags_BxT = along(batch, kept_BxW)[:, :-1]
        inputs = plain_texts(ids_BxW, kept_BxW)
        inputs = inputs._replace(types=types_of(np.asarray(inputs.ids), marks.specials.get('separator')))
        may_BxT = tags_BxT != OUTSIDE
        targets_Bx2 = np.stack([np.argmax(may_BxT & (tags_BxT & bit > 0), axis=1) for bit in (START, END)], axis=1)
        weights_Bx2 = np.repeat(0.5 * may_BxT.any(axis=1, keepdims=True), 2, axis=1).astype(np.float32)
        return Batch(inputs, targets_Bx2.astype(np.int32), weights_Bx2, labels=may_BxT)

    return corrupt


def along(batch: Batch, kept_BxW: np.ndarray) -> np.ndarray:
    """The tags of what is kept of each row, from the left, and OUTSIDE; B x W."""
    shifted_BxW, _ = to_the_left(np.asarray(batch.labels) - OUTSIDE, kept_BxW, kept_BxW.shape[1])  # where none is kept: 0
    return shifted_BxW + OUTSIDE


def answers(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """The tokens that the assistant says, or that belong into a gap, are scored, and no others."""

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        said_BxT = np.asarray(batch.labels)[:, 1:] == SAID
        return batch._replace(weights=np.asarray(batch.weights, np.float32) * said_BxT, labels=None)

    return corrupt


def captions(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Of rows that begin with frames what follows these is scored. Raises UsageError where no token ends a text."""
    needed(marks.end, 'end', marks.specials)

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        assert batch.inputs.prefix is not None
        told_T = np.arange(batch.targets.shape[1]) >= batch.inputs.prefix.shape[1] - 1
        return batch._replace(weights=np.asarray(batch.weights, np.float32) * told_T[None])

    return corrupt


def at_last(tags_BxT: np.ndarray) -> np.ndarray:
    """Tags that stand at the first token of each word moved to its last, or of a word that is cut to the last of the row."""
    index_T = np.arange(tags_BxT.shape[1])[None]
    begun_BxT = np.maximum.accumulate(np.where(tags_BxT != INSIDE, index_T, 0), axis=1)  # where the word of a token begins
    ends_BxT = np.roll(tags_BxT, -1, axis=1) != INSIDE  # no row begins within a word, so the last token ends one
    return np.where(ends_BxT, np.take_along_axis(tags_BxT, begun_BxT, axis=1), OUTSIDE)


# name -> a function of tags that stand at the first token of each word, B x T, to where they are told
WORD_TOKENS: dict[str, Callable[[np.ndarray], np.ndarray]] = {'first': lambda tags_BxT: tags_BxT, 'last': at_last}


def whole_texts(batch: Batch, store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """Ids of each row with the token after them, and which of them are its text, both B x (T + 1)."""
    B, T = batch.inputs.ids.shape
    segments_BxT = batch.inputs.segments
    own_B = np.full(B, T) if segments_BxT is None else (np.asarray(segments_BxT) > 0).sum(axis=1)
    whole = Inputs(
        np.concatenate([batch.inputs.ids[:, :1], batch.targets], axis=1),
        segments=np.arange(T + 1)[None] < (own_B + (own_B > 0))[:, None],
    )
    return texts_of(batch._replace(inputs=whole), store)


def types_of(ids_BxT: np.ndarray, separator: int | None) -> np.ndarray:
    """1 for tokens behind the first separator of a row, else 0; B x T int32."""
    is_one = np.zeros(ids_BxT.shape, bool) if separator is None else ids_BxT == separator
    return (np.cumsum(is_one, axis=1) - is_one > 0).astype(np.int32)


def plain_texts(ids_BxW: np.ndarray, kept_BxW: np.ndarray) -> Inputs:
    """What is kept of each row, from the left, and padding; B x (W - 1)."""
    T = ids_BxW.shape[1] - 1
    left_BxW, count_B = to_the_left(ids_BxW, kept_BxW, T + 1)
    real_BxT = np.arange(T)[None] < count_B[:, None]
    return Inputs(np.where(real_BxT, left_BxW[:, :T], 0).astype(np.int32), segments=real_BxT.astype(np.int32))
