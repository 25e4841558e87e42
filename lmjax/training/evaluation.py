"""Scoring a split: every token once, sums on the device, one division at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lmjax.objectives.table import Objective
from lmjax.parallel.compiler import compiler_options
from lmjax.types import Batch, HParams, Model, Teacher, Tree

EvalStep = Callable[[Tree, Batch, Tree], tuple[Any, Any]]


def make_eval_step(model: Model, objective: Objective, hparams: HParams, teacher: Teacher | None = None) -> EvalStep:
    """A compiled `(params, batch, cache) -> (sums, cache)`; sums are the objective's but `loss`, and their `weight`.

    What is `kept` of each row, where anything is, is no sum. A teacher is asked where the objective is judged by one.
    """
    return shared_eval_step(model, objective, teacher)(hparams)


def shared_eval_step(model: Model, objective: Objective, teacher: Teacher | None = None) -> Callable[[HParams], EvalStep]:
    """The same for any scalars: one program for all."""
    judge = teacher if objective.judged else None

    def eval_step(params: Tree, batch: Batch, cache: Tree, hparams: HParams, taught: Tree) -> tuple[dict[str, Any], Tree]:
        given = {'teacher': judge._replace(params=taught)} if judge else {}
        _, (weight, sums, after) = objective.loss(model, params, batch, hparams, None, cache, **given)
        kept = {name: value for name, value in sums.items() if name != 'loss'} | {'weight': weight}
        return kept, after if cache is not None else None

    compiled, taught = jax.jit(eval_step, compiler_options=compiler_options()), judge and judge.params
    return lambda hparams: lambda params, batch, cache: compiled(params, batch, cache, hparams, taught)


def evaluate(
    eval_step: Callable[..., Any],
    params: Tree,
    batches: Iterable[Batch],
    *,
    tokenizer: Any,
    objective: Objective,
    cache: Tree = None,
) -> dict[str, Any]:
    """Scores all batches; with a `cache`, recurrent state runs on from batch to batch.

    Returns `loss_nats` (per token), `perplexity`, `bits_per_byte` (None where the tokenizer loses text, or where tokens are
    not scored in order, so that no code for the text follows), `accuracy`, `tokens`, `bytes` and `unknown_rate`. The bytes are
    those of the scored tokens, so that partial splits count right. Where rows are classified there are `row_loss_nats` and
    `row_accuracy` as well. An objective that scores no tokens says itself what is reported.
    """
    counts_bytes = tokenizer.lossless and objective.in_order
    pending, kept, text_bytes, unknown = [], [], 0, 0
    for batch in batches:
        scored = np.asarray(batch.targets)[np.asarray(batch.weights) > 0]
        text_bytes += int(tokenizer.byte_lengths[scored].sum()) if counts_bytes else 0
        unknown += int((scored == tokenizer.unknown_id).sum()) if tokenizer.unknown_id is not None else 0
        sums, cache = eval_step(params, batch, cache)
        kept.append(sums.pop('kept', {}))
        pending.append(sums)
    names = pending[0] if pending else ('nll', 'correct', 'weight')
    totals = {name: total(sums[name] for sums in pending) for name in names}
    if objective.report is not None:
        return objective.report(totals, real_rows(kept))
    tokens = totals['weight']
    loss = totals['nll'] / tokens if tokens else math.nan
    return {
        'loss_nats': loss,
        'perplexity': math.exp(loss) if loss < 700 else math.inf,
        'bits_per_byte': totals['nll'] / math.log(2) / text_bytes if text_bytes else None,
        'accuracy': totals['correct'] / tokens if tokens else math.nan,
        'tokens': int(tokens),
        'bytes': text_bytes if counts_bytes else None,
        'unknown_rate': unknown / tokens if tokens else 0.0,
        **row_scores(totals),
    }


def real_rows(kept: Sequence[Mapping[str, Any]]) -> dict[str, list[np.ndarray]]:
    """What was kept of each row that is `real` (above 0), by name; rows of batches of other widths are of other lengths."""
    found: dict[str, list[np.ndarray]] = {}
    for part in kept:
        arrays = {name: np.asarray(value) for name, value in part.items()}
        for row in np.flatnonzero(arrays.pop('real', ())):
            for name, array in arrays.items():
                found.setdefault(name, []).append(array[row])
    return found


def total(parts: Iterable[Any]) -> Any:
    """The sum of scalars, or of arrays, in double precision."""
    values = [np.asarray(part, np.float64) for part in parts]
    return np.sum(values, axis=0) if values and values[0].ndim else math.fsum(map(float, values))


def row_scores(totals: dict[str, float]) -> dict[str, float]:
    """Of the rows that have a label."""
    rows = totals.get('rows')
    return {'row_loss_nats': totals['row_nll'] / rows, 'row_accuracy': totals['row_correct'] / rows} if rows else {}
