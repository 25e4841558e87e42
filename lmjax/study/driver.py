"""A study from its question to its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lmjax.config import UsageError, choose, require
from lmjax.study import ledger
from lmjax.study.analysis import Answer, analyse
from lmjax.study.engines import ENGINES, run_workers
from lmjax.study.spec import Study, choices, config_of, name_of, validate
from lmjax.study.state import State
from lmjax.study.trials import open_study


def run_study(
    study: Study, workdir: str, *, engine: str = 'local', jobs: int = 0, say: Callable[[str], Any] = print
) -> tuple[str, Answer]:
    """Trains what a study asks for, or goes on with it, and writes its report; returns how it ended and the answer.

    It ended 'complete', 'interrupted' or 'failed': then some trials are not over, which the ledger says of each; the same
    command tries them again. Any number of processes may run one study at once.

    Args:
      engine: a row of ENGINES.
      jobs: how many trials at once; 0: one a core.

    Raises:
      UsageError: a study that could not answer, an arm that no run can have, or a folder that holds another study.
    """
    require(jobs >= 0, 'jobs', jobs, 'use 1 or more, or 0 for one a core')
    choose(ENGINES, engine, 'engine')
    validate(study)
    check_arms(study)
    study = in_budget(study)
    study = open_study(workdir, study)
    left = State(workdir).missing()
    if left:
        say(f'{len(study.arms)} arms: {"; ".join(map(name_of, study.arms))}')
    status = run_workers(workdir, engine=engine, jobs=jobs, trials=len(left), say=say) if left else 'complete'
    answer = read_answer(workdir)
    for line in (*answer.verdicts, *answer.caveats):
        say(line)
    return status, answer


def check_arms(study: Study) -> None:
    """Raises UsageError for the first arm whose config no run can have, before anything trains."""
    from lmjax.interop.starts import taken_over
    from lmjax.training.validate import validate as validate_config

    for arm in study.arms:
        for choice in choices(study):
            config = config_of(study, arm, choice, 0)
            try:
                validate_config(taken_over(config, study.init) if study.init else config)
            except UsageError as error:
                raise UsageError(f'{name_of((*arm, *choice))}: {error}') from None


def in_budget(study: Study) -> Study:
    """The study with arms that cost the same, if it asks for that: the text is then read for its vocabulary."""
    if study.budget == 'steps' and not study.match:
        return study
    from lmjax.data.corpus import prepare
    from lmjax.study.budget import solved

    require(not study.init, 'init', study.init, 'says how large a network is; leave out budget and match')
    return solved(study, prepare(study.base.data).tokenizer.vocab_size)


def read_answer(workdir: str) -> Answer:
    """What the study in a folder says by now. Raises UsageError where there is none."""
    state = State(workdir)
    state.missing()
    return analyse(state.study, state.results)


@dataclasses.dataclass
class Status:
    """How far a study is."""

    done: int
    running: list[str]
    failed: dict[str, str]  # trial -> why
    left: int


def status_of(workdir: str) -> Status:
    """Which trials are over, running and failed. Raises UsageError where there is no study."""
    state = State(workdir)
    left = state.missing()
    running, failed, last = [], {}, {row['trial']: row for row in ledger.read(workdir)}
    for trial in left:
        row = last.get(trial.folder, {})
        if row.get('event') == 'failed':
            failed[trial.name] = row.get('message', '')
        elif row.get('event') == 'begun' and ledger.is_claimed(workdir, trial.folder):
            running.append(trial.name)
    return Status(len(state.results), running, failed, len(left))
