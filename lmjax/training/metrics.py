"""The record of a run: `metrics.jsonl` is the truth, TensorBoard is written beside it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmjax.config import UsageError

FILE = 'metrics.jsonl'
EVENT = 'event'  # the split of lines that say what happened rather than measure
NON_FINITE = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}  # strict JSON has no other way


class MetricsLog:
    """Appends one JSON object a line. A step may be written again after a resume; readers take its last record."""

    def __init__(self, workdir: Path | str, tensorboard: bool = True, *, start: int = 0) -> None:
        """Opens the file of a workdir, mending a last line that a crash cut short.

        Args:
          tensorboard: also write events to the folder `tensorboard`.
          start: the step that the run resumes from; TensorBoard then hides what it has from later ones.
        """
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        cut = _mend(workdir / FILE)
        descriptor = os.open(workdir / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._file = os.fdopen(descriptor, 'a', buffering=1, encoding='utf-8')
        self._board = _TensorBoard(workdir / 'tensorboard', purge_step=start) if tensorboard else None
        if cut:
            self.event(start, 'removed a line that a crash had cut short', text=cut)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends a record: `step`, `split`, and numbers (also arrays), strings, None, or dicts and lists of them."""
        plain = {**record, 'step': int(record['step']), 'split': str(record['split'])}
        plain = {name: _plain(value) for name, value in plain.items()}
        self._file.write(json.dumps(_strict(plain), allow_nan=False) + '\n')
        if self._board and plain['split'] != EVENT:
            self._board.write(plain)

    def event(self, step: int, what: str, **details: Any) -> None:
        """Appends what happened: a resume, a changed field, a signal."""
        self.write({'step': step, 'split': EVENT, 'event': what, **details})

    def close(self) -> None:
        """Makes both files complete."""
        if self._file.closed:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        if self._board:
            self._board.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(workdir: Path | str, split: str | None = None) -> list[dict[str, Any]]:
    """The records in the order of their steps, the last one of each step and split; every event; a cut last line is left out.

    Raises:
      UsageError: a line in the middle is no record.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b'\n')
    found: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(lines[:-1], start=1):
        record = _parse(line)
        if record is None:
            raise UsageError(f'{path}: line {number} is not a record; delete that line')
        key = number if record['split'] == EVENT else (record['step'], record['split'])
        found.pop(key, None)
        found[key] = record
    records = sorted(found.values(), key=lambda record: record['step'])
    return [record for record in records if split in (None, record['split'])]


def _plain(value: Any) -> Any:
    """A Python number of an array of one element; a list of a larger one."""
    return value.tolist() if hasattr(value, 'tolist') else value


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return 'NaN' if math.isnan(value) else 'Infinity' if value > 0 else '-Infinity'
    if isinstance(value, Mapping):
        return {name: _strict(part) for name, part in value.items()}
    return [_strict(part) for part in value] if isinstance(value, list | tuple) else value


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get('step'), int) or 'split' not in record:
        return None
    return {name: NON_FINITE.get(value, value) if isinstance(value, str) else value for name, value in record.items()}


def _mend(path: Path) -> str:
    """Ends the file with a whole line: gives back what it had to cut (a whole record only lacked its newline)."""
    with contextlib.suppress(FileNotFoundError), open(path, 'rb+') as file:
        content = file.read()
        whole, newline, rest = content.rpartition(b'\n')
        if not rest:
            return ''
        if _parse(rest) is not None:
            file.write(b'\n')
            return ''
        file.truncate(len(whole) + len(newline))
        return rest.decode(errors='replace')
    return ''


class _TensorBoard:
    """A thread that imports tensorboardX (seconds) at the first record and writes what is queued for it."""

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        self._folder, self._purge_step = folder, purge_step
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name='tensorboard', daemon=True)

    def write(self, record: Mapping[str, Any]) -> None:
        self._queue.put(record)
        # Not before the first record: until then the processor belongs to compiling the step.
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        if self._thread.ident is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception as error:  # metrics.jsonl holds everything: a run must not die of its second copy
            print(f'warning: no further TensorBoard events in {self._folder}: {error}', file=sys.stderr, flush=True)

    def _write_all(self) -> None:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(self._folder), purge_step=self._purge_step or None) as writer:
            while (record := self._queue.get()) is not None:
                for name, value in record.items():
                    if name != 'step' and isinstance(value, int | float) and not isinstance(value, bool):
                        writer.add_scalar(f'{record["split"]}/{name}', value, record['step'])
