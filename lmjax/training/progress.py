"""What a person sees while a run trains: a live line in a terminal, sparse plain lines anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

PLAIN_SHARE = 0.05  # of the steps between two plain lines
PLAIN_SECONDS = 30.0  # or this long


class Progress:
    """Progress of a run to `total` steps. Use it as a context, so that the terminal is left as it was.

    Values that are shown when given: loss_nats, tokens_per_second, learning_rate; time left is measured here, from the
    first update on, so that compiling does not count.
    """

    def __init__(
        self, total: int, *, start: int = 0, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._clock = total, clock
        self._stream = sys.stdout if stream is None else stream
        self._first: tuple[int, float] | None = None
        self._last_line: tuple[int, float] = (start, -math.inf)
        self._is_live = is_live(self._stream)
        self._bar: Any = None

    def update(self, record: Mapping[str, Any]) -> None:
        """Shows how far the run is; the record's `step` says how many optimizer steps are done."""
        step, now = int(record['step']), self._clock()
        self._first = self._first or (step, now)
        text = describe(record)
        if self._is_live:
            self._show(step, text, self._seconds_left(step, now))
        elif self._is_due(step, now):
            self._last_line = (step, now)
            left = self._seconds_left(step, now)
            parts = [f'step {step}/{self._total}', text, f'{duration(left)} left' if step < self._total else '']
            self._print('  '.join(part for part in parts if part))

    def evaluated(self, record: Mapping[str, Any]) -> None:
        """Prints a line with an evaluation."""
        bits = record.get('bits_per_byte')
        loss = f'step {record["step"]}: validation loss {record["loss_nats"]:.4f}'
        self.note(loss if bits is None else f'{loss}, {bits:.3f} bits per byte')

    def note(self, text: str) -> None:
        """Prints a line, above the live one."""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._print(text)

    def close(self) -> None:
        """Ends the live line; what it shows stays."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seconds_left(self, step: int, now: float) -> float:
        first_step, since = self._first or (step, now)
        return (now - since) / (step - first_step) * (self._total - step) if step > first_step else math.nan

    def _is_due(self, step: int, now: float) -> bool:
        last_step, since = self._last_line
        return step >= self._total or step - last_step >= PLAIN_SHARE * self._total or now - since >= PLAIN_SECONDS

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _show(self, step: int, text: str, left: float) -> None:
        if self._bar is None:
            self._bar = _live_bar(self._stream, self._total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=step, text=text, left=f'{duration(left)} left')


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can redraw a line."""
    return stream.isatty() and os.environ.get('TERM') not in (None, 'dumb', '')


def describe(record: Mapping[str, Any]) -> str:
    """'loss 2.3450  12.3k tokens/s  lr 3.00e-04', of those that are there."""
    shown = [
        (record.get('loss_nats'), 'loss {:.4f}'),
        (record.get('tokens_per_second'), '{} tokens/s'),
        (record.get('learning_rate'), 'lr {:.2e}'),
    ]
    parts = [form.format(count(value) if 'tokens' in form else value) for value, form in shown if value is not None]
    return '  '.join(parts)


def count(number: float) -> str:
    """A number in three digits: 987, 12.3k, 4M."""
    if not math.isfinite(number):
        return str(number)
    for size, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        # From 999.5 of the smaller unit on, three digits of it would not do.
        if abs(number) >= 0.9995 * size:
            return f'{number / size:.3g}{letter}'
    return f'{number:.0f}'


def duration(seconds: float) -> str:
    """A time for people: 42s, 3m07s, 5h12m, 2d03h; '?' if it is not known."""
    if not math.isfinite(seconds):
        return '?'
    seconds = max(0, round(seconds))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 1:
        return f'{seconds}s'
    if hours < 1:
        return f'{minutes}m{seconds % 60:02}s'
    return f'{hours}h{minutes % 60:02}m' if days < 1 else f'{days}d{hours % 24:02}h'


def _live_bar(stream: TextIO, total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = [
        TextColumn('step', style='bold'),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn('{task.fields[text]}', markup=False),
        TextColumn('{task.fields[left]}', markup=False, style='cyan'),
    ]
    bar = Bar(*columns, console=Console(file=stream), refresh_per_second=4, expand=False)
    bar.add_task('train', total=total, text='', left='')
    return bar
