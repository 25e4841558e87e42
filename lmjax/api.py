"""What trains: `train` a config, `finetune` a network that exists."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lmjax.training.config import Config

if TYPE_CHECKING:
    from lmjax.data.config import DataConfig
    from lmjax.data.tokenizers import Tokenizer
    from lmjax.training.program import Programs

LONG_PREPARATION = 1.5  # seconds; text that is bad, small or kept from last time is dealt with by then, and nothing compiled


def train(
    config: Config,
    workdir: str,
    *,
    extend: bool = False,
    init_from: str = '',
    profile: str = '',
    programs: Programs | None = None,
    say: Any = print,
) -> dict[str, Any]:
    """Trains a config in `workdir`, or resumes the run that it holds; returns the last validation record.

    Args:
      extend: allow `config.train.steps` to be larger than the run's.
      init_from: another run's folder, or a checkpoint as 'hf:DIR', whose parameters a fresh run starts from, or which it
        adapts. Its tokenizer must be the run's: data.tokenizer='library' takes it over.
      profile: 'START:STOP', the steps to trace.
      programs: those of runs before this one in the same process; a run of their structure compiles nothing.
      say: receives each line meant for a person.

    Raises:
      UsageError: bad input, in one line, before any device work.
      lmjax.training.loop.NonFiniteLossError: the loss is no longer a number.
    """
    from lmjax.data.corpus import prepare
    from lmjax.interop.starts import start_params
    from lmjax.training.workdir import check_workdir, open_run

    check_workdir(workdir)
    takes = config.data.tokenizer == 'teacher'
    config, init_from, given = _settled(config, workdir, init_from)
    with _prepared_beside(config.data, given, wanted=programs is None) as wait:
        from lmjax.caches import keep_compiled_programs
        from lmjax.installation import check_accelerator
        from lmjax.loaded import load_there
        from lmjax.training import run
        from lmjax.training.profile import parse_span
        from lmjax.training.teacher import as_teacher, load_teacher
        from lmjax.training.validate import validate

        keep_compiled_programs()
        validate(config)
        check_accelerator()
        if profile:
            parse_span(profile)
        found = load_teacher(config, load_there) if config.objective.teacher else None
        program = None
        if not wait(LONG_PREPARATION):
            say(f'prepares {config.data.source} once and for all, and compiles meanwhile')
            program = run.compile_ahead(config, workdir)
            wait(None)
    corpus = prepare(config.data, tokenizer=found.tokenizer if takes and found else given)
    teacher = as_teacher(found, config, corpus.tokenizer) if found else None
    config = run.resolve(config, corpus)
    changed = open_run(workdir, config, extend=extend)
    if run.is_complete(config, workdir):
        return _complete(config, workdir, say)
    start = functools.partial(start_params, init_from, config, corpus.tokenizer, say=say) if init_from else None
    train_on = functools.partial(run.train, config, workdir, corpus, changed=changed, profile=profile, say=say)
    return train_on(program=program, programs=programs, teacher=teacher, start=start)


def _settled(config: Config, workdir: str, init_from: str) -> tuple[Config, str, Tokenizer | None]:
    """The config, where it starts from and the tokenizer that comes from there, or from the run that has begun."""
    from lmjax.interop.starts import given_tokenizer, with_start, with_vocabulary
    from lmjax.training.workdir import has_begun

    begun = has_begun(workdir)
    config, init_from = with_start(config, init_from, begun=begun)
    if config.data.tokenizer == 'teacher':
        return with_vocabulary(config, None), init_from, None
    given = given_tokenizer(config.data, workdir=workdir if begun else '', init_from=init_from)
    return with_vocabulary(config, given), init_from, given


@contextlib.contextmanager
def _prepared_beside(
    data: DataConfig, tokenizer: Tokenizer | None, *, wanted: bool
) -> Iterator[Callable[[float | None], bool]]:
    """Reads and encodes the text in another process, while this one imports jax; says whether it is done so many seconds on.

    Where jax has been imported for other runs that is not wanted: `prepare` does it all.
    """
    from lmjax.data.corpus import start_preparing

    if not wanted:
        yield lambda _: True
        return
    began, preparing = time.monotonic(), start_preparing(data, tokenizer)

    def wait(seconds: float | None) -> bool:
        try:
            preparing.wait(None if seconds is None else max(0.0, began + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    try:
        yield wait
    finally:
        preparing.terminate()
        preparing.wait()


def finetune(
    config: Config,
    workdir: str,
    *,
    init: str = '',
    extend: bool = False,
    programs: Programs | None = None,
    say: Any = print,
) -> dict[str, Any]:
    """Trains a config as `train` does, on the network and the tokenizer of `init`, whatever the config says of these.

    Args:
      init: a checkpoint as 'hf:DIR', 'hf:NAME' or 'gguf:FILE', or another run's folder; '': the config's own network, from
        scratch. Dropout and precision are the config's.

    Raises:
      UsageError: as `train`.
    """
    from lmjax.interop.starts import taken_over
    from lmjax.training.workdir import has_begun

    if init:
        config = taken_over(config, init, workdir=workdir if has_begun(workdir) else '')
    return train(config, workdir, extend=extend, init_from=init, programs=programs, say=say)


def _complete(config: Config, workdir: str, say: Any) -> dict[str, Any]:
    say(f'{workdir}: the run is complete; see report.html, or train on with --extend --config.train.steps=...')
    return {'status': 'complete', 'steps': config.train.steps}
