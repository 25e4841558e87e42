"""The baseline of pairs that learns nothing: the source as it stands, or its first sentences (lead-1 of summaries).

    python -m experiments.copy_baseline --data='jsonl:pairs.jsonl#en,it@0/10' --predictions=copy.jsonl [--sentences=1]

Writes a JSON object for each pair, with `text`, `label` (the target) and `told`, for experiments.compare. A sentence ends with
a full stop, a question or an exclamation mark before white space, or with an empty line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from absl import flags

from experiments import cli
from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import read_documents
from lmjax.data.parallel_text import split_pair
from lmjax.data.sources import need_pairs, open_source

_DATA = flags.DEFINE_string('data', '', 'Pairs: pairs:GLOB or jsonl:GLOB#SOURCE_FIELD,TARGET_FIELD@ROWS.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'The file that is written.')
_SENTENCES = flags.DEFINE_integer('sentences', 0, 'So many sentences of the source; 0: all of it.')


def main(_: Sequence[str]) -> int:
    need_pairs('--data', _DATA.value, 'this baseline')
    if not _PREDICTIONS.value:
        raise UsageError('--predictions: missing; name the file to write, as in --predictions=copy.jsonl')
    if _SENTENCES.value < 0:
        raise UsageError(f'--sentences={_SENTENCES.value}: must not be negative; 0 copies all')
    documents = read_documents(open_source(_DATA.value), DataConfig())[0]
    pairs = [split_pair(document) for document in documents]
    rows = ({'text': text, 'label': target, 'told': lead(text, _SENTENCES.value)} for text, target in pairs)
    cli.write_rows('predictions', _PREDICTIONS.value, rows)
    print(json.dumps({'texts': len(pairs), 'sentences': _SENTENCES.value}))
    return 0


def lead(text: str, sentences: int) -> str:
    """The first sentences of a text, each on one line; 0: the text as it stands."""
    if not sentences:
        return text
    parts = re.split(r'(?<=[.!?])\s+|\n\s*\n', text.strip())
    return ' '.join(' '.join(part.split()) for part in parts[:sentences])


if __name__ == '__main__':
    cli.run(main)
