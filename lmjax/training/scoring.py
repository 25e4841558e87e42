"""The validation split of a run, scored with the parameters that would be used: the moving average if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmjax.data.corpus import Corpus
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.loader import eval_batches
from lmjax.objectives.table import objective_of
from lmjax.training.config import Config
from lmjax.training.evaluation import EvalStep, evaluate, make_eval_step
from lmjax.training.scores import badness
from lmjax.training.state import TrainState, hparams_of, scored_part
from lmjax.types import Model, Teacher, Tree


def scored_params(state: TrainState) -> Tree:
    """The parameters that evaluation and sampling use."""
    return getattr(state, scored_part(state.ema is not None))


class Scorer:
    """Compiles once, scores at any step; knows the scores of earlier evaluations from the records.

    `whole` makes a model's parameters of those that a state has; `eval_step` is one that is compiled already.
    """

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        model: Model,
        records: list[dict[str, Any]] | None = None,
        whole: Callable[[Tree], Tree] = lambda params: params,
        teacher: Teacher | None = None,
        eval_step: EvalStep | None = None,
    ) -> None:
        self.config, self.corpus, self.model, self.whole = config, corpus, model, whole
        self.objective = objective_of(config.objective)
        self.eval_step = eval_step or make_eval_step(model, self.objective, hparams_of(config), teacher)
        self.corrupt = tokens_corruption(config.objective, corpus.tokenizer)
        self._past = [self.badness(row) for row in records or [] if row.get('split') == 'valid']

    def badness(self, record: dict[str, Any]) -> float:
        """The score of an evaluation that `train.metric` names; less is better."""
        return badness(record, self.config.train.metric)

    def stale(self) -> int:
        """Evaluations since the best one."""
        return len(self._past) - 1 - self._past.index(min(self._past)) if self._past else 0

    def score(self, state: TrainState, step: int) -> dict[str, Any]:
        """The record of one evaluation: of the whole validation split after the last step, of `train.eval_batches` before."""
        train = self.config.train
        params = self.whole(scored_params(state))
        rows = train.eval_batch_size or train.batch_size
        batches = eval_batches(
            self.corpus.valid,
            seq_len=self.config.data.seq_len,
            batch_size=rows,
            layout=self.config.data.layout,
            buckets=self.config.data.buckets,
            order=self.config.data.order if train.carry else 'shuffled',
            limit=train.eval_batches if step < train.steps else 0,
            corrupt=self.corrupt,
        )
        cache = self.model.init_cache(params, rows, 0) if train.carry else None
        tokenizer = self.corpus.tokenizer
        found = evaluate(self.eval_step, params, batches, tokenizer=tokenizer, objective=self.objective, cache=cache)
        record = {'step': step, 'split': 'valid', **found, 'params': scored_part(state.ema is not None)}
        self._past.append(self.badness(record))
        return record
