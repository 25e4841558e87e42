"""The loop: batches in, records and checkpoints out; it never asks which network it holds."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import jax

from lmjax.config import fingerprint
from lmjax.data.corpus import Corpus
from lmjax.data.loader import train_batches
from lmjax.optim import schedule
from lmjax.train.checkpoint import Checkpointer
from lmjax.train.config import Config
from lmjax.train.interruption import Interruption
from lmjax.train.metrics import MetricsLog
from lmjax.train.profile import Profile
from lmjax.train.program import Program
from lmjax.train.progress import Progress
from lmjax.train.restore import storable
from lmjax.train.scoring import Scorer
from lmjax.train.state import TrainState


class Outcome(NamedTuple):
    state: TrainState
    step: int
    status: str  # complete, interrupted
    reason: str = ''  # why it ended early
    valid: dict[str, Any] = {}  # the last evaluation


class NonFiniteLoss(ArithmeticError):
    """The loss or its gradient is not a number; the message names the step and the last good checkpoint."""

    def __init__(self, step: int, name: str, value: float, good: int | None) -> None:
        self.step = step
        saved = f'the last good checkpoint is step {good}' if good is not None else 'no checkpoint was saved yet'
        super().__init__(
            f'step {step}: {name} is {value}; {saved}; try a lower optim.learning_rate or optim.clip_norm=1.0'
        )


def run_steps(
    config: Config,
    corpus: Corpus,
    program: Program,
    state: TrainState,
    *,
    checkpoints: Checkpointer,
    log: MetricsLog,
    progress: Progress,
    scorer: Scorer,
    profile: Profile,
) -> Outcome:
    """Trains from the state's step to `train.steps`, evaluating and saving on the way.

    The host reads the metrics of a step only after it has handed the next one to the device.

    Raises:
      NonFiniteLoss: nothing is saved after the last finite step.
    """
    train, start = config.train, int(state.step)
    batches = train_batches(
        corpus.train, config.data, seed=config.seed, batch_size=train.batch_size, start=start
    )
    shape = schedule(config.optim, train.steps)
    window = _Window(config, checkpoints, lambda step: float(shape(step)) * config.optim.learning_rate)
    meta = {'fingerprint': fingerprint(config)}
    best, stale, valid = scorer.best_so_far(), scorer.stale(), {}
    with Interruption() as interruption, progress:
        for step in range(start + 1, train.steps + 1):
            profile.at(step)
            state, metrics = program.step(state, program.place(next(batches)))
            window.push(step, metrics)
            due = bool(train.eval_every and step % train.eval_every == 0) or step == train.steps
            save_due = due or bool(train.checkpoint_every and step % train.checkpoint_every == 0)
            if step % train.log_every == 0 or save_due or step == start + 1:
                record = window.read(keep_last=not save_due)
                if record:
                    log.write(record)
                    progress.update(record)
            if due:
                valid = scorer.score(state, step)
                log.write(valid)
                progress.evaluated(valid)
                window.restart_clock()
                stale = 0 if valid['loss_nats'] < best else stale + 1
                best = min(best, valid['loss_nats'])
            if save_due:
                checkpoints.save(step, storable(state), meta, metric=valid['loss_nats'] if due else None)
            if due and train.patience and stale >= train.patience and step < train.steps:
                return Outcome(state, step, 'complete', f'no better validation loss in {stale} evaluations', valid)
            if interruption.requested:
                window.read(keep_last=False)
                if not save_due:
                    checkpoints.save(step, storable(state), meta)
                return Outcome(state, step, 'interrupted', interruption.requested, valid)
    return Outcome(state, train.steps, 'complete', '', valid)


class _Window:
    """The steps since the last record: their metrics are averaged, checked and timed together."""

    def __init__(self, config: Config, checkpoints: Checkpointer, learning_rate: Any) -> None:
        self.config, self.checkpoints, self.learning_rate = config, checkpoints, learning_rate
        self.pending: list[tuple[int, dict[str, Any]]] = []
        self.restart_clock()

    def restart_clock(self) -> None:
        self.since, self.timed = time.perf_counter(), 0

    def push(self, step: int, metrics: dict[str, Any]) -> None:
        self.pending.append((step, metrics))
        if len(self.pending) > 2:
            # Waiting for the step before the previous one keeps the host at most two steps ahead of the device.
            jax.block_until_ready(self.pending[-3][1]['loss'])

    def read(self, *, keep_last: bool) -> dict[str, Any] | None:
        """The mean over the finished steps; `keep_last` leaves the newest one, which may still be running."""
        cut = len(self.pending) - (1 if keep_last else 0)
        rows, self.pending = self.pending[:cut], self.pending[cut:]
        if not rows:
            return None
        values = [(step, {name: float(value) for name, value in metrics.items()}) for step, metrics in rows]
        for step, row in values:
            self._check(step, row)
        tokens = sum(row['tokens'] for _, row in values)
        seconds = time.perf_counter() - self.since
        self.since += seconds
        weight = max(tokens, 1.0)
        return {
            'step': values[-1][0],
            'split': 'train',
            'loss_nats': sum(row['loss_nats'] * row['tokens'] for _, row in values) / weight,
            'loss': sum(row['loss'] * row['tokens'] for _, row in values) / weight,
            'grad_norm': values[-1][1]['grad_norm'],
            'learning_rate': self.learning_rate(values[-1][0] - 1),
            'tokens': int(tokens),
            'tokens_per_second': tokens / max(seconds, 1e-9),
        }

    def _check(self, step: int, row: dict[str, float]) -> None:
        for name in ('loss', 'grad_norm'):
            if not math.isfinite(row[name]):
                raise NonFiniteLoss(step, name, row[name], self.checkpoints.latest())
