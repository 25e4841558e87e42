"""From `DataConfig` to token stores: read, clean, split, train the tokenizer, encode; all of it once per content."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import lzma
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmjax.caches import user_cache
from lmjax.config import UsageError, choose, from_dict, require, to_dict
from lmjax.data.cleaning import clean, validate_cleaning
from lmjax.data.config import DataConfig
from lmjax.data.frames import encode_captions, frames_of, settings_of
from lmjax.data.labelled import split_label
from lmjax.data.labels import LABELS, classes_of, part_labels, told_apart
from lmjax.data.languages import balanced
from lmjax.data.parallel_text import encode_pairs, encode_two, halves, need_separator
from lmjax.data.sources import Source, open_source
from lmjax.data.special_tokens import SPECIALS, roles_of, with_specials
from lmjax.data.store import FORMAT, TokenStore, build_once, memory_store, read_stream, write_stream
from lmjax.data.tokenizers import Tokenizer, batches, load_tokenizer, tokenizer_class, utf8

CLEANING = ('normal_form', 'strip_control', 'deduplicate', 'lowercase', 'min_chars', 'max_chars', 'max_documents')
COMPRESSED_BYTES = 16 << 20  # of held-out text that the compressors see


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A source's text as tokens, split in two."""

    train: TokenStore
    valid: TokenStore
    tokenizer: Tokenizer
    counts: dict[str, int]  # documents read, kept, dropped_* and changed_*; characters and tokens of each split
    digest: str  # of content, cleaning, split and tokenizer
    provenance: str
    folder: Path


def prepare(data: DataConfig, *, tokenizer: Tokenizer | None = None) -> Corpus:
    """The corpus of a config, from the cache if it is there; with a tokenizer (a run's own), that one is used.

    Raises UsageError for a source that is missing, empty or not text.
    """
    own = tokenizer_class(data.tokenizer)
    if tokenizer is None and not own.trainable:
        own.train([], [], data.vocab_size)  # says where it comes from, before any text is read
    for name in data.specials:
        choose(dict.fromkeys(SPECIALS), name, 'data.specials')
    validate_cleaning(data)
    fraction = data.valid_fraction
    require(0 < fraction < 1, 'data.valid_fraction', fraction, 'use a share between 0 and 1, as 0.1')
    source = open_source(data.source)
    if source.paired:
        need_separator(source.name, tokenizer.specials if tokenizer else roles_of(data))
    kind: list[Any] = ['given', tokenizer.digest] if tokenizer else [data.tokenizer, data.vocab_size, *roles_of(data)]
    held_out = open_held_out(source, data)
    key = store_key(source, data, [*kind, data.unseen_labels, held_out.digest if held_out else fraction])
    folder = cache_folder(data) / key
    meta = build_once(folder, lambda temporary: build_corpus(temporary, source, held_out, data, tokenizer))
    tokenizer = tokenizer or load_tokenizer(folder / 'tokenizer')
    train, valid = (read_stream(folder, name, meta) for name in ('train', 'valid'))
    return Corpus(train, valid, tokenizer, meta['counts'], key, source.provenance, folder)


def open_held_out(source: Source, data: DataConfig) -> Source | None:
    """What `data.valid_source` names. Raises UsageError where its documents are of another kind than those of the source."""
    if not data.valid_source:
        return None
    found = open_source(data.valid_source)
    alike = (found.paired, found.labels, found.two) == (source.paired, source.labels, source.two)
    require(alike, 'data.valid_source', data.valid_source, f'holds documents of another kind than {source.name}')
    return found


def prepare_eval(source_name: str, tokenizer: Tokenizer, data: DataConfig, *, classes: Sequence[str] = ()) -> TokenStore:
    """A whole source as one stream, cleaned as `data` says and encoded by a run's tokenizer; `classes` are the run's."""
    source = open_source(source_name)
    if source.paired:
        need_separator(source.name, tokenizer.specials)
    folder = cache_folder(data) / store_key(source, data, ['whole', tokenizer.digest, data.unseen_labels, *classes])

    def build(temporary: Path) -> dict[str, Any]:
        texts, counts = read_documents(source, data)
        texts, unseen = told_apart(source, texts, classes, data) if source.labels else (texts, 0)
        stream = encode_stream(temporary, 'whole', texts, tokenizer=tokenizer, source=source, classes=classes, data=data)
        return {'counts': counts, 'streams': {'whole': stream | {'unseen_labels': unseen}}}

    return read_stream(folder, 'whole', build_once(folder, build))


def encode_text(text: str, tokenizer: Tokenizer, *, paired: bool = False) -> TokenStore:
    """One document, or one pair, as a stream in memory, as it stands (no cleaning)."""
    return memory_store(
        encode_documents([text], tokenizer, paired=paired),
        text_bytes=len(utf8(text)),
        vocab_size=tokenizer.vocab_size,
        separator_id=tokenizer.separator_id,
        paired=paired,
    )


def cache_folder(data: DataConfig) -> Path:
    """`data.cache_dir`, or tokens/ in the user's cache folder."""
    if data.cache_dir:
        return Path(data.cache_dir).expanduser()
    return user_cache('tokens')


def store_key(source: Source, data: DataConfig, more: list[Any]) -> str:
    """Digest of everything that decides what a store holds."""
    cleaning = {name: getattr(data, name) for name in CLEANING}
    kind = LABELS[source.labels] if source.labels else None
    fitted = [getattr(data, name) for name in kind.fitted] if kind else []
    frames = settings_of(source.name, data) if kind and kind.framed else []
    parts = [FORMAT, source.digest, cleaning, *more, *fitted, *frames]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def read_documents(source: Source, data: DataConfig) -> tuple[list[str], dict[str, int]]:
    """Cleaned documents and the counts; raises UsageError when nothing is left."""
    counts: Counter[str] = Counter()
    texts = list(clean(source.documents(), data, counts, labelled=bool(source.labels)))
    if not texts:
        dropped = ', '.join(f'{name}={n}' for name, n in counts.items() if name.startswith('dropped_'))
        raise UsageError(
            f'data.source={source.name!r}: no text is left ({dropped or "it is empty"}); relax the cleaning options'
        )
    return texts, dict(counts)


def split_documents(
    texts: Sequence[str], fraction: float, *, interleaved: bool, whole: bool = False
) -> tuple[list[str], list[str]]:
    """Training and validation documents.

    The last `fraction` of the characters is held out. The document in which the boundary falls goes to validation whole,
    unless it is longer than the whole share: then it is cut there, if documents need not stay whole. Interleaved: every tenth
    document for a tenth.
    """
    if interleaved:
        every = max(2, round(1 / fraction))
        return [text for i, text in enumerate(texts) if i % every != every - 1], list(texts[every - 1 :: every])
    total = sum(map(len, texts))
    before, boundary = 0, total - max(1, int(total * fraction))
    for i, text in enumerate(texts):
        if before + len(text) > boundary:
            cut = boundary - before if len(text) > total - boundary and not whole else 0
            head, tail = text[:cut], text[cut:]
            return [*texts[:i], *([head] if head else [])], [tail, *texts[i + 1 :]]
        before += len(text)
    raise AssertionError('the boundary lies inside the text')


def build_corpus(
    folder: Path, source: Source, held_out: Source | None, data: DataConfig, tokenizer: Tokenizer | None
) -> dict[str, Any]:
    """Writes both streams, the tokenizer and the held-out text into a folder; returns its meta."""
    train, valid, counts = parted(source, held_out, data)
    if not train or not valid:
        count = len(train) + len(valid)
        raise UsageError(f'data.source={source.name!r}: too little text to split ({count} documents); give more text')
    classes = classes_of(source, train) if source.labels else ()
    if source.labels:
        train, absent = told_apart(source, train, classes, data)
        valid, strange = told_apart(held_out or source, valid, classes, data)
        counts['dropped_unseen_label'] = absent + strange
    if source.labels == 'language':
        train = balanced(train, data.balance)
    if tokenizer is None:
        shown, unseen = (texts_of(part, source) for part in (train, valid))
        own = tokenizer_class(data.tokenizer).train(shown, [*shown, *unseen], data.vocab_size)
        tokenizer = with_specials(own, roles_of(data))
    tokenizer.save(folder / 'tokenizer')
    plain = texts_of(valid, source) if source.labels else valid
    (folder / 'valid.txt').write_bytes(utf8(''.join(plain))[:COMPRESSED_BYTES])
    splits = {'train': train, 'valid': valid}
    origins = {'train': source, 'valid': held_out or source}
    encode = functools.partial(encode_stream, folder, tokenizer=tokenizer, classes=classes, data=data)
    streams = {name: encode(name, part, source=origins[name]) for name, part in splits.items()}
    for name, part in splits.items():
        counts |= {
            f'{name}_documents': len(part),
            f'{name}_chars': sum(map(len, part)),
            f'{name}_tokens': streams[name]['tokens'],
        }
    return {'counts': counts, 'streams': streams}


def parted(source: Source, held_out: Source | None, data: DataConfig) -> tuple[list[str], list[str], dict[str, int]]:
    """Documents to train on, those to validate on, and how many were read, kept and dropped."""
    train, counts = read_documents(source, data)
    if held_out is None:
        how = {'interleaved': source.interleaved, 'whole': source.paired}
        return *split_documents(train, data.valid_fraction, **how), counts
    valid, more = read_documents(held_out, data)
    return train, valid, dict(Counter(counts) + Counter(more))


def held_out_labels(data: DataConfig, classes: Sequence[str]) -> tuple[list[str], list[str], Any]:
    """The texts that validate, their labels as they are written, and in numbers."""
    source = open_source(data.valid_source or data.source)
    valid = read_documents(source, data)[0] if data.valid_source else parted(source, None, data)[1]
    valid, _ = told_apart(source, valid, classes, data)
    return part_labels(source, valid, classes)


def texts_of(documents: Sequence[str], source: Source) -> list[str]:
    """What of a source's documents is text: of pairs both halves, and no labels."""
    if source.labels:
        return [LABELS[source.labels].plain(split_label(document)[0]) for document in documents]
    return halves(documents) if source.paired else list(documents)


def encode_stream(
    folder: Path,
    name: str,
    documents: Sequence[str],
    *,
    tokenizer: Tokenizer,
    source: Source,
    classes: Sequence[str],
    data: DataConfig,
) -> dict[str, Any]:
    """Encodes the documents of a source, a few million characters at a time, and writes them with what is told of them."""
    texts, told, separator = documents, {}, tokenizer.separator_id
    how = {'paired': source.paired, 'two': source.two}
    kind = LABELS[source.labels] if source.labels else None
    if kind:
        texts, _, numbers = part_labels(source, documents, classes)
        told, separator = {'labels': numbers}, None if kind.bounded else separator
    ids: Iterable[np.ndarray] = (row for part in batches(texts) for row in encode_documents(part, tokenizer, **how))
    if kind and kind.framed:
        told = {'frames': frames_of(source, told['labels'], data)}
        ids = encode_captions(texts, told['frames'].shape[1], tokenizer)
    if kind and kind.encode:
        fitted = {name: getattr(data, name) for name in kind.fitted}
        ids, tags = kind.encode(texts, told['labels'], tokenizer, **fitted)
        told = {'tags': tags}
    meta = write_stream(folder, name, ids, vocab_size=tokenizer.vocab_size, separator_id=separator, **told)
    return meta | how | {'text_bytes': sum(len(utf8(text)) for text in texts), 'classes': list(classes)}


def encode_documents(
    texts: Sequence[str], tokenizer: Tokenizer, *, paired: bool = False, two: bool = False
) -> list[np.ndarray]:
    """Ids of documents: of a source and a target, of two texts that are read as one, or of a text."""
    encode = encode_two if two else encode_pairs
    return encode(texts, tokenizer) if paired or two else tokenizer.encode_documents(texts)


def compressor_lines(corpus: Corpus) -> dict[str, float]:
    """Bits per byte that general compressors need for the held-out text (its first 16 MiB), kept beside the store."""
    path = corpus.folder / '.compressors.json'
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    text = (corpus.folder / 'valid.txt').read_bytes()
    sizes = {'gzip -9': len(gzip.compress(text, 9, mtime=0)), 'xz': len(lzma.compress(text))}
    lines = {name: 8 * size / len(text) for name, size in sizes.items()}
    with contextlib.suppress(OSError):  # a read-only cache: it is computed again next time
        path.write_text(json.dumps(lines))
    return lines


def start_preparing(data: DataConfig, tokenizer: Tokenizer | None = None) -> subprocess.Popen[bytes]:
    """Prepares in a process of its own, so that it runs while this one imports and compiles.

    `prepare` then waits for it at the store's lock and, should it have failed, does the work and reports the reason itself.
    """
    task = {'data': to_dict(data), 'tokenizer': tokenizer.contents() if tokenizer else {}}
    with tempfile.TemporaryFile() as file:  # nobody waits for whoever reads it
        file.write(json.dumps(task).encode())
        file.seek(0)
        command = [sys.executable, '-m', 'lmjax.data.corpus']
        return subprocess.Popen(command, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prepare_task(task: dict[str, Any]) -> None:
    """What `start_preparing` asked for."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in task['tokenizer'].items():
            Path(folder, name).write_text(text, encoding='utf-8')
        prepare(from_dict(task['data']), tokenizer=load_tokenizer(folder) if task['tokenizer'] else None)


if __name__ == '__main__':
    prepare_task(json.load(sys.stdin))
