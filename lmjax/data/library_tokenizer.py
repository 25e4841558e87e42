"""Any tokenizer of the `tokenizers` library, as published checkpoints carry it in tokenizer.json."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.bpe import spelled_bytes
from lmjax.data.chat import Chat
from lmjax.data.special_tokens import GAP, SENTINEL, spelled
from lmjax.data.tokenizers import FILE, MASK, Tokenizer, utf8

CHAT_FILE = 'chat.json'
MAX_TOKENS = 1 << 24  # sixteen million; published vocabularies end at a few hundred thousand
# how published checkpoints that fill gaps write the tokens of GAP: StarCoder, SantaCoder, Qwen's coders, DeepSeek's
GAP_TOKENS = (
    ('<fim_prefix>', '<fim_suffix>', '<fim_middle>'),
    ('<fim-prefix>', '<fim-suffix>', '<fim-middle>'),
    ('<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>'),
    ('<｜fim▁begin｜>', '<｜fim▁hole｜>', '<｜fim▁end｜>'),
)
# decoder -> how a token begins, and whether one that does so goes on with a word or starts one
WORD_SIGNS = {'WordPiece': ('##', True), 'Metaspace': ('\u2581', False)}


class LibraryTokenizer(Tokenizer):
    """`tokenizer.json` as it stands, special tokens added as it says; special tokens decode to nothing.

    `size` may exceed the tokens that it knows, where a network's table has spare rows; the spare ones decode to nothing.
    """

    kind = 'library'
    trainable = False

    def __init__(
        self,
        library_json: str,
        *,
        size: int = 0,
        ends: Sequence[int | str] = (),
        start: int | None = None,
        specials: Mapping[str, str] = MappingProxyType({}),
        chat: Chat | None = None,
    ) -> None:
        """The tokenizer of a text in the library's format.

        Args:
          ends: tokens that end a text, by their ids or as they are written.
          start: the id that a decoder's text begins with; it gets the role `start`.
          specials: role -> the token that has it. Sentinels (`<extra_id_0>`, ...) are found where they are named or not.
          chat: how conversations are written.

        Raises:
          UsageError: the text is no tokenizer, or knows more tokens than `size`.
        """
        import tokenizers

        self._json, self.chat = library_json, chat
        try:
            self._library = tokenizers.Tokenizer.from_str(library_json)
        except Exception as error:  # the library raises Exception itself
            raise UsageError(f'tokenizer.json: not a tokenizer of the tokenizers library ({error}); fetch it again') from error
        self._library.no_padding()
        self._library.no_truncation()
        self._known = max(self._library.get_vocab(with_added_tokens=True).values()) + 1
        require(self._known <= MAX_TOKENS, 'tokenizer.json: tokens', self._known, f'{MAX_TOKENS:,} is the most; fetch it again')
        self.vocab_size = size or self._known
        if self._known > self.vocab_size:
            remedy = 'the tokenizer and the network do not belong together'
            raise UsageError(f'tokenizer.json: has {self._known} tokens and the network {self.vocab_size}; {remedy}')
        vocabulary = self._library.get_vocab(with_added_tokens=True)
        named = {**specials, **found_sentinels(vocabulary), **found_gap(vocabulary)}
        ids = {role: self._library.token_to_id(token) for role, token in named.items()}
        ids |= {} if start is None or start >= self.vocab_size else {'start': start}
        self.specials = {role: i for role, i in ids.items() if i is not None}
        found = (self._library.token_to_id(end) if isinstance(end, str) else end for end in ends)
        self._ends = tuple(int(end) for end in found if end is not None and end < self.vocab_size)
        self.separator_id = self._ends[0] if self._ends else None
        self._measure()

    def _measure(self) -> None:
        """`byte_lengths` and `lossless`, from how the decoder works: exact where tokens spell bytes."""
        described = json.loads(self._json)
        special = {token['id'] for token in described.get('added_tokens', ()) if token.get('special')}
        decoder = described.get('decoder') or {}
        spelled = spelled_bytes()
        self.lossless = decoder.get('type') == 'ByteLevel' and not described.get('normalizer')
        self.byte_lengths = np.zeros(self.vocab_size, np.int64)
        for token, i in self._library.get_vocab(with_added_tokens=True).items():
            if i not in special:
                is_bytes = self.lossless and all(character in spelled for character in token)
                self.byte_lengths[i] = len(token) if is_bytes else len(token.encode())

    @property
    def end_ids(self) -> tuple[int, ...]:
        return self._ends

    @classmethod
    def train(cls, train_texts: Sequence[str], texts: Sequence[str], vocab_size: int) -> LibraryTokenizer:
        raise UsageError("data.tokenizer='library': comes with a checkpoint and is not trained; choose bpe, word, char or byte")

    @classmethod
    def from_contents(cls, contents: dict[str, str]) -> LibraryTokenizer:
        saved = json.loads(contents[FILE])
        chat = Chat(**json.loads(contents[CHAT_FILE])) if CHAT_FILE in contents else None
        specials = saved.get('specials', {})
        return cls(contents['tokenizer.json'], size=saved['size'], ends=saved['ends'], specials=specials, chat=chat)

    def with_roles(self, roles: Sequence[str]) -> LibraryTokenizer:
        """Itself, or where it lacks some of the roles, with a token for each: on a spare row if there is one, or a new one."""
        import tokenizers

        missing = {role: spelled(role) for role in roles if role not in self.specials}
        if not missing:
            return self
        library = tokenizers.Tokenizer.from_str(self._json)
        library.add_special_tokens(list(missing.values()))
        contents = self.contents()
        saved = json.loads(contents[FILE])
        saved['size'] = max(self.vocab_size, library.get_vocab_size(with_added_tokens=True))
        saved['specials'] |= missing
        return type(self).from_contents({**contents, FILE: json.dumps(saved), 'tokenizer.json': library.to_str()})

    def encode(self, text: str) -> np.ndarray:
        utf8(text)
        return np.asarray(self._library.encode(text).ids, np.int32)

    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        for text in texts:
            utf8(text)
        return [np.asarray(row.ids, np.int32) for row in self._library.encode_batch_fast(list(texts))]

    @property
    def frames_two(self) -> bool:
        """Whether it says how two texts stand in one."""
        return self._library.num_special_tokens_to_add(True) > self._library.num_special_tokens_to_add(False)

    def encode_two(self, pairs: Sequence[tuple[str, str]]) -> list[np.ndarray]:
        """Ids of two texts in one, with the special tokens that belong between and around them."""
        for pair in pairs:
            utf8(''.join(pair))
        return [np.asarray(row.ids, np.int32) for row in self._library.encode_batch_fast(list(pairs))]

    def encode_rendered(self, text: str) -> np.ndarray:
        utf8(text)
        return np.asarray(self._library.encode(text, add_special_tokens=False).ids, np.int32)

    def encode_located(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids without the tokens around them, and the characters that each is of, T x 2, -1 where it is of none."""
        utf8(text)
        found = self._library.encode(text, add_special_tokens=False)
        spans = np.array(found.offsets, np.int64).reshape(-1, 2)
        return np.asarray(found.ids, np.int32), np.where(spans[:, :1] < spans[:, 1:], spans, -1)

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        bare, framed = self.encode_rendered('a'), self.encode('a')
        starts = range(len(framed) - len(bare) + 1)
        start = next(i for i in starts if np.array_equal(framed[i : i + len(bare)], bare))
        return framed[:start], framed[start + len(bare) :]

    def encode_marked(self, text: str) -> np.ndarray:
        texts, (first, *parts) = self.special_texts(), text.split(MASK)
        roles = self.mask_roles(len(parts))
        return self.encode(first + ''.join(texts[role] + part for role, part in zip(roles, parts, strict=True)))

    def special_texts(self) -> dict[str, str]:
        return {role: str(self._library.id_to_token(i)) for role, i in self.specials.items()}

    def word_flags(self) -> tuple[np.ndarray, np.ndarray]:
        kind = (json.loads(self._json).get('decoder') or {}).get('type')
        if kind not in WORD_SIGNS:
            return super().word_flags()
        sign, inside = WORD_SIGNS[kind]
        flags = np.zeros(self.vocab_size, bool)
        for token, i in self._library.get_vocab(with_added_tokens=True).items():
            flags[i] = token.startswith(sign) == inside
        return flags, self.byte_lengths > 0

    def decode(self, ids: Iterable[int]) -> str:
        return self._library.decode([int(i) for i in ids if i < self._known], skip_special_tokens=True)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return self.decode(ids).encode()

    def contents(self) -> dict[str, str]:
        saved = {'kind': self.kind, 'size': self.vocab_size, 'ends': self._ends, 'specials': self.special_texts()}
        chat = {CHAT_FILE: json.dumps(self.chat._asdict())} if self.chat else {}
        return {FILE: json.dumps(saved), 'tokenizer.json': self._json, **chat}


def found_sentinels(vocabulary: Collection[str]) -> dict[str, str]:
    """Role -> token of the sentinels in a vocabulary: those numbered 0, 1, ... without a gap."""
    roles = (f'{SENTINEL}{i}' for i in itertools.count())
    return {role: spelled(role) for role in itertools.takewhile(lambda role: spelled(role) in vocabulary, roles)}


def found_gap(vocabulary: Collection[str]) -> dict[str, str]:
    """Role -> token of the marks of a gap in a vocabulary; empty where it does not have all of them."""
    found = (tokens for tokens in GAP_TOKENS if all(token in vocabulary for token in tokens))
    return dict(zip(GAP, next(found, ()), strict=False))
