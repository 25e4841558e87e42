"""A run from its config to its report: what `lmjax.train` and the entry point call."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lmjax.config import UsageError, fingerprint, require
from lmjax.data.cleaning import describe_unreadable
from lmjax.data.corpus import Corpus
from lmjax.data.labels import balanced_weights, describe_cut, describe_split, describe_unseen
from lmjax.data.loader import epoch_steps, train_widths
from lmjax.data.parallel_text import describe_left_out
from lmjax.data.sources import label_kind
from lmjax.data.tokenizers import expected_vocabulary
from lmjax.models.params import count_params
from lmjax.objectives.table import objective_of
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.config import Config
from lmjax.training.finish import finish
from lmjax.training.ledger import NonFiniteLossError
from lmjax.training.loop import Outcome, Outlets, run_steps
from lmjax.training.metrics import MetricsLog, read_metrics
from lmjax.training.network import bare_network, learned_shapes, network_of
from lmjax.training.profile import Profile
from lmjax.training.program import Program, Programs, assemble
from lmjax.training.progress import Progress
from lmjax.training.restore import load_params, restore_state, storable
from lmjax.training.scores import badness
from lmjax.training.scoring import Scorer, scored_params
from lmjax.training.state import TrainState, hparams_of, stream
from lmjax.training.teacher import check_same
from lmjax.training.workdir import has_begun
from lmjax.types import Model, Teacher, Tree


def train(
    config: Config,
    workdir: str,
    corpus: Corpus,
    *,
    changed: dict[str, tuple[Any, Any]],
    program: Program | None = None,
    programs: Programs | None = None,
    teacher: Teacher | None = None,
    start: Callable[[Model], Tree] | None = None,
    profile: str = '',
    say: Any = print,
) -> dict[str, Any]:
    """Trains, or resumes, the run in `workdir`; returns the last validation record with `status` added.

    `program` is what `compile_ahead` gave; it is used if the text has the vocabulary that was expected. `programs` are those of
    runs before this one, and are used where the run asks no other network. A `teacher` has been checked by
    `lmjax.training.teacher.check_teacher`. `start` gives a fresh run the parameters that it starts from, and a run that adapts
    a network those of that.

    Raises:
      UsageError: the checkpoint does not fit the config.
      NonFiniteLossError: training diverged.
    """
    for line in filter(None, _describe_text(config, corpus)):
        say(line)
    corpus.tokenizer.save(os.path.join(workdir, 'tokenizer'))
    records = read_metrics(workdir)
    checkpoints = Checkpointer(
        os.path.join(workdir, 'checkpoints'), keep_latest=config.train.keep_latest, keep_best=config.train.keep_best
    )
    with MetricsLog(workdir, tensorboard=config.log.tensorboard, start=checkpoints.latest() or 0) as log:
        if changed:
            log.event(checkpoints.latest() or 0, 'config changed', changed=changed)
        model = network_of(config, corpus.tokenizer.vocab_size)
        args = (config, corpus, workdir, checkpoints, log, records, say)
        if model.traits.trainable:
            if programs is not None and not (teacher or config.adapt.kind):
                program = programs.of(config, model.vocab_size)
            outcome, whole = _by_gradient(*args, program=program, teacher=teacher, start=start, profile=profile)
        else:
            require(start is None, 'model.kind', config.model.kind, 'counts from nothing; leave out --init_from')
            outcome, whole = _by_counting(model, *args), lambda params: params
        checkpoints.close()
        if outcome.status == 'interrupted':
            say(f'{outcome.reason}: saved step {outcome.step} in {workdir}; run the same command again to go on')
        else:
            records = read_metrics(workdir)
            params, valid = _result(config, model, outcome, whole, workdir, checkpoints, records, say)
            finish(config, corpus, model, params, valid, workdir, records=records, say=say)
            return {**valid, 'status': outcome.status, 'steps': outcome.step}
    return {**outcome.valid, 'status': outcome.status, 'steps': outcome.step}


def _describe_text(config: Config, corpus: Corpus) -> list[str]:
    """What a person should know of the text; empty where there is nothing to say."""
    splits = {'train': corpus.train, 'valid': corpus.valid} if config.data.layout != 'windows' else {}
    told = [tell(splits, config.data.seq_len) for tell in (describe_left_out, describe_cut)]
    return [
        describe_unreadable(corpus.counts),
        describe_unseen(corpus.counts),
        describe_split(config.data, corpus.counts),
        *told,
    ]


def _result(
    config: Config,
    model: Model,
    outcome: Outcome,
    whole: Callable[[Tree], Tree],
    workdir: str,
    checkpoints: Checkpointer,
    records: list[dict[str, Any]],
    say: Any,
) -> tuple[Tree, dict[str, Any]]:
    """The parameters that a run ends with, and their evaluation."""
    step = checkpoints.best() if config.train.load_best else None
    if step in (None, outcome.step):
        return whole(scored_params(outcome.state)), outcome.valid
    say(f'the best by {config.train.metric} is step {step}')
    valid = next(row for row in records if row['split'] == 'valid' and row['step'] == step)
    return whole(load_params(workdir, learned_shapes(config, model), step=step)), valid


def compile_ahead(config: Config, workdir: str) -> Program | None:
    """The compiled program of a fresh run whose text is still being prepared; None where only the text can tell its shapes."""
    vocab_size = expected_vocabulary(config.data)
    needs_text = config.data.buckets or (label_kind(config.data.source) and not config.objective.classes)
    waits = config.objective.teacher or config.adapt.kind or needs_text
    if has_begun(workdir) or not vocab_size or not config.train.steps or waits:
        return None
    if not network_of(config, vocab_size).traits.trainable:
        return None
    program = assemble(config, vocab_size)
    program.compile([config.data.seq_len])
    return program


def resolve(config: Config, corpus: Corpus) -> Config:
    """The config with what its text says: classes and their weights, `train.steps` and `train.eval_every` from epochs.

    Raises:
      UsageError: the config names other classes than the text.
    """
    train, named, classes = config.train, config.objective.classes, corpus.train.classes
    if classes and named != classes:
        require(not named, 'objective.classes', named, f'the text has {classes}; leave it out, or name these')
        config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, classes=classes))
    objective_of(config.objective).check(classes)
    if objective_of(config.objective).labels == 'language':
        check_languages(config)
    if config.objective.balanced and corpus.train.labels is not None:
        weights, given = balanced_weights(corpus.train.labels, len(classes)), config.objective.class_weights
        remedy = f'objective.balanced makes them {weights}; leave one of the two out'
        require(given in ((), weights), 'objective.class_weights', given, remedy)
        config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, class_weights=weights))
    if not train.steps or train.eval_epochs:
        epoch = epoch_steps(corpus.train, config.data, seed=config.seed, batch_size=train.batch_size)
        steps = train.steps or max(1, round(epoch * train.epochs))
        every = max(1, round(epoch * train.eval_epochs)) if train.eval_epochs else train.eval_every
        config = dataclasses.replace(config, train=dataclasses.replace(train, steps=steps, eval_every=every))
    return config


def check_languages(config: Config) -> None:
    """Raises UsageError for a table of token types that has no row for some language."""
    rows, languages = getattr(config.model, 'token_types', 0), config.objective.classes
    remedy = f'the text has {len(languages)} languages; use that many, or 0 for no vectors of languages'
    require(rows == 0 or rows >= len(languages), 'model.token_types', rows, remedy)


def is_complete(config: Config, workdir: str) -> bool:
    """Whether the run in `workdir` has done all its steps, or stopped early for good, and said what came out."""
    return bool(_ends(config, read_metrics(workdir))) and os.path.isfile(os.path.join(workdir, 'run.json'))


def _ends(config: Config, records: list[dict[str, Any]]) -> list[int]:
    """The steps at which the run ended for good."""
    ended = [row for row in records if row.get('split') == 'event' and row.get('event') == 'complete']
    return [row['step'] for row in ended if row['step'] >= config.train.steps or row.get('early')]


def _by_gradient(
    config: Config,
    corpus: Corpus,
    workdir: str,
    checkpoints: Checkpointer,
    log: MetricsLog,
    records: list[dict[str, Any]],
    say: Any,
    *,
    program: Program | None,
    teacher: Teacher | None,
    start: Callable[[Model], Tree] | None,
    profile: str,
) -> tuple[Outcome, Callable[[Tree], Tree]]:
    """The outcome, and what makes parameters of the whole network of those that were learned."""
    vocab_size, adapts = corpus.tokenizer.vocab_size, bool(config.adapt.kind)
    given = functools.partial(start, bare_network(config, vocab_size)) if start else lambda: None
    base = given() if adapts else None
    if program is None or program.model.vocab_size != vocab_size:
        program = assemble(config, vocab_size, teacher, base)
    count = f'{count_params(program.like.params):,} parameters' + (f' beside {count_params(base):,}' if adapts else '')
    say(f'{config.name}: {count}, {describe(program.mesh)}, vocabulary {vocab_size:,}')
    state = restore_state(checkpoints, program.like)
    if state is None:
        data, size = config.data, config.train.batch_size
        widths = train_widths(corpus.train, data, seed=config.seed, batch_size=size)
        if len(widths) > 1:
            say(f'compiles for batches of {", ".join(map(str, widths))} tokens')
        program.compile(widths)
        state = _begun_with(program.init(), None if adapts else given())
    else:
        check_same(config, program.digests, checkpoints.manifest(int(state.step)).meta, workdir)
        say(f'resumes at step {int(state.step)}')
    past = [row for row in records if row['step'] <= int(state.step)]
    out = Outlets(
        checkpoints,
        log,
        Progress(config.train.steps, start=int(state.step)),
        Scorer(config, corpus, program.model, past, program.whole, program.teacher, program.evaluate),
        Profile(profile, workdir),
    )
    if int(state.step) in _ends(config, records):  # it was stopped before it said what came out
        valid = [row for row in past if row['split'] == 'valid']
        return Outcome(state, int(state.step), 'complete', '', valid[-1]), program.whole
    try:
        outcome = run_steps(config, corpus, program, state, out)
    except NonFiniteLossError as error:
        log.event(error.step, 'not finite', message=str(error))
        raise
    finally:
        out.profile.stop()
    if outcome.status == 'complete':
        log.event(outcome.step, 'complete', early=bool(outcome.reason))
        if outcome.reason:
            say(f'stopped early at step {outcome.step}: {outcome.reason}')
    return outcome, program.whole


def _begun_with(state: TrainState, params: Tree | None) -> TrainState:
    """A fresh state that starts from given parameters, if there are any; what is on top of those stays as it was drawn."""
    if params is None:
        return state
    params = {**state.params, **params}
    average = None if state.ema is None else jax.tree.map(jnp.copy, params)  # a copy: the step takes over its state
    return state._replace(params=params, ema=average)


def _by_counting(
    model: Model,
    config: Config,
    corpus: Corpus,
    workdir: str,
    checkpoints: Checkpointer,
    log: MetricsLog,
    records: list[dict[str, Any]],
    say: Any,
) -> Outcome:
    """A model of counts is trained by one pass over the tokens; the rest of a run is the same."""
    if model.fit is None:
        raise UsageError(f'model.kind={config.model.kind!r}: can be trained neither by gradient nor by counting')
    began = time.perf_counter()
    params = model.fit(corpus.train.tokens, hparams_of(config))
    seconds = time.perf_counter() - began
    say(f'{config.name}: counted {len(corpus.train.tokens):,} tokens in {seconds:.1f} s')
    root = stream(jax.random.key(config.seed), 'root')
    state = TrainState(step=jax.numpy.ones((), 'int32'), root=root, params=params, opt_state={})
    record = {'step': 1, 'split': 'train', 'tokens': len(corpus.train.tokens)}
    log.write({**record, 'tokens_per_second': len(corpus.train.tokens) / max(seconds, 1e-9)})
    valid = Scorer(config, corpus, model).score(state, 1)
    log.write(valid)
    checkpoints.save(1, storable(state), {'fingerprint': fingerprint(config)}, metric=badness(valid, config.train.metric))
    log.event(config.train.steps, 'complete', early=False)
    return Outcome(state, 1, 'complete', '', valid)


def describe(mesh: jax.sharding.Mesh) -> str:
    """'1 cpu device' or '8 cpu devices (data 8)'."""
    axes = ', '.join(f'{name} {size}' for name, size in mesh.shape.items() if size > 1)
    count, kind = mesh.devices.size, mesh.devices.flat[0].platform
    return f'{count} {kind} device{"s" if count > 1 else ""}' + (f' ({axes})' if axes else '')
