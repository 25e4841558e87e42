"""Where the workers of a study run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from lmjax.config import require
from lmjax.study import worker

LOGS = 'workers'  # what each worker printed
ROUNDS = 3  # how often workers that were killed are replaced
WAIT = 60.0  # seconds for a worker to save and end


def run_workers(folder: str, *, engine: str, jobs: int, trials: int, say: Callable[[str], Any]) -> str:
    """Works a study off that has so many trials to do; returns 'complete', 'failed' or 'interrupted'."""
    return ENGINES[engine](folder, jobs=jobs, trials=trials, since=time.time(), say=say)


def here(folder: str, *, jobs: int, trials: int, since: float, say: Callable[[str], Any]) -> str:
    """One after the other, in this process."""
    require(jobs in (0, 1), 'jobs', jobs, "the engine 'here' does one at a time; leave it out, or use --engine=local")
    return worker.work(folder, since=since, say=say)


def local(folder: str, *, jobs: int, trials: int, since: float, say: Callable[[str], Any]) -> str:
    """As processes on this machine, each pinned to its share of the cores; killed ones are replaced."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else list(range(os.cpu_count() or 1))
    jobs = min(jobs or len(cores), trials)
    Path(folder, LOGS).mkdir(exist_ok=True)
    status = 'failed'
    for _ in range(ROUNDS):
        codes = _once(folder, shares(cores, jobs), since, say)
        status = _said(codes)
        if not any(code < 0 for code in codes) or status == 'interrupted':
            break
        say(f'{sum(code < 0 for code in codes)} of {jobs} workers were killed; others take over')
    return status


def shares(cores: list[int], jobs: int) -> list[list[int]]:
    """Which cores each of so many processes has; where there are more processes than cores they take turns."""
    if jobs >= len(cores):
        return [[cores[job % len(cores)]] for job in range(jobs)]
    return [cores[job::jobs] for job in range(jobs)]


def _said(codes: list[int]) -> str:
    names = {code: name for name, code in worker.EXITS.items()}
    if any(names.get(code) == 'interrupted' for code in codes):
        return 'interrupted'
    return 'complete' if codes and not any(codes) else 'failed'


def _once(folder: str, pinned: list[list[int]], since: float, say: Callable[[str], Any]) -> list[int]:
    """The exit codes of one process for each share; what they print is said, and kept."""
    command = [sys.executable, '-m', 'lmjax.study.worker', folder, repr(since)]
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(open(Path(folder, LOGS, f'{at}.log'), 'a+', encoding='utf-8')) for at in range(len(pinned))]
        places = [log.seek(0, os.SEEK_END) for log in logs]
        # a session of their own: what a terminal sends reaches them through this process alone, and once
        processes = [
            subprocess.Popen(
                [*command, str(at), ','.join(map(str, cores))], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            for at, (cores, log) in enumerate(zip(pinned, logs, strict=True))
        ]
        with _passed_on(processes) as signals:
            while any(process.poll() is None for process in processes):
                time.sleep(worker.POLL / 5)
                places = [_tell(log, place, say) for log, place in zip(logs, places, strict=True)]
        for log, place in zip(logs, places, strict=True):
            _tell(log, place, say)
    return [worker.EXITS['interrupted'] if signals else process.returncode for process in processes]


def _tell(log: TextIO, place: int, say: Callable[[str], Any]) -> int:
    """Says the whole lines that a log has from a place on; returns where the next one begins."""
    with open(log.name, 'rb') as file:
        file.seek(place)
        whole, newline, _ = file.read().rpartition(b'\n')
    for line in whole.decode('utf-8', 'replace').splitlines():
        say(line)
    return place + len(whole) + len(newline)


@contextlib.contextmanager
def _passed_on(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Signals that would end this process, which are listed, end its workers, which save first; or they are killed."""
    signals: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        signals.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    wanted = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, pass_on) for number in wanted}
    try:
        yield signals
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        for process in processes:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(WAIT)
                process.kill()


ENGINES: dict[str, Callable[..., str]] = {'here': here, 'local': local}
