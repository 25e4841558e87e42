"""Texts of several languages: which one each text is of, and how many of each a network is trained on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence

import numpy as np

from lmjax.data.labelled import join_label, split_label
from lmjax.data.marks import Corruption, Marks
from lmjax.data.sources import Source, bad_source, open_source
from lmjax.data.store import TokenStore
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Batch


def open_languages(name: str, argument: str) -> Source:
    """The texts of `NAME=SOURCE;NAME=SOURCE`, each source plain texts of a language; documents are `text<TAB>NAME`.

    Raises UsageError for a name that comes twice, or a source that cannot be read or whose documents are no plain texts.
    """
    parts = [part.partition('=') for part in argument.split(';') if part]
    names = [language for language, _, _ in parts]
    if not parts or not all(language and opened for language, _, opened in parts) or len(set(names)) < len(names):
        raise bad_source(name, 'names no languages', 'write NAME=SOURCE;NAME=SOURCE, each name once, as en=text:en/*.txt')
    sources = {language: open_source(opened) for language, _, opened in parts}
    for source in sources.values():
        if source.labels or source.paired:
            raise bad_source(name, f'{source.name} has no plain texts', 'use text:GLOB or jsonl:GLOB#FIELD')

    def documents() -> Iterator[str | None]:
        for language, source in sources.items():
            yield from (None if text is None else join_label([text], language) for text in source.documents())

    told = ' '.join(f'{language} {source.digest}' for language, source in sources.items())
    provenance = '; '.join(f'{language}: {source.provenance}' for language, source in sources.items())
    digest = hashlib.sha256(f'languages {told}'.encode()).hexdigest()
    return Source(name, documents, digest, provenance, interleaved=True, labels='language')


def balanced(documents: Sequence[str], exponent: float) -> list[str]:
    """The documents of each language, so that one of n has a share ~ n ** exponent (Conneau and Lample 2019, section 3.1).

    The largest language comes once. Of another one all documents come as often as goes into its factor, and of the rest as many
    as are missing, drawn once. An exponent of 1 changes nothing, with 0 all languages have as many.
    """
    by_name: dict[str, list[str]] = {}
    for document in documents:
        by_name.setdefault(split_label(document)[1], []).append(document)
    most = max(map(len, by_name.values()), default=0)
    found = list(documents)
    for name, own in sorted(by_name.items()):
        count = round(len(own) * (most / len(own)) ** (1.0 - exponent))
        whole, rest = divmod(count, len(own))
        found += own * (whole - 1) + random.Random(name).sample(own, rest)
    return found


def typed(objective: ObjectiveConfig, marks: Marks) -> Corruption:
    """Each row is a text, whose tokens are of the type of its language: the vector of it, if the network has some, is added."""

    def corrupt(batch: Batch, keys_B: np.ndarray, store: TokenStore) -> Batch:
        types_Bx1 = np.maximum(np.asarray(batch.labels), 0).astype(np.int32)[:, None]
        types_BxT = np.broadcast_to(types_Bx1, np.shape(batch.inputs.ids)).copy()
        return batch._replace(inputs=batch.inputs._replace(types=types_BxT), labels=None)

    return corrupt
