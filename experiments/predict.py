"""What a run that reads labels or pairs says of texts: `python -m experiments.predict --workdir=runs/sentiment --input=FILE`.

Each line of the file (or of the standard input, `--input=-`, answered line by line) is a text; an empty one is skipped. Printed
is a JSON object for each: the text and, as the run was trained to tell, its label or labels with the probability of every
class, its score, the tags of its words (which white space parts) and the spans that they spell, or its target. Where it tells
captions or transcripts each line is the name of a picture or a sound.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_WORKDIR = flags.DEFINE_string(
    'workdir', '', 'Folder of a run of objective.kind=classify, multilabel, regress, tag, seq2seq or caption.'
)
_INPUT = flags.DEFINE_string('input', '', 'A file with a text on each line; -: the standard input.')
_STEP = flags.DEFINE_integer('step', 0, 'Which checkpoint; 0: the newest, or the best where train.load_best.')


def main(_: Sequence[str]) -> int:
    cli.need((_WORKDIR, 'runs/sentiment'), (_INPUT, 'reviews.txt'))
    run = lmjax.load(_WORKDIR.value, step=_STEP.value or None)
    for texts in cli.text_batches('input', _INPUT.value):
        for text, found in zip(texts, run.predict(texts), strict=True):
            print(json.dumps({'text': text, **found}, ensure_ascii=False), flush=True)
    return 0


if __name__ == '__main__':
    cli.run(main)
