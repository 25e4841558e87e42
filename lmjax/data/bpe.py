"""Byte-level byte-pair encoding (Sennrich et al. 2016) trained on the corpus with the `tokenizers` library.

Text is first cut into pieces by one regular expression that names its characters by range, so that Python's `re` and the
library's engine agree on every string. Pieces repeat a lot (a corpus of 11 MB has 2 million, 67 thousand of them
different), so each distinct piece is encoded once and looked up from then on.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from lmjax.config import require
from lmjax.data.tokenizers import BATCH_CHARS, FILE, Tokenizer, utf8

if TYPE_CHECKING:
    import tokenizers

SEPARATOR = '<|endoftext|>'
DEFAULT_VOCAB = 4096
LETTER = 'A-Za-z\x80-\U0010ffff'
# A word with the one character before it; a number; line breaks with the indentation after them; other signs, with the line
# break after them; spaces. Lengths are bounded so that time stays linear on any text.
PIECES = (
    rf'[^\r\n{LETTER}0-9]?[{LETTER}]{{1,48}}'
    r'| ?[0-9]{1,3}'
    r'|[\r\n]{1,48}[ \t]{0,48}'
    rf'| ?[^ \t\n\r\f\v{LETTER}0-9]{{1,48}}(?:[\r\n]{{1,16}}[ \t]{{0,48}})?'
    r'| {1,48}'
    r'|[\t\f\v]{1,48}'
)
SAFE_CUT = re.compile(r'(?<=[a-z])\n')  # a piece always starts at a line break after a letter
TRAINING_CHARS = 1000  # for each token of the vocabulary, from documents spread over the training split
TRAINING_PIECES = 50  # for each token: counts are scaled down to these, which changes few merges
CACHE_PIECES = 1_000_000


class Numbering(dict[str, int]):
    """Gives each new key the next number when it is asked for, and remembers it in `new`."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        self.new.append(key)
        return number


class PieceTable:
    """Distinct pieces in the order of their first sight, with the ids of each as a row of a ragged array."""

    def __init__(self) -> None:
        self.index = Numbering()
        self.ids, self.ends = array('i'), array('q', [0])  # they grow without being copied each time

    def numbers(self, pieces: list[str]) -> np.ndarray:
        """Row of each piece; unseen ones get the next rows."""
        return np.fromiter(map(self.index.__getitem__, pieces), np.int64, len(pieces))

    def fill(self, encoder: tokenizers.Tokenizer) -> None:
        """Encodes the rows that have no ids yet."""
        new, self.index.new = self.index.new, []
        if not new:
            return
        for row in encoder.encode_batch_fast(new, add_special_tokens=False):
            self.ids.extend(row.ids)
            self.ends.append(len(self.ids))

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """Ids of the pieces, one after the other."""
        ids, ends = np.asarray(self.ids), np.asarray(self.ends)
        starts = ends[numbers]
        lengths = ends[numbers + 1] - starts
        before = np.cumsum(lengths) - lengths
        return ids[np.repeat(starts - before, lengths) + np.arange(lengths.sum())]


class BpeTokenizer(Tokenizer):
    """`tokenizer.json` is in the library's own format and encodes alike when it is used without lmjax."""

    kind = 'bpe'
    separates = True

    def __init__(self, library_json: str) -> None:
        import tokenizers

        self._json = library_json
        self._encoder = tokenizers.Tokenizer.from_str(library_json)
        self._encoder.pre_tokenizer = byte_level()  # pieces come here cut, so that none of them spells the separator
        self._table = PieceTable()
        self._pieces = re.compile(PIECES)
        vocabulary = self._encoder.get_vocab()
        self.vocab_size, self.separator_id = len(vocabulary), vocabulary[SEPARATOR]
        self._bytes = token_bytes(vocabulary)
        self.byte_lengths = np.array([len(token) for token in self._bytes], np.int64)

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> BpeTokenizer:
        vocab_size = vocab_size or DEFAULT_VOCAB
        require(vocab_size >= 257, 'data.vocab_size', vocab_size, 'bpe needs 256 bytes and a separator: use 257 or more')
        return cls(train_bpe(train_texts, vocab_size))

    @classmethod
    def expected_size(cls, vocab_size: int) -> int:
        return vocab_size or DEFAULT_VOCAB

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> BpeTokenizer:
        return cls(contents['tokenizer.json'])

    def encode(self, text: str) -> np.ndarray:
        return np.concatenate([self._encode_part(part) for part in parts(text)])

    def _encode_part(self, text: str) -> np.ndarray:
        utf8(text)
        if len(self._table.index) > CACHE_PIECES:
            self._table = PieceTable()
        numbers = self._table.numbers(self._pieces.findall(text))
        self._table.fill(self._encoder)
        return self._table.gather(numbers)

    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Where there is room, all pieces are collected first: the library encodes the new ones in one call, on all cores."""
        if sum(map(len, texts)) > BATCH_CHARS:
            return [self.encode(text) for text in texts]
        utf8(''.join(texts))
        if len(self._table.index) > CACHE_PIECES:
            self._table = PieceTable()
        found = [self._pieces.findall(text) for text in texts]
        numbers = self._table.numbers(list(chain.from_iterable(found)))
        self._table.fill(self._encoder)
        ends = np.cumsum([len(pieces) for pieces in found])
        return [self._table.gather(row) for row in np.split(numbers, ends[:-1])]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b''.join(self._bytes[i] for i in ids)

    def contents(self) -> dict[str, str]:
        return {FILE: json.dumps({'kind': self.kind}), 'tokenizer.json': self._json}


def parts(text: str) -> Iterator[str]:
    """A long text in parts of bounded size, cut only where pieces end anyway."""
    start = 0
    while len(text) - start > BATCH_CHARS:
        cut = SAFE_CUT.search(text, start + BATCH_CHARS)
        if not cut:
            break
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


def byte_level() -> tokenizers.pre_tokenizers.PreTokenizer:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def token_bytes(vocabulary: dict[str, int]) -> list[bytes]:
    """Bytes of each token, by id; the separator has none."""
    spelled = spelled_bytes()
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    return [b'' if token == SEPARATOR else bytes(spelled[character] for character in token) for token in ordered]


def spelled_bytes() -> dict[str, int]:
    """How the library spells each byte as one printable character: character -> byte."""
    printable = [*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def training_pieces(texts: Sequence[str], vocab_size: int) -> list[str]:
    """Pieces of the training text, repeated in proportion to their counts: few enough to be quick."""
    every = max(1, sum(map(len, texts)) // (TRAINING_CHARS * vocab_size))
    find, counts = re.compile(PIECES).findall, Counter[str]()
    for text in texts[::every]:
        for part in parts(text):
            counts.update(find(part))
    scale = max(1.0, counts.total() / (TRAINING_PIECES * vocab_size))
    return [piece for piece, count in counts.items() for _ in range(round(count / scale))]


def train_bpe(texts: Sequence[str], vocab_size: int) -> str:
    """The library's JSON of a tokenizer whose merges come from the texts."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[SEPARATOR],
    )
    tokenizer.train_from_iterator(training_pieces(texts, vocab_size), trainer)
    split = pre_tokenizers.Split(tokenizers.Regex(PIECES), 'isolated')
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level()])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str()
