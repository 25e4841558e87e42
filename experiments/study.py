"""Ablations and sweeps with an answer: `python -m experiments.study --config=C --vary model.norm=layer,rms --workdir=W`.

    python -m experiments.study --config=configs/gpt_char.py --vary model.norm=layer,rms \\
        --vary optim.learning_rate=3e-4,1e-3,3e-3 --seeds=5 --workdir=studies/norm
    python -m experiments.study --workdir=studies/norm             (goes on)
    python -m experiments.study --workdir=studies/norm --status

Every combination of what is varied is an arm, and the first is what the others are compared with, on the same seeds. A
learning rate that is varied beside something else, and whatever `--tune` names, is chosen for each arm on seeds of their own.
`--config` may be a study's file as well, whose get_config() returns a `lmjax.Study`. The same command goes on where it was
stopped, and may ask for more seeds. Each trial is a run's folder. The last line is JSON with every figure.
Exit codes: 0 complete, 1 some trials failed, 2 bad input, 130 interrupted (saved).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from absl import flags

import lmjax
from experiments import cli
from lmjax.config import UsageError
from lmjax.training.config import Config
from lmjax.training.workdir import write_json

_CONFIG = cli.define_config(optional=True)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the study; holds every run of it.')
_VARY = flags.DEFINE_multi_string('vary', [], "A field and its values, as 'model.norm=layer,rms'; several: all combinations.")
_TUNE = flags.DEFINE_multi_string('tune', [], 'A field and values that each arm chooses its best of; empty: see --vary.')
_SEEDS = flags.DEFINE_integer('seeds', 5, 'Runs of each arm that are compared.')
_INIT = flags.DEFINE_string('init', 'none', 'What all runs start from, as in experiments.finetune.')
_METRIC = flags.DEFINE_string('metric', '', 'Score of the validation split that decides; empty: train.metric.')
_MARGIN = flags.DEFINE_float('margin', 0.0, 'The largest difference that would not matter; 0: none is named.')
_TEST = flags.DEFINE_string('test', 'student', 'A row of TESTS: student, permutation, wilcoxon.')
_BUDGET = flags.DEFINE_string('budget', 'steps', 'What all arms have as much of as the base: steps, tokens, flops.')
_MATCH = flags.DEFINE_string('match', '', "'parameters': as many as the base, by --solve; empty: as many as an arm has.")
_SOLVE = flags.DEFINE_list('solve', ['model.width', 'model.hidden'], 'Fields to solve for; the first that an arm has is taken.')
_ENGINE = flags.DEFINE_string('engine', 'local', 'A row of ENGINES: here (one by one in this process), local (processes).')
_JOBS = flags.DEFINE_integer('jobs', 0, 'Trials at once; 0: one a core.')
_STATUS = flags.DEFINE_bool('status', False, 'Say how far the study is, and end.')


def main(_: Sequence[str]) -> int:
    from lmjax.study.analysis import as_record
    from lmjax.study.driver import run_study
    from lmjax.study.report import COMMAND, write_study_report
    from lmjax.study.worker import EXITS

    cli.need((_WORKDIR, 'studies/norm'))
    if _STATUS.value:
        return tell_status(_WORKDIR.value)
    study, say = asked(), partial(print, flush=True)
    status, answer = run_study(study, _WORKDIR.value, engine=_ENGINE.value, jobs=_JOBS.value, say=say)
    if _CONFIG.value is not None:
        write_json(os.path.join(_WORKDIR.value, COMMAND), ['python', '-m', 'experiments.study', *sys.argv[1:]])
    print(f'report: {write_study_report(_WORKDIR.value)}')
    print(json.dumps({'workdir': _WORKDIR.value, 'status': status, **as_record(answer)}))
    return EXITS[status]


def asked() -> lmjax.Study:
    """The study of the command line, or of a study's file. Raises UsageError where both say what is varied, or none does."""
    from lmjax.study.spec import study_of
    from lmjax.study.trials import read_study

    if _CONFIG.value is None:
        return read_study(_WORKDIR.value)
    if isinstance(_CONFIG.value, Config):
        init = '' if _INIT.value == 'none' else _INIT.value
        settings = {flag.name: flag.value for flag in (_SEEDS, _METRIC, _MARGIN, _TEST, _BUDGET, _MATCH)}
        tuples = {flag.name: tuple(flag.value) for flag in (_TUNE, _SOLVE)}
        return study_of(_CONFIG.value, _VARY.value, init=init, **settings, **tuples)
    given = [
        flag.name for flag in (_VARY, _TUNE, _METRIC, _MARGIN, _TEST, _INIT, _SEEDS, _BUDGET, _MATCH, _SOLVE) if flag.present
    ]
    if given:
        raise UsageError(f'--{given[0]}: the file is a study, which says so itself; use --config.{given[0]} or edit it')
    return _CONFIG.value


def tell_status(workdir: str) -> int:
    """How far a study is, as lines and JSON."""
    import dataclasses

    from lmjax.study.driver import status_of

    found = status_of(workdir)
    print(f'{found.done} trials are over, {found.left} of those known so far are not')
    for name in found.running:
        print(f'running: {name}')
    for name, why in found.failed.items():
        print(f'failed: {name}: {why}')
    print(json.dumps({'workdir': workdir, **dataclasses.asdict(found)}))
    return 0


if __name__ == '__main__':
    cli.run(main)
