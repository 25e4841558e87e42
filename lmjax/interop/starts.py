"""What a run takes over from elsewhere when it starts: a tokenizer that is not trained on its text, and parameters."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from lmjax.config import UsageError, differences, require
from lmjax.data.config import DataConfig
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.special_tokens import roles_of
from lmjax.data.tokenizers import Tokenizer, load_tokenizer, tokenizer_class
from lmjax.interop.sources import import_tokenizer, is_imported
from lmjax.training.config import Config

if TYPE_CHECKING:
    from lmjax.types import Model, Tree

ROWS = 'library'  # data.tokenizer: the one of --init_from
CHAT_FILE = 'chat.json'  # of a saved tokenizer, which text has nothing to do with
SHROWS = 4  # fields named in a line


def check_start(init_from: str, data: DataConfig, *, field: str = '--init_from') -> None:
    """Raises UsageError for a place without parameters, or whose tokenizer cannot be the config's."""
    if is_imported(init_from):
        trained = tokenizer_class(data.tokenizer).trainable
        remedy = f'its words are not those of {init_from}; use --config.data.tokenizer={init_from}'
        require(not trained, 'data.tokenizer', data.tokenizer, remedy)
    elif init_from and not os.path.isdir(os.path.join(init_from, 'checkpoints')):
        raise UsageError(f'{field}={init_from!r}: holds no checkpoints; name the --workdir of another run, or hf:DIR')


def with_start(config: Config, init_from: str, *, begun: bool) -> tuple[Config, str]:
    """The config, and where parameters come from: those that a fresh run starts from, or those that a run adapts.

    The config of a run that adapts a network says which one.

    Raises:
      UsageError: there are no parameters, or no network to adapt is named.
    """
    config = with_reference(config, config.adapt.base or init_from)
    if not config.adapt.kind:
        if not begun:
            check_start(init_from, config.data)
        return config, init_from
    base = config.adapt.base or init_from
    require(bool(base), 'adapt.kind', config.adapt.kind, 'changes a network that there is; name it with --init or adapt.base')
    remedy = f'the run starts from {init_from!r}; name one network, in one place'
    require(init_from in ('', base), 'adapt.base', base, remedy)
    check_start(base, config.data, field='adapt.base')
    return dataclasses.replace(config, adapt=dataclasses.replace(config.adapt, base=base)), base


def with_reference(config: Config, start: str) -> Config:
    """The config, whose reference is what the run starts from where it needs one and names none.

    Raises UsageError where it starts from nothing.
    """
    from lmjax.objectives.preference import PREFERENCES

    objective = config.objective
    needs = objective.kind == 'prefer' and objective.preference in PREFERENCES and PREFERENCES[objective.preference].refers
    if objective.teacher or not needs:
        return config
    remedy = 'holds to the network that it starts from; name that with --init, or choose orpo'
    require(bool(start), 'objective.preference', objective.preference, remedy)
    return dataclasses.replace(config, objective=dataclasses.replace(objective, teacher=start))


def given_tokenizer(data: DataConfig, *, workdir: str = '', init_from: str = '') -> Tokenizer | None:
    """The tokenizer of a config that names one instead of a kind to train; None where it is trained on the text.

    Args:
      workdir: of a run that has begun: the one that it keeps is taken, and what the config names need no longer exist.
      init_from: what the run starts from, whose tokenizer data.tokenizer='library' means.

    Raises:
      UsageError: it is not to be had, or the config contradicts it.
    """
    if tokenizer_class(data.tokenizer).trainable:
        return None
    if workdir:
        found = load_tokenizer(os.path.join(workdir, 'tokenizer'))
    elif data.tokenizer == ROWS:
        remedy = 'is the tokenizer of --init_from; give that, or name one: byte, char, word, bpe, hf:DIR'
        require(bool(init_from), 'data.tokenizer', data.tokenizer, remedy)
        found = _with_roles(_tokenizer_of(init_from), data)
    else:
        found = _with_roles(import_tokenizer(data.tokenizer), data)
    remedy = f'the tokenizer {data.tokenizer} has {found.vocab_size} tokens; use 0, which means as many'
    require(data.vocab_size in (0, found.vocab_size), 'data.vocab_size', data.vocab_size, remedy)
    if missing := [role for role in roles_of(data) if role not in found.specials]:
        raise UsageError(f'data.specials={data.specials!r}: the tokenizer {data.tokenizer} has no {missing[0]!r}; leave it out')
    return found


def _with_roles(tokenizer: Tokenizer, data: DataConfig) -> Tokenizer:
    """A checkpoint's tokenizer with the special tokens that a config asks for beside its own."""
    return tokenizer.with_roles(roles_of(data)) if isinstance(tokenizer, LibraryTokenizer) else tokenizer


def _tokenizer_of(start: str) -> Tokenizer:
    return import_tokenizer(start) if is_imported(start) else load_tokenizer(os.path.join(start, 'tokenizer'))


def with_vocabulary(config: Config, tokenizer: Tokenizer | None) -> Config:
    """The config with the size of a tokenizer that it was given."""
    if tokenizer is None:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, vocab_size=tokenizer.vocab_size))


def taken_over(config: Config, init_from: str, *, workdir: str = '') -> Config:
    """The config with the network and the tokenizer of a start; dropout and precision stay as they were.

    Args:
      workdir: of a run that has begun: its network is taken, and the start need no longer exist.

    Raises:
      UsageError: no such start.
    """
    from lmjax.training.workdir import read_config

    if workdir:
        theirs = read_config(workdir).model
    elif is_imported(init_from):
        from lmjax.interop.sources import import_checkpoint

        theirs = import_checkpoint(init_from).config.model
    else:
        theirs = read_config(init_from).model
    kept = {name: getattr(config.model, name) for name in ('dropout', 'dtype', 'remat') if hasattr(theirs, name)}
    data = dataclasses.replace(config.data, tokenizer=ROWS, vocab_size=0, specials=(), sentinels=0)
    return dataclasses.replace(config, model=dataclasses.replace(theirs, **kept), data=data)


def start_params(init_from: str, config: Config, tokenizer: Tokenizer, model: Model, *, say: Any = print) -> Tree:
    """The parameters of another run or of an imported checkpoint, for a network of `config`.

    What the two configs compute differently is said, since parameters of equal shapes do not tell it. A classifier that the
    other run has on top is left behind.

    Raises:
      UsageError: names or shapes differ, or the words.
    """
    from lmjax.models.classifiers import network_part
    from lmjax.training.checkpoint.structure import check_fits, describe, flatten
    from lmjax.training.network import network_of
    from lmjax.training.workdir import read_config

    if is_imported(init_from):
        import jax

        from lmjax.interop.sources import import_checkpoint

        scan_layers = getattr(config.model, 'scan_layers', False)
        theirs, params, other = import_checkpoint(init_from, scan_layers=scan_layers)
        other = other and _with_roles(other, config.data)
        check_words(init_from, tokenizer, other, theirs.data.vocab_size)
        _say_differences(init_from, theirs.model, config.model, say)
        like = jax.eval_shape(model.init, jax.random.key(0), {})
        check_fits(describe(flatten(params)), describe(flatten(like)), name=f'--init_from={init_from!r}')
        say(f'starts from the parameters of {init_from}')
        return params
    other = _with_roles(load_tokenizer(os.path.join(init_from, 'tokenizer')), config.data)
    check_words(init_from, tokenizer, other, other.vocab_size)
    begun = read_config(init_from)
    _say_differences(init_from, begun.model, config.model, say)
    data = dataclasses.replace(begun.data, seq_len=config.data.seq_len)
    like = dataclasses.replace(begun, model=config.model, data=data)
    whole = network_of(like, other.vocab_size)
    params = run_params(init_from, like, other, whole, best=begun.train.load_best, flag='--init_from')
    say(f'starts from the parameters of {init_from}')
    return network_part(params)


def run_params(
    workdir: str,
    config: Config,
    tokenizer: Tokenizer,
    model: Model,
    *,
    step: int | None = None,
    best: bool = False,
    flag: str = '--workdir',
) -> Tree:
    """The parameters of a run's whole network `model`, at its newest checkpoint, `step` or the best, with what it adapts.

    Raises:
      UsageError: no checkpoint, one that does not fit, or the network that was adapted is gone or another.
    """
    from lmjax.optim.adapters import merged
    from lmjax.training.network import bare_network, learned_shapes
    from lmjax.training.restore import load_params, stored_meta
    from lmjax.training.teacher import check_same, digest_of

    params = load_params(workdir, learned_shapes(config, model), step=step, best=best, flag=flag)
    if not config.adapt.kind:
        return params
    check_start(config.adapt.base, config.data, field='adapt.base')
    bare = bare_network(config, tokenizer.vocab_size)
    base = start_params(config.adapt.base, config, tokenizer, bare, say=lambda line: None)
    check_same(config, {'base': digest_of(base)}, {'base': stored_meta(workdir).get('base', '')}, workdir)
    return merged(base, params, model.axes, config.adapt)


def check_words(init_from: str, tokenizer: Tokenizer, other: Tokenizer | None, vocab_size: int) -> None:
    """Raises UsageError unless a run's tokens mean what those of its start mean, which may have no tokenizer but a size."""
    size = tokenizer.vocab_size
    require(size == vocab_size, f'--init_from={init_from!r}: tokens', vocab_size, f'the run has {size}; use its tokenizer')
    if other is not None and _words(tokenizer) != _words(other):
        remedy = 'and its parameters would read other words; use its text and data settings, or --config.data.tokenizer=library'
        raise UsageError(f'--init_from={init_from!r}: has another tokenizer than this run, {remedy}')


def _words(tokenizer: Tokenizer) -> dict[str, str]:
    return {name: text for name, text in tokenizer.contents().items() if name != CHAT_FILE}


def _say_differences(init_from: str, theirs: Any, ours: Any, say: Any) -> None:
    from lmjax.interop.formats import canonical
    from lmjax.models.config import TransformerConfig

    if isinstance(theirs, TransformerConfig) and isinstance(ours, TransformerConfig):
        was, now = canonical(theirs), canonical(ours)
        found = {field: (was[field], now[field]) for field in was if was[field] != now[field]}
    else:
        found = differences(theirs, ours)
    told = {
        field: pair for field, pair in found.items() if field not in ('context', 'max_length', 'dropout', 'init', 'init_scale')
    }
    for field, (was, now) in list(told.items())[:SHROWS]:
        say(f'note: model.{field}={now!r} here and {was!r} in {init_from}')
