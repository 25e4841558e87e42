"""Text to token ids and back: byte, character and word tokenizers, and the table of all (BPE has a file of its own).

Each tokenizer has `kind`, `vocab_size`, `separator_id` (between documents, decodes to nothing; None: there is none),
`unknown_id` (None: a character that is not in the vocabulary is refused), `lossless` (decode(encode(x)) == x) and
`byte_lengths` (UTF-8 bytes of each token, 0 for the separator).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lmjax.config import UsageError, choose, require
from lmjax.data.config import DataConfig

if TYPE_CHECKING:
    from lmjax.data.chat import Chat

FILE = 'vocabulary.json'
SPECIALS_FILE = 'specials.json'
MASK = '<mask>'  # what stands for the mask where a person writes it
BATCH_CHARS = 4_000_000  # of documents encoded at a time


class Tokenizer:
    """What all tokenizers share. Subclasses give `encode`, `decode_bytes` and `contents`."""

    kind: ClassVar[str]
    trainable: ClassVar[bool] = True  # from a corpus; otherwise it comes with a checkpoint
    separates: ClassVar[bool] = False  # every tokenizer of the kind has a separator_id
    vocab_size: int
    separator_id: int | None = None
    unknown_id: int | None = None
    lossless: bool = True
    byte_lengths: np.ndarray  # V, int64
    specials: Mapping[str, int] = MappingProxyType({})  # role -> id of a token that no text becomes
    chat: Chat | None = None  # how conversations are written; comes with a checkpoint

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> Tokenizer:
        """A tokenizer for a corpus: its training texts, all of its texts, and data.vocab_size (0: no limit)."""
        raise NotImplementedError

    @classmethod
    def expected_size(cls, vocab_size: int) -> int:
        """The size that most texts will give for data.vocab_size; 0 where only the text can tell."""
        return vocab_size

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> Tokenizer:
        """The inverse of `contents`."""
        raise NotImplementedError

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32; raises UsageError for a character that the vocabulary lacks."""
        raise NotImplementedError

    def encode_rendered(self, text: str) -> np.ndarray:
        """Ids of a text that spells its special tokens itself, as a chat template's does."""
        return self.encode(text)

    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each document, without separators."""
        return [self.encode(text) for text in texts]

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids that `encode_documents` puts before and after those of a text, int32."""
        return np.zeros(0, np.int32), np.zeros(0, np.int32)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """UTF-8 bytes of the tokens; a token may hold part of a character."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the tokens; bytes that are no character become U+FFFD."""
        return self.decode_bytes(ids).decode('utf-8', 'replace')

    def special_texts(self) -> dict[str, str]:
        """Role -> how the special token that has it is written where a person must see it."""
        return {role: f'<{role}>' for role in self.specials}

    def encode_marked(self, text: str) -> np.ndarray:
        """Ids of a text in which `<mask>` stands for the mask or, where there is none, for one sentinel after the other.

        Raises UsageError where there are neither.
        """
        parts = [self.encode(part) for part in text.split(MASK)]
        hidden = [np.array([self.specials[role]], np.int32) for role in self.mask_roles(len(parts) - 1)]
        return np.concatenate([parts[0], *(ids for pair in zip(hidden, parts[1:], strict=True) for ids in pair)])

    def mask_roles(self, count: int) -> list[str]:
        """The roles of the tokens that stand for so many masks. Raises UsageError where there are none."""
        if 'mask' in self.specials:
            return ['mask'] * count
        roles = [f'sentinel_{i}' for i in range(count)]
        if not all(role in self.specials for role in ('sentinel_0', *roles)):
            named = tuple(role for role in self.specials if not role.startswith('sentinel_'))
            raise UsageError(f"data.specials={named!r}: this tokenizer has no mask; train with ('mask',)")
        return roles

    def word_flags(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each token goes on with the word of the one before, if that is open, and whether it leaves one open; V bool.

        A word is a run of letters, digits and underscores; bytes that are no character by themselves are taken for letters.
        """
        texts = [self.decode([i]) for i in range(self.vocab_size)]
        return tuple(np.array([is_letter(text[end : end + 1 or None]) for text in texts]) for end in (0, -1))  # type: ignore

    def sentence_ends(self) -> np.ndarray:
        """Whether each token ends in a full stop, an exclamation or a question mark and maybe white space; V bool."""
        texts = (self.decode([i]).rstrip() for i in range(self.vocab_size))
        return np.array([text.endswith(('.', '!', '?')) for text in texts])

    def contents(self) -> dict[str, str]:
        """File name -> text of all that `save` writes."""
        raise NotImplementedError

    def save(self, folder: str | os.PathLike[str]) -> None:
        os.makedirs(folder, exist_ok=True)
        for name, text in self.contents().items():
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
                file.write(text)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids after which a text is over."""
        return () if self.separator_id is None else (self.separator_id,)

    @property
    def digest(self) -> str:
        """SHA-256 of what `save` writes."""
        return hashlib.sha256(json.dumps(self.contents(), sort_keys=True).encode()).hexdigest()


def is_letter(text: str) -> bool:
    """Whether a character is of a word; the empty text is not."""
    return text.isalnum() or text in ('_', '\ufffd')


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Runs of whole documents of at most BATCH_CHARS characters, or one longer document."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > BATCH_CHARS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def utf8(text: str) -> bytes:
    """UTF-8, refusing halves of surrogate pairs (a terminal's way to pass bytes that are no text)."""
    try:
        return text.encode('utf-8')
    except UnicodeEncodeError as error:
        raise UsageError(f'text={text[error.start]!r}...: not Unicode text at character {error.start}; remove it') from None


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes, and 256 between documents."""

    kind = 'byte'
    separates = True

    def __init__(self) -> None:
        self.vocab_size, self.separator_id = 257, 256
        self.byte_lengths = np.append(np.ones(256, np.int64), 0)

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> ByteTokenizer:
        require(vocab_size in (0, 257), 'data.vocab_size', vocab_size, 'the byte tokenizer has 257 tokens; use 0')
        return cls()

    @classmethod
    def expected_size(cls, vocab_size: int) -> int:
        return 257

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> ByteTokenizer:
        return cls()

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(utf8(text), np.uint8).astype(np.int32)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(int(i) for i in ids if i != self.separator_id)

    def contents(self) -> dict[str, str]:
        return {FILE: json.dumps({'kind': self.kind})}


class CharTokenizer(Tokenizer):
    """Characters in code point order; where the size is limited the most frequent ones, and `<unk>` as the last id."""

    kind = 'char'

    def __init__(self, characters: str, *, unknown: bool = False) -> None:
        self.characters = characters
        self.vocab_size = len(characters) + unknown
        self.lossless = not unknown
        if unknown:
            self.unknown_id = len(characters)
        self._texts = [character.encode() for character in characters] + ['\ufffd'.encode()] * unknown
        self.byte_lengths = np.array([len(text) for text in self._texts], np.int64)
        self._codes = np.array([ord(character) for character in characters], np.int64)

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> CharTokenizer:
        """Reads the whole corpus, so that held-out text needs no unknown token unless the size is limited."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        if not vocab_size or len(counts) <= vocab_size:
            return cls(''.join(sorted(counts)))
        require(vocab_size >= 2, 'data.vocab_size', vocab_size, 'use 2 or more, or 0 for no limit')
        frequent = sorted(counts, key=lambda character: (-counts[character], character))[: vocab_size - 1]
        return cls(''.join(sorted(frequent)), unknown=True)

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> CharTokenizer:
        saved = json.loads(contents[FILE])
        return cls(saved['characters'], unknown=saved['unknown'])

    def encode(self, text: str) -> np.ndarray:
        codes = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.uint32).astype(np.int64)
        ids = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        missing = self._codes[ids] != codes
        if self.unknown_id is not None:
            ids[missing] = self.unknown_id
        elif missing.any():
            character = text[int(missing.argmax())]
            remedy = 'remove it, or train with data.tokenizer=byte or bpe'
            raise UsageError(f'text={character!r}: this character is not in the vocabulary; {remedy}')
        return ids.astype(np.int32)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b''.join(self._texts[i] for i in ids)

    def contents(self) -> dict[str, str]:
        saved = {'kind': self.kind, 'characters': self.characters, 'unknown': not self.lossless}
        return {FILE: json.dumps(saved)}


WORDS = re.compile(r'\n|[^\s]+')
END, UNKNOWN = '<eos>', '<unk>'  # the names that word-level benchmarks use


class WordTokenizer(Tokenizer):
    """Words between white space, each newline as `<eos>`; the most frequent ones of the training text, the rest `<unk>`.

    Every document ends in `<eos>`. What text spells like `<eos>` is an unknown word.
    """

    kind = 'word'
    lossless = False

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.vocab_size, self.unknown_id, self.end_id = len(self.words), self.words.index(UNKNOWN), self.words.index(END)
        self._ids = {word: i for i, word in enumerate(self.words)}
        self._ids['\n'] = self._ids.pop(END)
        self.byte_lengths = np.array([len(word.encode()) + 1 for word in self.words], np.int64)

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> WordTokenizer:
        require(vocab_size == 0 or vocab_size >= 3, 'data.vocab_size', vocab_size, 'use 3 or more, or 0 for no limit')
        counts: Counter[str] = Counter()
        for text in train_texts:
            counts.update(WORDS.findall(text))
        for special in ('\n', END, UNKNOWN):
            counts.pop(special, None)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([UNKNOWN, END, *(ranked[: vocab_size - 2] if vocab_size else ranked)])

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> WordTokenizer:
        return cls(json.loads(contents[FILE])['words'])

    def encode(self, text: str) -> np.ndarray:
        words = WORDS.findall(text)
        return np.fromiter((self._ids.get(word, self.unknown_id) for word in words), np.int32, len(words))

    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text if text.endswith('\n') else text + '\n') for text in texts]

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0, np.int32), np.array([self.end_id], np.int32)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        words = ['\n' if i == self.end_id else self.words[i] + ' ' for i in ids]
        return ''.join(words).replace(' \n', '\n').removesuffix(' ').encode('utf-8', 'replace')

    def contents(self) -> dict[str, str]:
        return {FILE: json.dumps({'kind': self.kind, 'words': self.words})}


class TeachersTokenizer(Tokenizer):
    """What data.tokenizer='teacher' stands for until there is a teacher, whose own tokenizer then takes its place."""

    kind = 'teacher'
    trainable = False

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> TeachersTokenizer:
        raise UsageError("data.tokenizer='teacher': comes with objective.teacher and is not trained; choose bpe, char or byte")

    @classmethod
    def expected_size(cls, vocab_size: int) -> int:
        return 0


def bpe_class() -> type[Tokenizer]:
    from lmjax.data.bpe import BpeTokenizer

    return BpeTokenizer


def library_class() -> type[Tokenizer]:
    from lmjax.data.library_tokenizer import LibraryTokenizer

    return LibraryTokenizer


TOKENIZERS: dict[str, Callable[[], type[Tokenizer]]] = {
    'byte': lambda: ByteTokenizer,
    'char': lambda: CharTokenizer,
    'word': lambda: WordTokenizer,
    'bpe': bpe_class,
    'library': library_class,
    'teacher': lambda: TeachersTokenizer,
}


def tokenizer_class(kind: str) -> type[Tokenizer]:
    """The class of `data.tokenizer=kind`; what has a colon, as hf:DIR, names the tokenizer of a checkpoint."""
    return choose(TOKENIZERS, 'library' if ':' in kind else kind, 'data.tokenizer')()


def expected_vocabulary(data: DataConfig) -> int:
    """Tokens that most texts will give a config, its special ones included; 0 where only the text can tell."""
    kind = tokenizer_class(data.tokenizer)
    size = kind.expected_size(data.vocab_size)
    # Otherwise the special ones come with it.
    return size + len(data.specials) + data.sentinels if size and kind.trainable else size


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that was saved in a folder; raises UsageError where there is none."""
    from lmjax.data.special_tokens import with_specials

    contents = {}
    try:
        for name in sorted(os.listdir(folder)):
            if name.endswith('.json'):
                with open(os.path.join(folder, name), encoding='utf-8') as file:
                    contents[name] = file.read()
        kind = json.loads(contents[FILE])['kind']
        roles = json.loads(contents.pop(SPECIALS_FILE, '[]'))
    except (OSError, KeyError, ValueError, TypeError):
        raise UsageError(
            f'tokenizer={str(folder)!r}: no readable tokenizer there; give the folder that training wrote'
        ) from None
    return with_specials(tokenizer_class(kind).from_contents(contents), roles)
