"""Texts that belong together: a query, what matches it, and, where somebody has looked for them, texts that do not."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence

import numpy as np

from lmjax.config import UsageError
from lmjax.data.parallel_text import SIGN, encode_halves
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import Tokenizer


def encode_matches(
    rows: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of the texts of each row one after the other, each as it is read by itself, and of each id its text's number from 0.

    Raises UsageError for a text without any token.
    """
    parts = [row.split(SIGN) for row in rows]
    every = [text for part in parts for text in part]
    encoded = encode_halves(every, tokenizer)
    for ids, text in zip(encoded, every, strict=True):
        if not len(ids):
            raise UsageError(f'text={text!r}: has no token in this tokenizer; remove its row')
    left = iter(encoded)
    sides = [list(itertools.islice(left, len(part))) for part in parts]
    return [np.concatenate(side) for side in sides], [numbers(list(map(len, side))) for side in sides]


def numbers(lengths: Sequence[int]) -> np.ndarray:
    """[2, 1] -> 0, 0, 1: the number of the text of each token."""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def texts_of_row(store: TokenStore) -> int:
    """How many texts each row of a store has."""
    assert store.tags is not None
    return int(store.tags[store.doc_offsets[1] - 1]) + 1


def fingerprints(ids_BxT: np.ndarray, number_BxT: np.ndarray, texts: int) -> np.ndarray:
    """A number for each text of each row, B x texts int32: the same texts have the same one (CRC-32)."""
    found = [
        [zlib.crc32(ids[number == k].tobytes()) for k in range(texts)] for ids, number in zip(ids_BxT, number_BxT, strict=True)
    ]
    return np.array(found, np.uint32).view(np.int32)
