"""Documents that are two texts, a source and its target: `source<TAB>target` until they are encoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lmjax.config import UsageError
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.special_tokens import missing
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import Tokenizer

SIGN = '\t'  # between the two


def join_pair(source: object, target: object) -> str | None:
    """The document of two texts, whose tabs become spaces; None where one of them is no text or empty."""
    if not (isinstance(source, str) and isinstance(target, str) and source.strip() and target.strip()):
        return None
    return source.replace(SIGN, ' ') + SIGN + target.replace(SIGN, ' ')


def split_pair(document: str) -> tuple[str, str]:
    source, _, target = document.partition(SIGN)
    return source, target


def halves(documents: Iterable[str]) -> list[str]:
    """All texts of the pairs, each by itself."""
    return [half for document in documents for half in split_pair(document)]


def with_separator(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer itself, or where a checkpoint's has no separator, with one: no network ever reads it."""
    return tokenizer.with_roles(('separator',)) if isinstance(tokenizer, LibraryTokenizer) else tokenizer


def need_separator(source: str, roles: Iterable[str]) -> None:
    """Raises UsageError unless a tokenizer with these roles can join the pairs of a source."""
    if 'separator' not in roles:
        raise missing('separator', roles, f'data.source={source!r} has pairs, and between the two')


def encode_pairs(documents: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Ids of each pair: both texts encoded by themselves, with the token of the role `separator` between them.

    End tokens and separators that a tokenizer adds to a text by itself are left out, so that the first separator is the one
    between the two.
    """
    separator = tokenizer.specials['separator']
    sides = [encode_sources(side, tokenizer) for side in zip(*map(split_pair, documents), strict=True)]
    return [np.concatenate([source, [separator], target]).astype(np.int32) for source, target in zip(*sides, strict=True)]


def encode_sources(texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Ids of texts as they are in a pair."""
    return [bare(ids, tokenizer) for ids in encode_halves(texts, tokenizer)]


def encode_halves(texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Ids of texts that are no documents, which a word tokenizer would end with a newline."""
    if isinstance(tokenizer, LibraryTokenizer):
        return tokenizer.encode_documents(texts)  # many at a time
    return [tokenizer.encode(text) for text in texts]


def encode_two(texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Ids of each text of two, FIRST<TAB>SECOND, as the tokenizer puts two together.

    A checkpoint's does it in its own way, one of ours with the token of the role `separator` between them, and what has neither
    with a newline.
    """
    if isinstance(tokenizer, LibraryTokenizer) and tokenizer.frames_two:
        return tokenizer.encode_two([split_pair(text) for text in texts])
    if 'separator' not in tokenizer.specials:
        return tokenizer.encode_documents([text.replace(SIGN, '\n') for text in texts])
    firsts, seconds = zip(*map(split_pair, texts), strict=True)
    between = np.array([tokenizer.specials['separator']], np.int32)
    sides = zip(encode_halves(firsts, tokenizer), tokenizer.encode_documents(seconds), strict=True)
    return [np.concatenate([first, between, second]) for first, second in sides]


def bare(ids: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Ids without separators, and without end tokens at the end."""
    ids = ids[ids != tokenizer.specials['separator']]
    inner = np.flatnonzero(~np.isin(ids, tokenizer.end_ids))
    return ids[: inner[-1] + 1 if len(inner) else 0]


def pairs_left_out(store: TokenStore, seq_len: int) -> int:
    """How many pairs of a store are too long for a row, all separators counted."""
    return int((np.diff(store.doc_offsets) > seq_len).sum()) if store.paired else 0


def describe_left_out(stores: dict[str, TokenStore], seq_len: int) -> str:
    """A line on the pairs that are too long for a row, by split; empty where there are none.

    Raises:
      UsageError: all pairs of a split are too long.
    """
    stores = {name: store for name, store in stores.items() if store.paired}
    longest = max((int(np.diff(store.doc_offsets).max()) for store in stores.values()), default=0)
    said = []
    for name, store in stores.items():
        count, total = pairs_left_out(store, seq_len), len(store.doc_offsets) - 1
        if count == total:
            what = f'none of the {total:,} {name} pairs fits'
            raise UsageError(f'data.seq_len={seq_len}: {what}; with {longest} every one does')
        if count:
            said.append(f'{count:,} of the {total:,} {name} pairs')
    return f'data.seq_len={seq_len} leaves out {" and ".join(said)}; with {longest} every one fits' if said else ''
