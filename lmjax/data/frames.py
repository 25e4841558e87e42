"""The table of what stands before a text: a picture in patches, a sound in pieces, each a frame of numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lmjax.config import UsageError, choose, require
from lmjax.data.config import DataConfig
from lmjax.data.labelled import join_label, split_label
from lmjax.data.pictures import picture_shape, read_picture
from lmjax.data.rows import open_rows
from lmjax.data.sounds import read_sound, sound_shape
from lmjax.data.sources import Source, bad_source, read_bytes
from lmjax.data.special_tokens import end_id
from lmjax.data.tokenizers import Tokenizer

PLACE = 0  # the id that stands where a frame is; nobody reads it


class Medium(NamedTuple):
    """A kind of file that is read as frames."""

    shape: Callable[[DataConfig], tuple[int, int]]  # frames of each file, and the numbers of a frame
    read: Callable[[str, DataConfig], np.ndarray]  # a file -> these, float32; UsageError says what is wrong with it
    fields: tuple[str, ...]  # of DataConfig that it depends on
    columns: str


# the kind of a source -> what its files are
MEDIA = {
    'pictures': Medium(picture_shape, read_picture, ('picture_size', 'patch_size'), 'picture,caption'),
    'sounds': Medium(sound_shape, read_sound, ('sound_seconds', 'sound_stack'), 'sound,transcript'),
}


def medium_of(name: str) -> Medium:
    """What the files of `data.source=name` are."""
    return choose(MEDIA, name.partition(':')[0], 'data.source')


def settings_of(name: str, data: DataConfig) -> list[object]:
    """What of a config decides the frames of a source."""
    return [getattr(data, field) for field in medium_of(name).fields]


def open_framed(name: str, argument: str) -> Source:
    """Rows with a file, named relative to theirs, and a text: documents are `text<TAB>file`.

    The digest is of the files' content too. Raises UsageError, with file and line, for one that is not there.
    """
    columns = medium_of(name).columns

    def document(files: list[object], text: object, place: str) -> str | None:
        if not isinstance(files[0], str) or not files[0].strip():
            return None
        path = os.path.join(os.path.dirname(place.rpartition(':')[0]), files[0])
        if not os.path.isfile(path):
            raise bad_source(name, f'{place}: {path} is not there', 'mend or remove the row')
        return join_label([text], path)

    source = open_rows(name, argument, kind='caption', default=columns, document=document, texts=(1,))
    digest = hashlib.sha256(source.digest.encode())
    for found in source.documents():
        if found is not None:
            digest.update(hashlib.sha256(read_bytes(split_label(found)[1])).digest())
    return source._replace(digest=digest.hexdigest())


def read_files(
    name: str, paths: Sequence[str], data: DataConfig, *, find: Callable[[str], str] = lambda path: ''
) -> np.ndarray:
    """Frames of files of the kind of a source, N x P x F float32.

    Raises UsageError for one that cannot be read, with its place in the rows, which `find` knows.
    """
    medium = medium_of(name)
    found = np.zeros((len(paths), *medium.shape(data)), np.float32)
    for row, path in zip(found, paths, strict=True):
        try:
            row[:] = medium.read(path, data)
        except UsageError as error:
            where = find(path)
            raise UsageError(f'file={path!r}: {where and f"named in {where}, "}{error}; mend it, or leave it out') from None
    return found


def frames_of(source: Source, paths: Sequence[str], data: DataConfig) -> np.ndarray:
    """The same of a source whose documents name the paths. Raises UsageError for another medium than that of the run too."""
    alike = medium_of(source.name) is medium_of(data.source)
    require(alike, 'source', source.name, f'the run reads {data.source.partition(":")[0]}; give such rows')

    def find(path: str) -> str:
        return source.find(lambda document: split_label(document)[1] == path)

    return read_files(source.name, paths, data, find=find)


def encode_captions(texts: Iterable[str], frames: int, tokenizer: Tokenizer) -> list[np.ndarray]:
    """Ids of each text between as many places as there are frames and the token that ends a text."""
    places, end = np.full(frames, PLACE, np.int32), np.array([end_id(tokenizer)], np.int32)
    return [np.concatenate([places, caption_ids(text, tokenizer), end]) for text in texts]


def caption_ids(text: str, tokenizer: Tokenizer) -> np.ndarray:
    """Ids of a text as it stands behind frames, int32."""
    return tokenizer.encode_rendered(text)


def check_frames(data: DataConfig) -> None:
    """Raises UsageError for sizes that cannot be, or that leave no room for a text."""
    frames, _ = medium_of(data.source).shape(data)
    remedy = f'leaves no room for a text behind {frames} frames; use {2 * frames} or more'
    require(data.seq_len > frames, 'data.seq_len', data.seq_len, remedy)
    if data.valid_source:
        alike = medium_of(data.valid_source) is medium_of(data.source)
        require(alike, 'data.valid_source', data.valid_source, f'is of another kind than {data.source}; name such rows')
