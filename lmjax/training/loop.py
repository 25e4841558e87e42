"""The loop: batches in, records and checkpoints out; it never asks which network it holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from lmjax.config import fingerprint
from lmjax.data.corpus import Corpus
from lmjax.data.corruptions import training_corruption
from lmjax.data.loader import train_batches
from lmjax.optim import schedule
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.config import Config, TrainConfig
from lmjax.training.interruption import Interruption
from lmjax.training.ledger import Ledger, NonFiniteLossError
from lmjax.training.metrics import MetricsLog
from lmjax.training.profile import Profile
from lmjax.training.program import Program
from lmjax.training.progress import Progress
from lmjax.training.restore import storable
from lmjax.training.scoring import Scorer
from lmjax.training.state import TrainState


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    step: int
    status: str  # complete, interrupted
    reason: str = ''  # why it ended before its last step
    valid: dict[str, Any] = {}  # the last evaluation


class Outlets(NamedTuple):
    """Where a run's results go."""

    checkpoints: Checkpointer
    log: MetricsLog
    progress: Progress
    scorer: Scorer
    profile: Profile

    def write(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self.log.write(record)
            self.progress.update(record)

    def evaluate(self, state: TrainState, step: int) -> dict[str, Any]:
        valid = self.scorer.score(state, step)
        self.log.write(valid)
        self.progress.evaluated(valid)
        return valid


def run_steps(config: Config, corpus: Corpus, program: Program, state: TrainState, out: Outlets) -> Outcome:
    """Trains from the state's step to `train.steps`, evaluating and saving on the way.

    Raises:
      NonFiniteLossError: names the step and the last good checkpoint; nothing is saved after a step that is not finite.
    """
    train, start = config.train, int(state.step)
    corrupt = training_corruption(config.objective, corpus.tokenizer)
    size = train.batch_size
    batches = train_batches(corpus.train, config.data, seed=config.seed, batch_size=size, corrupt=corrupt, start=start)
    shape = schedule(config.optim, train.steps)
    ledger = Ledger(train.log_every, lambda step: float(shape(step)) * config.optim.learning_rate)
    meta = {'fingerprint': fingerprint(config), **program.digests}
    valid: dict[str, Any] = {}
    with Interruption() as interruption, out.progress:
        try:
            for step in range(start + 1, train.steps + 1):
                out.profile.at(step)
                state, metrics = program.step(state, program.place(next(batches)))
                out.write(ledger.push(step, metrics))
                evaluates, saves = due(train, step)
                if not (saves or interruption.requested):
                    continue
                out.write(ledger.flush())  # all steps are known to be finite before anything is saved
                if evaluates:
                    valid = out.evaluate(state, step)
                metric = out.scorer.badness(valid) if evaluates else None
                out.checkpoints.save(step, storable(state), meta, metric=metric)
                ledger.restart_clock()
                if evaluates and train.patience and out.scorer.stale() >= train.patience and step < train.steps:
                    reason = f'no better {train.metric} in {out.scorer.stale()} evaluations'
                    return Outcome(state, step, 'complete', reason, valid)
                if interruption.requested:
                    return Outcome(state, step, 'interrupted', interruption.requested, valid)
        except NonFiniteLossError as error:
            raise NonFiniteLossError(error.step, error.name, error.value, out.checkpoints.latest()) from None
        return Outcome(state, train.steps, 'complete', '', valid or out.evaluate(state, train.steps))


def due(train: TrainConfig, step: int) -> tuple[bool, bool]:
    """Whether a step ends with an evaluation, and whether with a checkpoint (each evaluation does)."""
    evaluates = step == train.steps or bool(train.eval_every and step % train.eval_every == 0)
    return evaluates, evaluates or bool(train.checkpoint_every and step % train.checkpoint_every == 0)
