"""A trace of some steps, for TensorBoard or Perfetto."""

from __future__ import annotations

import os

import jax

from lmjax.config import UsageError


class Profile:
    """Starts a trace before step START and stops it before step STOP; `span` is 'START:STOP' or empty for none."""

    def __init__(self, span: str, workdir: str) -> None:
        self.folder, self.running = os.path.join(workdir, 'profile'), False
        self.first, self.last = parse_span(span) if span else (0, 0)

    def at(self, step: int) -> None:
        if step == self.first:
            jax.profiler.start_trace(self.folder)
            self.running = True
        if step == self.last:
            self.stop()

    def stop(self) -> None:
        if self.running:
            jax.profiler.stop_trace()
            self.running = False


def parse_span(span: str) -> tuple[int, int]:
    """'START:STOP' as two step numbers; raises UsageError for anything else."""
    start, _, stop = span.partition(':')
    if not (start.isdigit() and stop.isdigit() and 0 < int(start) < int(stop)):
        raise UsageError(f'--profile={span!r}: expected START:STOP, two step numbers such as 10:15')
    return int(start), int(stop)
