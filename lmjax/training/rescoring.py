"""Scoring a finished run: its validation split, another source, or a text."""

from __future__ import annotations

import dataclasses
from typing import Any

from lmjax.config import UsageError, require
from lmjax.data.corpus import encode_text, prepare, prepare_eval, read_documents
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.labels import LABELS, part_labels, told_apart
from lmjax.data.loader import eval_batches
from lmjax.data.parallel_text import SIGN, describe_left_out, need_separator, pairs_left_out, split_pair, with_separator
from lmjax.data.sources import label_kind, need_pairs, open_source
from lmjax.data.store import TokenStore
from lmjax.data.tokenizers import tokenizer_class
from lmjax.generate.answers import ANSWERS
from lmjax.objectives.table import OBJECTIVES, objective_of
from lmjax.training.config import Config
from lmjax.training.evaluation import evaluate, make_eval_step
from lmjax.training.state import hparams_of, scored_part
from lmjax.types import Model, Teacher, Tree


def rescore(
    config: Config,
    model: Model,
    params: Tree,
    tokenizer: Any,
    *,
    text: str | None,
    source: str,
    stride: int,
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """One record of scores; see `lmjax.training.evaluation.evaluate` for its fields.

    Pairs have `pairs_left_out` as well: how many were too long to be scored; and texts that were left out for a label that
    training never saw are counted in `unseen_labels`. A text that is a pair is `source<TAB>target`.

    Raises:
      UsageError: text and source both given, a text of fewer than two tokens (or windows, where these are told from each
        other), or a source that cannot be read.
    """
    if text is not None and source:
        raise UsageError(f'source={source!r}: give either a text or a source, not both')
    config = _reading(config, text, source)
    objective = objective_of(config.objective)
    tokenizer = with_separator(tokenizer) if objective.paired else tokenizer
    _check_labels(config, text, source)
    store = _store(config, tokenizer, text, source, paired=objective.paired)
    seq_len = config.data.seq_len
    if not 0 <= stride <= seq_len:
        raise UsageError(f'stride={stride}: must lie between 0 (disjoint windows) and the window of {seq_len} tokens')
    remedy = f'the objective {config.objective.kind!r} does not score all tokens in order; leave it at 0'
    require((objective.in_order and not objective.labels) or not stride, 'stride', stride, remedy)
    layout = 'windows' if (text is not None and not store.paired) or stride else config.data.layout
    scored = source or ('text' if text is not None else config.data.source)
    left_out = {}
    if store.paired and layout != 'windows':
        describe_left_out({scored: store}, seq_len)  # refuses where nothing is left
        left_out = {'pairs_left_out': pairs_left_out(store, seq_len)}
    if store.unseen_labels:
        left_out['unseen_labels'] = store.unseen_labels
    rows = config.train.eval_batch_size or config.train.batch_size
    carry = config.train.carry
    batches = eval_batches(
        store,
        seq_len=seq_len,
        batch_size=rows,
        stride=stride,
        layout=layout,
        buckets=config.data.buckets,
        order='contiguous' if carry else 'shuffled',
        corrupt=tokens_corruption(config.objective, tokenizer),
    )
    cache = model.init_cache(params, rows, 0) if carry else None
    step = make_eval_step(model, objective, hparams_of(config), teacher)
    found = evaluate(step, params, batches, tokenizer=tokenizer, objective=objective, cache=cache)
    if not found.get('tokens', found.get('texts')):
        unit = 'tokens' if 'tokens' in found else f'windows of {seq_len} tokens'
        raise UsageError(f'text: fewer than two {unit}; nothing can be scored')
    return {'data': scored, **found, **left_out, 'params': scored_part(bool(config.optim.ema))}


def read_labelled(config: Config, source: str) -> tuple[list[str], list[str], Any]:
    """Texts of a source, cleaned, and their labels, as they are written and in numbers; of pairs the targets, and no numbers.

    Raises UsageError where there are none of the kind that the network tells, or a label that training never saw.
    """
    kind = what_is_told(config, source)
    if kind == 'target':
        need_pairs('source', source, 'what is told of each text')
        documents, _ = read_documents(open_source(source), config.data)
        texts, targets = map(list, zip(*map(split_pair, documents), strict=True))
        return texts, targets, [None] * len(texts)
    remedy = f'what is said of each text needs a source {LABELS[kind].written}'
    require(label_kind(source) == kind, 'source', source, remedy)
    opened = open_source(source)
    documents, _ = read_documents(opened, config.data)
    documents, _ = told_apart(opened, documents, config.objective.classes, config.data)
    texts, written, numbers = part_labels(opened, documents, config.objective.classes)
    if LABELS[kind].framed:  # a file is asked about, and its text is what is to be told
        return written, texts, [None] * len(texts)
    return texts, written, numbers


def what_is_told(config: Config, source: str = '') -> str:
    """What a network tells of a text, or of those of a source: a row of ANSWERS. Raises UsageError where it tells nothing."""
    config = _reading(config, None, source)
    objective, kind = objective_of(config.objective), config.objective.kind
    rows = ', '.join(name for name, row in OBJECTIVES.items() if (row.tells or row.labels) in ANSWERS)
    told = objective.tells or objective.labels
    require(told in ANSWERS, 'objective.kind', kind, f'this network tells nothing of a text; train one with: {rows}')
    return told


# kind of labels -> who reads text of which a part is told, and how it is laid out
GIVEN = {'said': ('instruct', 'packed'), 'middle': ('complete', 'packed'), 'preferred': ('prefer', 'documents')}
GOES_ON = ('causal', 'infill', *(kind for kind, _ in GIVEN.values()))  # rows of networks that go on with any text


def _reading(config: Config, text: str | None, source: str) -> Config:
    """The config as a text is read: who goes on with text reads plain text, conversations and gaps, whatever taught it."""
    told = label_kind(source) if source else ''
    if config.objective.kind not in GOES_ON or told == objective_of(config.objective).labels != '':
        return config
    if told in GIVEN:
        return _as_read(config, *GIVEN[told])
    plain = text is not None or (bool(source) and not told)
    return _as_read(config, 'causal', 'windows') if plain and config.objective.kind != 'causal' else config


def _as_read(config: Config, kind: str, layout: str) -> Config:
    objective, data = (
        dataclasses.replace(config.objective, kind=kind),
        dataclasses.replace(config.data, layout=layout, buckets=0),
    )
    return dataclasses.replace(config, objective=objective, data=data)


def _check_labels(config: Config, text: str | None, source: str) -> None:
    """Raises UsageError where labels are needed and there are none, or the other way round."""
    who, labels = f'the objective {config.objective.kind!r}', objective_of(config.objective).labels
    if not labels:
        require(not label_kind(source), 'source', source, f'{who} reads no labels; use jsonl:GLOB#text or text:GLOB')
        return
    remedy = f'{who} scores texts with labels; give a source {LABELS[labels].written}, or ask Run.predict'
    require(text is None, 'text', (text or '')[:40], remedy)
    require(not source or label_kind(source) == labels, 'source', source, remedy)


def _store(config: Config, tokenizer: Any, text: str | None, source: str, *, paired: bool) -> TokenStore:
    """What is to be scored. Raises UsageError where it is not pairs and must be."""
    who = f'the objective {config.objective.kind!r}'
    if text is not None:
        is_pair = text.count(SIGN) == 1
        require(is_pair or not paired, 'text', text[:40], f'{who} scores pairs; give SOURCE<TAB>TARGET')
        if paired:
            need_separator('text', tokenizer.specials)
        return encode_text(text, tokenizer, paired=paired)
    if paired:
        need_pairs(*(('source', source) if source else ('data.source', config.data.source)), who)
    if not source:
        own = tokenizer_class(config.data.tokenizer).trainable
        return prepare(config.data, tokenizer=None if own else tokenizer).valid
    return prepare_eval(source, tokenizer, config.data, classes=config.objective.classes)
