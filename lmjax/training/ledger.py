"""The metrics of steps on their way from the device to the record: read late, checked, averaged over `log_every` steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

LATE = 2  # steps that the host may be ahead of the device; it never waits for a newer one


class NonFiniteLossError(ArithmeticError):
    """The loss or its gradient is not a number; the message names the step and the last good checkpoint."""

    def __init__(self, step: int, name: str, value: float, good: int | None = None) -> None:
        self.step, self.name, self.value = step, name, value
        saved = 'no checkpoint was saved yet' if good is None else f'the last good checkpoint is step {good}'
        super().__init__(f'step {step}: {name} is {value}; {saved}; try a lower optim.learning_rate, or optim.clip_norm=1.0')


class Ledger:
    """Takes each step's device scalars and gives back records of the steps that are known to be done."""

    def __init__(self, log_every: int, learning_rate: Callable[[int], float]) -> None:
        self._log_every, self._learning_rate = log_every, learning_rate
        self._pending: list[tuple[int, dict[str, Any]]] = []  # still on the device
        self._rows: list[tuple[int, dict[str, float]]] = []  # read, not yet in a record
        self._since = time.perf_counter()

    def push(self, step: int, metrics: dict[str, Any]) -> list[dict[str, Any]]:
        """Hands in a step that was just dispatched. Raises NonFiniteLossError for an earlier one."""
        self._pending.append((step, metrics))
        return self._read(len(self._pending) - LATE)

    def flush(self) -> list[dict[str, Any]]:
        """Waits for every step and records them all. Raises NonFiniteLossError."""
        records = self._read(len(self._pending))
        return records + ([self._record()] if self._rows else [])

    def restart_clock(self) -> None:
        """What happened since the last record (an evaluation, a save) is not training time."""
        self._since = time.perf_counter()

    def _read(self, count: int) -> list[dict[str, Any]]:
        records = []
        for _ in range(count):
            step, metrics = self._pending.pop(0)
            row = {name: float(value) for name, value in metrics.items()}
            for name in ('loss', 'grad_norm'):
                if not math.isfinite(row[name]):
                    raise NonFiniteLossError(step, name, row[name])
            self._rows.append((step, row))
            if step % self._log_every == 0:
                records.append(self._record())
        return records

    def _record(self) -> dict[str, Any]:
        rows, self._rows = self._rows, []
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        tokens = sum(row['tokens'] for _, row in rows)
        means = {name: sum(row[name] * row['tokens'] for _, row in rows) / max(tokens, 1.0) for name in ('loss_nats', 'loss')}
        last, metrics = rows[-1]
        return {
            'step': last,
            'split': 'train',
            **means,
            'grad_norm': metrics['grad_norm'],
            'learning_rate': self._learning_rate(last - 1),
            'tokens': int(tokens),
            'tokens_per_second': tokens / max(seconds, 1e-9),
        }
