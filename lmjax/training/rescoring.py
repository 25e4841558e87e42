"""Scoring a finished run: its validation split, another source, or a text."""

from __future__ import annotations

from typing import Any

from lmjax.config import UsageError, require
from lmjax.data.corpus import encode_text, prepare, prepare_eval
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.loader import eval_batches
from lmjax.data.tokenizers import tokenizer_class
from lmjax.objectives.table import OBJECTIVES
from lmjax.training.config import Config
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.training.state import scored_part
from lmjax.types import Model, Tree


def rescore(
    config: Config, model: Model, params: Tree, tokenizer: Any, *, text: str | None, source: str, stride: int
) -> dict[str, Any]:
    """One record of scores; see `lmjax.training.evaluation.evaluate` for its fields.

    Raises:
      UsageError: text and source both given, a text of fewer than two tokens, or a source that cannot be read.
    """
    if text is not None and source:
        raise UsageError(f'source={source!r}: give either a text or a source, not both')
    if text is not None:
        store = encode_text(text, tokenizer)
    elif source:
        store = prepare_eval(source, tokenizer, config.data)
    else:
        own = tokenizer_class(config.data.tokenizer).trainable
        store = prepare(config.data, tokenizer=None if own else tokenizer).valid
    seq_len = config.data.seq_len
    if not 0 <= stride <= seq_len:
        raise UsageError(f'stride={stride}: must lie between 0 (disjoint windows) and the window of {seq_len} tokens')
    objective = OBJECTIVES[config.objective.kind]
    remedy = f'the objective {config.objective.kind!r} does not score tokens in order; leave it at 0'
    require(objective.in_order or not stride, 'stride', stride, remedy)
    rows = config.train.eval_batch_size or config.train.batch_size
    carry = config.train.carry
    batches = eval_batches(
        store,
        seq_len=seq_len,
        batch_size=rows,
        stride=stride,
        layout='windows' if text is not None or stride else config.data.layout,
        order='contiguous' if carry else 'shuffled',
        corrupt=tokens_corruption(config.objective, tokenizer),
    )
    cache = model.init_cache(params, rows, 0) if carry else None
    step = make_eval_step(model, objective)
    found = evaluate(step, params, batches, tokenizer=tokenizer, in_order=objective.in_order, cache=cache)
    if not found['tokens']:
        raise UsageError('text: fewer than two tokens; nothing can be scored')
    scored = source or ('text' if text is not None else config.data.source)
    return {'data': scored, **found, 'params': scored_part(bool(config.optim.ema))}
