"""The baseline of answers in a text that learns nothing: the sentence, or line, that shares most words with the question.

    python -m experiments.overlap_baseline --data='answers:answers.jsonl@0/10' --predictions=overlap.jsonl

Writes a JSON object for each question, with `text`, `label` (the answer) and `told`, for experiments.compare. Of sentences that
share as many words the first is told; where none shares any there is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from absl import flags

from experiments import cli
from lmjax.config import require
from lmjax.data.config import DataConfig
from lmjax.data.corpus import read_documents
from lmjax.data.labelled import split_label
from lmjax.data.parallel_text import split_pair
from lmjax.data.sources import label_kind, open_source

_DATA = flags.DEFINE_string('data', '', 'answers:GLOB#QUESTION,TEXT,ANSWER@ROWS.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'The file that is written.')


def main(_: Sequence[str]) -> int:
    cli.need((_DATA, 'answers:answers.jsonl@0/10'), (_PREDICTIONS, 'overlap.jsonl'))
    require(label_kind(_DATA.value) == 'span', '--data', _DATA.value, 'has no answers; use answers:GLOB#QUESTION,TEXT,ANSWER')
    rows = [split_label(document) for document in read_documents(open_source(_DATA.value), DataConfig())[0]]
    told = [{'text': text, 'label': json.loads(label)['text'], 'told': nearest(*split_pair(text))} for text, label in rows]
    cli.write_rows('predictions', _PREDICTIONS.value, told)
    print(json.dumps({'texts': len(told)}))
    return 0


def nearest(question: str, text: str) -> str:
    """The sentence of a text with the most different words of a question."""
    asked = words(question)
    sentences = [sentence.strip() for sentence in re.split(r'(?<=[.!?])\s+|\n', text) if sentence.strip()]
    best = max(sentences, key=lambda sentence: len(asked & words(sentence)), default='')
    return best if asked & words(best) else ''


def words(text: str) -> set[str]:
    return set(re.findall(r'\w+', text.lower()))


if __name__ == '__main__':
    cli.run(main)
