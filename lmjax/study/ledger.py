"""Who works on which trial and what became of it: one lock a trial, and a file to which every end is appended once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any

FILE, LOCKS = 'ledger.jsonl', 'locks'


@contextlib.contextmanager
def claimed(folder: str, trial_folder: str) -> Iterator[bool]:
    """Whether the trial is this process's while the context lasts. It is free again when the process dies, however it does."""
    path = os.path.join(folder, LOCKS, os.path.basename(os.path.dirname(trial_folder)), os.path.basename(trial_folder))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def is_claimed(folder: str, trial_folder: str) -> bool:
    """Whether some process has the trial now."""
    with claimed(folder, trial_folder) as mine:
        return not mine


def append(folder: str, trial_folder: str, event: str, **details: Any) -> None:
    """Adds a line: one write, so that lines of several processes never mix; it begins anew where a crash cut the last one."""
    path = os.path.join(folder, FILE)
    row = {'time': time.time(), 'pid': os.getpid(), 'trial': trial_folder, 'event': event, **details}
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        cut = size and os.pread(descriptor, 1, size - 1) != b'\n'
        os.write(descriptor, (('\n' if cut else '') + json.dumps(row) + '\n').encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: str) -> list[dict[str, Any]]:
    """All lines in their order, without those that a crash cut short."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, FILE), 'rb') as file:
        for line in file:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and 'event' in row:
                    found.append(row)
    return found
