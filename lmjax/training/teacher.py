"""The networks that a run learns from: what is asked of a teacher, and that they stay the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.marks import reading_of
from lmjax.data.parallel_text import with_separator
from lmjax.models import build
from lmjax.models.params import hidden_width
from lmjax.objectives.table import OBJECTIVES
from lmjax.training.checkpoint.structure import flatten
from lmjax.training.config import Config
from lmjax.types import Teacher, Tree

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer


def load_teacher(config: Config, load: Callable[[str], Any]) -> Any:
    """The run that `objective.teacher` names, which `load` gives. Raises UsageError that says so where it cannot be had."""
    name = config.objective.teacher
    try:
        found = load(name)
    except FileNotFoundError:
        remedy = "there is no such folder; name a run's, hf:DIR, hf:NAME or gguf:FILE, and keep it until the run is complete"
        raise UsageError(f'objective.teacher={name!r}: {remedy}') from None
    except UsageError as error:
        raise UsageError(f'objective.teacher={name!r}: cannot be loaded: {error}') from error
    require(found.tokenizer is not None, 'objective.teacher', name, 'has no tokenizer to read with; add its tokenizer.json')
    is_paired = config.objective.reads == 'seq2seq'
    return dataclasses.replace(found, tokenizer=with_separator(found.tokenizer)) if is_paired else found


def as_teacher(found: Any, config: Config, tokenizer: Tokenizer) -> Teacher:
    """A loaded run for one of another config to learn from. Raises UsageError where it cannot."""
    teacher, told = Teacher(found.model, found.params), {'teacher_config': found.config, 'teacher_tokenizer': found.tokenizer}
    check_teacher(config, tokenizer, teacher, context=found.context, **told)
    return teacher


def check_teacher(
    config: Config,
    tokenizer: Tokenizer,
    teacher: Teacher,
    *,
    teacher_config: Config,
    teacher_tokenizer: Tokenizer,
    context: int | None,
) -> None:
    """Whether a run over `tokenizer` can learn from a teacher with a config and a tokenizer of its own.

    Args:
      context: how many tokens the teacher reads at once; None: any number.

    Raises:
      UsageError: other tokens, another objective, windows that are too long, or hidden states that cannot be compared.
    """
    objective, name = config.objective, config.objective.teacher
    remedy = f"its tokens are not those of objective.teacher={name!r}; set data.tokenizer='teacher' to use these"
    require(teacher_tokenizer.digest == tokenizer.digest, 'data.tokenizer', config.data.tokenizer, remedy)
    if objective.kind == 'prefer':
        remedy = 'goes on with no text; name a network that reads from left to right'
        require(teacher.model.traits.causal and not teacher.model.traits.sourced, 'objective.teacher', name, remedy)
    else:
        _check_reading(config, teacher, teacher_config)
    remedy = f'objective.teacher={name!r} reads {context} tokens at once; use {context} or less'
    require(context is None or config.data.seq_len <= context, 'data.seq_len', config.data.seq_len, remedy)
    if objective.hidden:
        _check_widths(config, teacher)


def _check_reading(config: Config, teacher: Teacher, teacher_config: Config) -> None:
    objective, name = config.objective, config.objective.teacher
    if teacher.model.traits.sourced and teacher_config.data.tokenizer == 'library':  # imported: nothing says what taught it
        remedy = f'objective.teacher={name!r} reads a source; use spans, denoise or seq2seq'
        require('sourced' in OBJECTIVES[objective.reads].needs, 'objective.reads', objective.reads, remedy)
        return
    reads = reading_of(teacher_config.objective)
    remedy = f'objective.teacher={name!r} was trained on {reads!r}; use that, or another teacher'
    require(objective.reads == reads, 'objective.reads', objective.reads, remedy)


def _check_widths(config: Config, teacher: Teacher) -> None:
    hidden, name = config.objective.hidden, config.objective.teacher
    remedy = f'objective.teacher={name!r} only counts and has no hidden states; leave it empty'
    require(teacher.model.traits.trainable, 'objective.hidden', hidden, remedy)
    student = build(config.model, vocab_size=teacher.model.vocab_size, seq_len=config.data.seq_len)
    own, taught = hidden_width(student), hidden_width(teacher.model)
    remedy = f"the network's states have width {own}, those of objective.teacher={name!r} {taught}; use 'relation'"
    require(hidden != 'cosine' or own == taught, 'objective.hidden', hidden, remedy)


def check_same(config: Config, digests: Mapping[str, str], recorded: Mapping[str, Any], workdir: str) -> None:
    """Raises UsageError unless other networks that a config names have the digests that a run recorded when it began."""
    remedy = f'is not the network that the run in {workdir} has learned from; put that back, or use another --workdir'
    for section, name in (('objective', 'teacher'), ('adapt', 'base')):
        value = getattr(getattr(config, section), name)
        require(digests.get(name, '') == recorded.get(name, ''), f'{section}.{name}', value, remedy)


def digest_of(params: Tree) -> str:
    """SHA-256 of the names, shapes, types and values of parameters."""
    found = hashlib.sha256()
    for path, leaf in sorted(flatten(params).items()):
        value = np.ascontiguousarray(leaf)
        found.update(f'{path} {value.shape} {value.dtype};'.encode())
        found.update(value.tobytes())
    return found.hexdigest()
