"""Tokens on disk: written once, memory-mapped from then on, never trusted without their digest.

A stream holds documents one after the other. With a separator the stream is `S d1 S d2 S ... dn S`: each document starts
with one (so that its first token is predicted from something) and the next one ends it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lmjax.config import UsageError

FORMAT = 2  # counts up when files or their meaning change: old stores are then simply not found
INSIDE, OUTSIDE = -1, -2  # instead of a tag: a token goes on with a word, or is of none
META = 'meta.json'
WHOLE = 1 << 30  # bytes up to which a file is digested whole; longer ones by evenly spaced blocks
BLOCK, BLOCKS = 1 << 20, 512


class DamagedError(Exception):
    """A store that does not hold what its meta file says."""


@dataclasses.dataclass(frozen=True)
class TokenStore:
    """A stream of tokens; document i is tokens[doc_offsets[i]:doc_offsets[i + 1]], its leading separator included."""

    tokens: np.ndarray  # uint16 or uint32
    doc_offsets: np.ndarray  # int64, one more than documents
    text_bytes: int  # UTF-8 bytes of the documents' text
    vocab_size: int
    separator_id: int | None = None
    paired: bool = False  # each document is a source and a target, of use only whole
    labels: np.ndarray | None = None  # of each document its class (int32), classes (x C) or number (float32); None: no labels
    tags: np.ndarray | None = None  # int32, of each token; at the first of each word, else INSIDE or OUTSIDE; None: no tags
    classes: tuple[str, ...] = ()  # the names of labels or tags
    two: bool = False  # each document is two texts that are read as one
    frames: np.ndarray | None = None  # N x P x F float32: what stands in the first P places of each document; None: its tokens
    unseen_labels: int = 0  # documents that were left out for a label that training never saw

    @property
    def labelled(self) -> bool:
        """Whether something is to be told of each document, which is then read once."""
        return any(told is not None for told in (self.labels, self.tags, self.frames))

    def __len__(self) -> int:
        return len(self.tokens)


def token_dtype(vocab_size: int) -> np.dtype:
    return np.dtype('<u2' if vocab_size <= 1 << 16 else '<u4')


def join_documents(documents: Iterable[np.ndarray], separator_id: int | None, vocab_size: int) -> Iterator[np.ndarray]:
    """Each document as it stands in the stream; ids are checked here, so no store holds one outside the vocabulary."""
    head = np.array([] if separator_id is None else [separator_id])
    for number, ids in enumerate(documents):
        if len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
            raise UsageError(f'tokens: document {number} has an id outside the vocabulary of {vocab_size}; rebuild the store')
        yield np.concatenate([head, ids]).astype(token_dtype(vocab_size))
    yield head.astype(token_dtype(vocab_size))


def memory_store(
    documents: Iterable[np.ndarray],
    *,
    text_bytes: int,
    vocab_size: int,
    separator_id: int | None = None,
    paired: bool = False,
    labels: np.ndarray | None = None,
    tags: Iterable[np.ndarray] | None = None,
    two: bool = False,
    frames: np.ndarray | None = None,
) -> TokenStore:
    """A store that is not on disk, for text that is used once; `tags` are each document's."""
    arrays = list(join_documents(documents, separator_id, vocab_size))
    offsets = np.cumsum([0, *(len(array) for array in arrays[:-1])], dtype=np.int64)
    along = None if tags is None else join_tags(tags, separator_id)
    sizes = text_bytes, vocab_size, separator_id
    return TokenStore(np.concatenate(arrays), offsets, *sizes, paired, labels, along, two=two, frames=frames)


def join_tags(tags: Iterable[np.ndarray], separator_id: int | None) -> np.ndarray:
    """Tags of documents along the stream, separators having none, int32."""
    head = np.full(int(separator_id is not None), OUTSIDE)
    return np.concatenate([part for tag in tags for part in (head, tag)] + [head]).astype(np.int32)


def write_stream(
    folder: Path,
    name: str,
    documents: Iterable[np.ndarray],
    *,
    vocab_size: int,
    separator_id: int | None,
    labels: np.ndarray | None = None,
    tags: Iterable[np.ndarray] | None = None,
    frames: np.ndarray | None = None,
) -> dict:
    """Writes NAME.tokens, NAME.offsets and, where there are any, NAME.labels.npy, NAME.tags.npy and NAME.frames.npy.

    Returns what `read_stream` needs.
    """
    along = None if tags is None else join_tags(tags, separator_id)
    for what, told in {'labels': labels, 'tags': along, 'frames': frames}.items():
        if told is not None:
            np.save(folder / f'{name}.{what}.npy', told)
    offsets = [0]
    with open(folder / f'{name}.tokens', 'wb') as file:
        for array in join_documents(documents, separator_id, vocab_size):
            array.tofile(file)
            offsets.append(offsets[-1] + len(array))
    np.array(offsets[:-1], '<i8').tofile(folder / f'{name}.offsets')
    return {'tokens': offsets[-1], 'documents': len(offsets) - 2, 'vocab_size': vocab_size, 'separator_id': separator_id}


def digest_file(path: Path) -> str:
    """SHA-256 of a file's size and content; of a very long one, of evenly spaced blocks of it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, 'rb') as file:
        if size <= WHOLE:
            digest.update(hashlib.file_digest(file, 'sha256').digest())
        else:
            for i in range(BLOCKS):
                file.seek((size - BLOCK) * i // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()


def read_stream(folder: Path, name: str, meta: dict[str, Any]) -> TokenStore:
    """Maps a stream into memory; files were checked by `read_meta`."""
    stream = meta['streams'][name]
    tokens = np.memmap(folder / f'{name}.tokens', token_dtype(stream['vocab_size']), 'r')
    offsets = np.fromfile(folder / f'{name}.offsets', '<i8')
    beside = (folder / f'{name}.{what}.npy' for what in ('labels', 'tags'))
    labels, tags = (np.load(path) if path.exists() else None for path in beside)
    frames = folder / f'{name}.frames.npy'
    sizes = stream['text_bytes'], stream['vocab_size'], stream['separator_id']
    paired, classes, two = stream.get('paired', False), tuple(stream.get('classes', ())), stream.get('two', False)
    mapped = np.load(frames, mmap_mode='r') if frames.exists() else None
    return TokenStore(tokens, offsets, *sizes, paired, labels, tags, classes, two, mapped, stream.get('unseen_labels', 0))


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Seals a folder: digests every file in it into its meta file."""
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    digests = {str(path.relative_to(folder)): digest_file(path) for path in files}
    body = meta | {'format': FORMAT, 'files': digests}
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (folder / META).write_text(json.dumps(body | {'seal': seal}, indent=1))


def read_meta(folder: Path) -> dict[str, Any]:
    """What `write_meta` sealed; raises FileNotFoundError where there is nothing, DamagedError where anything differs."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        meta = json.loads((folder / META).read_text())
        seal = meta.pop('seal')
    except (OSError, ValueError, KeyError, AttributeError):
        raise DamagedError(f'{META} is missing or cut') from None
    if seal != hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest():
        raise DamagedError(f'{META} differs from its seal')
    for name, digest in meta['files'].items():
        path = folder / name
        if not path.is_file() or digest_file(path) != digest:
            raise DamagedError(f'{name} is missing or differs from its digest')
    return meta


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file; the system lets go of it when its holder dies."""
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_once(folder: Path, build: Callable[[Path], dict[str, Any]], *, field: str = 'data.cache_dir') -> dict[str, Any]:
    """The meta of a sealed folder, which `build(temporary folder)` makes first if it is not there or damaged.

    Builders wait for each other; the folder appears at once and whole, by a rename.
    """
    with contextlib.suppress(FileNotFoundError, DamagedError):
        return read_meta(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f'{folder.name}.lock')):
            return build_locked(folder, build)
    except OSError as error:
        what = f'cannot write token stores there ({error.strerror or error})'
        raise UsageError(f'{field}={str(folder.parent)!r}: {what}; name a folder with room in {field}') from error


def build_locked(folder: Path, build: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read_meta(folder)  # another process was first
    except FileNotFoundError:
        pass
    except DamagedError as damage:
        warnings.warn(f'token store {folder.name} is damaged ({damage}); it is built again', stacklevel=2)
        shutil.rmtree(folder)
    temporary = folder.with_name(f'{folder.name}.tmp')  # one name: whatever a killed builder left is replaced
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        write_meta(temporary, build(temporary))
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_meta(folder)
