"""Score a run on its validation split or on another text; prints one JSON line.

`python -m experiments.evaluate --workdir=runs/quickstart [--data='text:books/*.txt'] [--stride=64] [--seq_len=128]`

A loss depends on how much is read at once: runs are compared by `--seq_len` of the shortest.

`--predictions=FILE` also writes what a run that reads labels or pairs says of each text of `--data`, a JSON object a line:
`text`, `label`, `told` and, where there are any, `loss_nats` and `probabilities`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a run.')
_DATA = flags.DEFINE_string('data', '', "A source to score instead of the validation split, such as 'text:*.txt'.")
_STEP = flags.DEFINE_integer('step', 0, 'Which checkpoint; 0: the newest, or the best where train.load_best.')
_STRIDE = flags.DEFINE_integer('stride', 0, 'Slide the window by this many tokens; 0: disjoint windows.')
_SEQ_LEN = flags.DEFINE_integer('seq_len', 0, 'Tokens that are read at once; 0: as many as in training.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'A file for what is said of each text of --data.')


def main(_: Sequence[str]) -> int:
    if not _WORKDIR.value:
        raise lmjax.UsageError('--workdir: missing; name the folder of a run, as in --workdir=runs/quickstart')
    run = lmjax.load(_WORKDIR.value, step=_STEP.value or None)
    if _PREDICTIONS.value:
        cli.write_rows('predictions', _PREDICTIONS.value, run.tell(_DATA.value))
    print(json.dumps(run.evaluate(source=_DATA.value, stride=_STRIDE.value, seq_len=_SEQ_LEN.value)), flush=True)
    return 0


if __name__ == '__main__':
    cli.run(main)
