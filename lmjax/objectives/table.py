"""The table of objectives: how a batch is scored, what for, and what that asks of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp

from lmjax.config import choose
from lmjax.objectives import (
    answers,
    classification,
    contrastive,
    distillation,
    likelihood,
    link,
    matching,
    multilabel,
    preference,
    regression,
    tagging,
)

if TYPE_CHECKING:
    from lmjax.objectives.config import ObjectiveConfig
    from lmjax.types import Inputs, Model, Output, Tree


class Objective(NamedTuple):
    """loss(model, params, batch, hparams, key, cache=None) -> (loss sum, (weight sum, metrics' sums, cache))."""

    loss: Callable[..., tuple[Any, tuple[Any, dict[str, Any], Any]]]
    separable: bool  # the loss of a batch is the sum over its rows, so that accumulation equals one batch
    in_order: bool  # what is scored are tokens of the text, each given those before: bits per byte follow
    needs: tuple[str, ...] = ()  # traits that a network must have
    paired: bool = False  # reads documents that are pairs of a source and a target
    labels: str = ''  # a row of LABELS: reads texts with these, which a classifier on top of the network tells, or the network
    reader: Callable[[Model], Model] = lambda model: model  # the network as it reads the prompts that it goes on with
    tells: str = ''  # what its network says of a text (a row of ANSWERS), where that is not the labels
    scalars: tuple[str, ...] = ()  # fields of its config that a study may vary: in hparams, where they are not 0
    settings: tuple[str, ...] = ()  # fields of its config that the loss takes by name
    taught: bool = False  # the loss takes a `teacher`, and scores a text as the row does that objective.reads names
    judged: bool = False  # the loss takes a `teacher` if there is one, in evaluation too
    scores: tuple[str, ...] = ('loss_nats', 'accuracy')  # by which its evaluations can be compared
    # an evaluation's sums (and their `weight`), what it kept of each row -> what it reports, where rows or words are scored;
    # None: tokens are, each given others
    report: Callable[..., dict[str, Any]] | None = None
    reported: tuple[str, ...] = ()  # fields of its config that the report takes by name
    check: Callable[[Sequence[str]], None] = lambda classes: None  # refuses classes that cannot be reported on


def open_prompts(model: Model) -> Model:
    """The network with all tokens of a call open: what it reads at once is a prefix."""

    def apply(params: Tree, inputs: Inputs, *args: Any, **kwargs: Any) -> Output:
        return model.apply(params, inputs._replace(open=jnp.ones(inputs.ids.shape, bool)), *args, **kwargs)

    return model._replace(apply=apply)


OBJECTIVES = {
    'causal': Objective(likelihood.loss, separable=True, in_order=True, needs=('causal',)),
    'masked': Objective(likelihood.loss, separable=True, in_order=False),
    'prefix': Objective(likelihood.loss, separable=True, in_order=False, needs=('causal', 'opens'), reader=open_prompts),
    'spans': Objective(likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal')),
    'denoise': Objective(likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal')),
    'seq2seq': Objective(
        likelihood.loss, separable=True, in_order=False, needs=('sourced', 'causal'), paired=True, tells='target'
    ),
    'contrastive': Objective(
        contrastive.loss,
        separable=False,
        in_order=False,
        needs=('trainable',),
        scalars=('temperature',),
        settings=('pooling',),
        scores=contrastive.SCORES,
        report=contrastive.report,
    ),
    'classify': Objective(
        classification.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        labels='class',
        settings=('class_weights',),
        scores=classification.SCORES,
        report=classification.report,
    ),
    'multilabel': Objective(
        multilabel.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        labels='classes',
        scores=multilabel.SCORES,
        report=multilabel.report,
    ),
    'regress': Objective(
        regression.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        labels='number',
        scores=regression.SCORES,
        report=regression.report,
    ),
    'tag': Objective(
        tagging.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        labels='tags',
        scores=tagging.SCORES,
        report=tagging.report,
        reported=('classes',),
        check=tagging.check,
    ),
    'link': Objective(
        link.loss,
        separable=True,
        in_order=False,
        needs=('trainable', 'causal'),
        labels='tail',
        scores=link.SCORES,
        report=link.report,
    ),
    'span': Objective(
        answers.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        labels='span',
        scores=answers.SCORES,
        report=answers.report,
    ),
    'match': Objective(
        matching.loss,
        separable=False,
        in_order=False,
        needs=('trainable',),
        labels='match',
        scalars=('temperature',),
        settings=('pooling',),
        scores=matching.SCORES,
        report=matching.report,
    ),
    'instruct': Objective(likelihood.loss, separable=True, in_order=True, needs=('trainable', 'causal'), labels='said'),
    'languages': Objective(likelihood.loss, separable=True, in_order=True, needs=('causal',), labels='language'),
    'infill': Objective(likelihood.loss, separable=True, in_order=False, needs=('trainable', 'causal'), tells='middle'),
    'complete': Objective(likelihood.loss, separable=True, in_order=True, needs=('trainable', 'causal'), labels='middle'),
    'caption': Objective(
        likelihood.loss, separable=True, in_order=True, needs=('trainable', 'causal', 'prefixed'), labels='caption'
    ),
    'prefer': Objective(
        preference.loss,
        separable=True,
        in_order=False,
        needs=('trainable', 'causal'),
        labels='preferred',
        scalars=('beta',),
        settings=('preference',),
        judged=True,
        scores=preference.SCORES,
        report=preference.report,
    ),
    'distill': Objective(
        distillation.loss,
        separable=True,
        in_order=False,
        needs=('trainable',),
        scalars=('soft_weight', 'soft_temperature', 'hidden_weight'),
        settings=('hidden',),
        taught=True,
    ),
}
# what can be distilled
READINGS = {kind: row for kind, row in OBJECTIVES.items() if row.loss is likelihood.loss and not row.labels}


def objective_of(config: ObjectiveConfig) -> Objective:
    """The row of a config, its loss bound to its settings; a student's is that of what it reads, with a loss of its own.

    Raises:
      UsageError: a row that does not exist, or a reading that has no distribution of tokens to learn.
    """
    row = choose(OBJECTIVES, config.kind, 'objective.kind')
    if row.taught:
        reading = choose(READINGS, config.reads, 'objective.reads')
        own = {name: getattr(row, name) for name in ('loss', 'scalars', 'settings', 'taught')}
        row = reading._replace(**own, needs=row.needs + reading.needs)
    settings, reported = ({name: getattr(config, name) for name in names} for names in (row.settings, row.reported))
    row = row._replace(loss=partial(row.loss, **settings)) if settings else row
    return row._replace(report=partial(row.report, **reported)) if row.report and reported else row
