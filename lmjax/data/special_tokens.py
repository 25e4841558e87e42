"""Tokens that stand for no text: which roles there are, a tokenizer with some of them, and where a target begins and ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.tokenizers import SPECIALS_FILE, Tokenizer

GAP = ('prefix', 'suffix', 'middle')  # the roles of tokens that stand before the parts of a text with a gap
SPECIALS = ('mask', 'class', 'separator', 'start', 'end', *GAP)  # the roles that `data.specials` may name
SENTINEL = 'sentinel_'  # and a number: the roles of `data.sentinels`


class SpecialTokens(Tokenizer):
    """Another tokenizer with tokens of no text after its own: text never becomes them, and they decode to nothing."""

    def __init__(self, base: Tokenizer, roles: Sequence[str]) -> None:
        self.base, self.kind = base, base.kind  # type: ignore[misc]
        self.specials = {role: base.vocab_size + i for i, role in enumerate(roles)}
        self.vocab_size = base.vocab_size + len(roles)
        self.separator_id, self.unknown_id, self.lossless = base.separator_id, base.unknown_id, base.lossless
        self.trainable = base.trainable  # type: ignore[misc]
        self.byte_lengths = np.append(base.byte_lengths, np.zeros(len(roles), np.int64))

    def encode(self, text: str) -> np.ndarray:
        return self.base.encode(text)

    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.base.encode_documents(texts)

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        return self.base.edges()

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return self.base.decode_bytes([i for i in ids if i < self.base.vocab_size])

    def decode(self, ids: Iterable[int]) -> str:
        return self.base.decode([i for i in ids if i < self.base.vocab_size])

    def special_texts(self) -> dict[str, str]:
        return {role: spelled(role) for role in self.specials}

    @property
    def end_ids(self) -> tuple[int, ...]:
        return (*([self.specials['end']] if 'end' in self.specials else []), *self.base.end_ids)

    def contents(self) -> dict[str, str]:
        return {**self.base.contents(), SPECIALS_FILE: json.dumps(list(self.specials))}


def with_specials(tokenizer: Tokenizer, roles: Sequence[str]) -> Tokenizer:
    """The tokenizer with a token for each role; itself where there are none."""
    return SpecialTokens(tokenizer, roles) if roles else tokenizer


def roles_of(data: DataConfig) -> tuple[str, ...]:
    """The roles of a config's special tokens, in the order of their ids: those that it names, then the sentinels."""
    return (*data.specials, *(f'{SENTINEL}{i}' for i in range(data.sentinels)))


def spelled(role: str) -> str:
    """How the token of a role is written: `<mask>`, and sentinels as published checkpoints write them, `<extra_id_0>`."""
    return f'<extra_id_{role.removeprefix(SENTINEL)}>' if role.startswith(SENTINEL) else f'<{role}>'


def sentinel_ids(specials: Mapping[str, int]) -> np.ndarray:
    """Ids of the sentinels in their order, int32."""
    roles = [f'{SENTINEL}{i}' for i in range(len(specials))]
    return np.array([specials[role] for role in roles if role in specials], np.int32)


def find_start(tokenizer: Tokenizer) -> int | None:
    """The token that a decoder's text begins with: the one of the role `start`, else the separator; None: there is none."""
    return tokenizer.specials.get('start', tokenizer.separator_id)


def find_end(tokenizer: Tokenizer) -> int | None:
    """The token that ends a target: the one of the role `end`, else the first of `end_ids`; None: there is none."""
    return tokenizer.specials.get('end', next(iter(tokenizer.end_ids), None))


def start_id(tokenizer: Tokenizer) -> int:
    """`find_start`; raises UsageError where there is none."""
    return needed(find_start(tokenizer), 'start', tokenizer.specials)


def end_id(tokenizer: Tokenizer) -> int:
    """`find_end`; raises UsageError where there is none."""
    return needed(find_end(tokenizer), 'end', tokenizer.specials)


def needed(token: int | None, role: str, specials: Mapping[str, int]) -> int:
    """The id itself; raises UsageError for None, in words that tell how to have a token of the role."""
    if token is None:
        raise missing(role, specials, 'a decoder')
    return token


def missing(role: str, specials: Iterable[str], who: str) -> UsageError:
    """What to say where nothing has a role that is needed."""
    named = tuple(name for name in specials if not name.startswith(SENTINEL))
    also = ", 'end'" if role == 'start' and 'end' not in named else ''  # who lacks the one lacks the other
    return UsageError(f"data.specials={named!r}: {who} needs a token for '{role}'; add '{role}'{also}")
