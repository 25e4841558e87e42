"""Score a run on its validation split or on another text; prints one JSON line.

`python -m experiments.evaluate --workdir=runs/quickstart [--data='text:books/*.txt'] [--stride=64] [--seq_len=128]`

A loss depends on how much is read at once: runs are compared by `--seq_len` of the shortest.

`--predictions=FILE` also writes what a run that reads labels or pairs says of each text of `--data`, a JSON object a line:
`text`, `label`, `told` and, where there are any, `loss_nats` and `probabilities`. Their scores are then told with 95% intervals
too (bootstrap over texts; `experiments.compare` does that over runs as well).

`--harness` runs tasks of lm-evaluation-harness on any network that goes on with text (`pip install -e '.[harness]'`):
`python -m experiments.evaluate --harness --tasks=DIR --workdir=runs/quickstart [--limit=100] [--output=results.json]`

`--tasks` is a folder of the harness's YAML files, such a file, or the name of one of its own tasks. It prints the table of
scores with standard errors and writes all that the harness reports to `--output`, by default harness.json in the workdir.
"""

from __future__ import annotations

import json
import os
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
_HARNESS = flags.DEFINE_bool('harness', False, 'Run --tasks of lm-evaluation-harness instead.')
_TASKS = flags.DEFINE_string(
    'tasks', '', "With --harness: a folder of YAML files, a file, or a task's name; or several, with commas."
)
_LIMIT = flags.DEFINE_integer('limit', 0, 'With --harness: so many texts of each task; 0: all.')
_SHOTS = flags.DEFINE_integer('num_fewshot', None, 'With --harness: solved texts before each one; by default as the task says.')
_CHAT = flags.DEFINE_bool('chat', False, "With --harness: ask in the checkpoint's chat template.")
_OUTPUT = flags.DEFINE_string(
    'output', '', "With --harness: a file for the results; by default harness.json in a run's folder."
)

OF_TEXTS: tuple[flags.FlagHolder, ...] = (_DATA, _STRIDE, _SEQ_LEN)
OF_TASKS: tuple[flags.FlagHolder, ...] = (_TASKS, _LIMIT, _SHOTS, _CHAT, _OUTPUT)


def main(_: Sequence[str]) -> int:
    if not _WORKDIR.value:
        raise lmjax.UsageError('--workdir: missing; name the folder of a run, as in --workdir=runs/quickstart')
    refuse_mixed()
    run = lmjax.load(_WORKDIR.value, step=_STEP.value or None)
    if _HARNESS.value:
        return take_tasks(run)
    told = with_intervals(run) if _PREDICTIONS.value else {}
    found = run.evaluate(source=_DATA.value, stride=_STRIDE.value, seq_len=_SEQ_LEN.value)
    print(json.dumps({**found, **told}), flush=True)
    return 0


def with_intervals(run: lmjax.Run) -> dict[str, dict[str, list[float]]]:
    """Writes what is said of each text; its scores, printed, with their intervals."""
    from lmjax.study.told_scores import REPORTED, intervals
    from lmjax.training.rescoring import what_is_told

    rows = run.tell(_DATA.value)
    cli.write_rows('predictions', _PREDICTIONS.value, rows)
    found = intervals(rows, REPORTED.get(what_is_told(run.config, _DATA.value), ()))
    for score, one in found.items():
        print(f'{score} {one.said()} of {len(rows)} texts')
    return {'intervals': {score: [one.low, one.high] for score, one in found.items()}} if found else {}


def refuse_mixed() -> None:
    """Raises UsageError for flags of the one way to evaluate beside the other."""
    if _HARNESS.value:
        cli.need((_TASKS, 'configs/harness'))
    remedy = 'is of no use to tasks; leave it out' if _HARNESS.value else 'is for tasks; add --harness'
    for flag in OF_TEXTS if _HARNESS.value else OF_TASKS:
        if flag.value != flag.default:
            raise lmjax.UsageError(f'--{flag.name}={flag.value}: {remedy}')


def take_tasks(run: lmjax.Run) -> int:
    """Prints the table of what the tasks found, and writes what was asked for."""
    from lmjax.interop.harness_tasks import answer_rows, as_json, scores, table

    results = run.harness(_TASKS.value, limit=_LIMIT.value, shots=_SHOTS.value, chat=_CHAT.value)
    print(table(results))
    output = _OUTPUT.value or (os.path.join(run.workdir, 'harness.json') if os.path.isdir(run.workdir) else '')
    if output:
        cli.write_text('output', output, as_json(results) + '\n')
    if _PREDICTIONS.value:
        cli.write_rows('predictions', _PREDICTIONS.value, answer_rows(results))
    print(json.dumps({'workdir': run.workdir, 'tasks': list(scores(results))}), flush=True)
    return 0


if __name__ == '__main__':
    cli.run(main)
