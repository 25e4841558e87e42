"""What works a study off: it takes trials that nobody else has, one after the other, until none is left.

Any number of these may work in one folder, on any hosts that share it; which trials there are follows from what is on disk.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from lmjax.study import ledger
from lmjax.study.spec import Study
from lmjax.study.state import State
from lmjax.study.trials import Trial, result_of
from lmjax.training.ledger import NonFiniteLossError
from lmjax.training.memory import keep_freed_memory
from lmjax.training.program import Programs, structure_of

LOG = 'log.txt'  # in a trial's folder, what its run would print
POLL = 0.5  # seconds between two looks at what others hold
EXITS = {'complete': 0, 'failed': 1, 'interrupted': 130}


def work(folder: str, *, since: float, turn: int = 0, say: Callable[[str], Any] = print) -> str:
    """Works until no trial is to be done; returns 'complete', 'failed' (some trials are not over) or 'interrupted'.

    A trial that fails is not tried again by who began at or before `since`. `turn` tells workers of one study apart: each
    begins with a program of its own.
    """
    state, programs = State(folder, since=since), Programs()
    made: list[str] = []  # structures, the newest last
    while todo := state.look():
        worked = False
        for trial in in_turn(state.study, todo, made, turn):
            with ledger.claimed(folder, trial.folder) as mine:
                if not mine or result_of(folder, state.study, trial):  # another's, or over since
                    continue
                status = run_trial(folder, state.study, trial, programs, say)
            if status == 'interrupted':
                return status
            made.append(structure_of(trial.config(state.study)))
            worked = True
            break
        if not worked:
            time.sleep(POLL)
    return 'failed' if state.missing() else 'complete'


def in_turn(study: Study, trials: list[Trial], made: list[str], turn: int) -> list[Trial]:
    """Those first that the last program serves, then other programs, from another one on for each worker."""
    kinds: dict[str, list[Trial]] = {}
    for trial in trials:
        kinds.setdefault(structure_of(trial.config(study)), []).append(trial)
    order = list(kinds)
    start = turn % len(order)
    order = order[start:] + order[:start]
    order.sort(key=lambda kind: kind not in made[-1:])
    return [trial for kind in order for trial in kinds[kind]]


def run_trial(folder: str, study: Study, trial: Trial, programs: Programs, say: Callable[[str], Any]) -> str:
    """Trains a trial, or goes on with it; returns how it ended and appends that to the ledger."""
    from lmjax.api import finetune

    ledger.append(folder, trial.folder, 'begun', name=trial.name)
    began = time.monotonic()
    details: dict[str, Any] = {}
    workdir = os.path.join(folder, trial.folder)
    os.makedirs(workdir, exist_ok=True)
    try:
        with open(os.path.join(workdir, LOG), 'a', encoding='utf-8') as log, contextlib.redirect_stdout(log):
            status = finetune(trial.config(study), workdir, init=study.init, programs=programs)['status']
    except NonFiniteLossError as error:
        status, details = 'diverged', {'message': str(error)}
    except Exception as error:  # one trial's failure is a line of the report, and no other trial's
        status, details = 'failed', {'message': f'{type(error).__name__}: {error}'}
    seconds = time.monotonic() - began
    ledger.append(folder, trial.folder, status, name=trial.name, seconds=round(seconds, 3), **details)
    found = result_of(folder, study, trial)
    said = f'{study.decides} {found.value:.4f}' if found and status == 'complete' else details.get('message', '')
    say(f'{trial.name}: {status} in {seconds:.0f} s  {said}'.rstrip())
    return status


def main(folder: str, since: str, turn: str, cores: str) -> int:
    """A worker as a process of its own; its exit code is a row of EXITS."""
    if cores and hasattr(os, 'sched_setaffinity'):  # before jax counts them
        os.sched_setaffinity(0, set(map(int, cores.split(','))))
    keep_freed_memory()
    return EXITS[work(folder, since=float(since), turn=int(turn), say=lambda line: print(line, flush=True))]


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
