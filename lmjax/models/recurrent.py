"""Recurrent language models: embedding or one-hot input, stacked cells, head.

All layers run time first, which is how the scan over time reads and writes; hidden states leave batch first.
"""

from __future__ import annotations

import dataclasses
import zlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lmjax.config import choose, require
from lmjax.models.config import RecurrentConfig
from lmjax.models.params import DTYPES, apply_params, axes_of, init_params, scale_matrices
from lmjax.models.recurrent_layers import INITIAL_STATES, RECURRENT_INITS, Embedding, Head, Layer
from lmjax.models.stack import REMATS
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.losses import token_scores
from lmjax.ops.prefixes import with_prefix
from lmjax.ops.recurrences import CELLS
from lmjax.types import Inputs, Model, Output, Traits

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree


def validate(config: RecurrentConfig) -> None:
    """Raises UsageError for a config that cannot be built."""
    c = config
    for table, field in _TABLES:
        choose(table, getattr(c, field), f'model.{field}')
    for field in ('hidden', 'depth'):
        require(getattr(c, field) >= 1, f'model.{field}', getattr(c, field), 'must be at least 1')
    require(c.embedding >= 0, 'model.embedding', c.embedding, 'must not be negative; 0 is one-hot input')
    remedy = 'is added to an embedding, which there is none of; set model.embedding above 0'
    require(c.embedding > 0 or not c.token_types, 'model.token_types', c.token_types, remedy)
    remedy = f'must be model.hidden={c.hidden} where model.tied=True; or set model.tied=False'
    require(not c.tied or c.embedding == c.hidden, 'model.embedding', c.embedding, remedy)
    remedy = f"must be 0 with model.cell={c.cell!r}; only 'lstm' has a forget gate"
    require(not c.forget_bias or c.cell == 'lstm', 'model.forget_bias', c.forget_bias, remedy)
    require(0.0 <= c.dropout < 1.0, 'model.dropout', c.dropout, 'must be in [0, 1)')


_TABLES: tuple[tuple[dict, str], ...] = (
    (CELLS, 'cell'),
    (INITIAL_STATES, 'initial_state'),
    (RECURRENT_INITS, 'init'),
    (REMATS, 'remat'),
    (DTYPES, 'dtype'),
)


def build(config: RecurrentConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The recurrent network of a config. Raises UsageError for a config that cannot be built; touches no device."""
    validate(config)
    config = dataclasses.replace(config)  # later changes of the caller's do not reach a network that is built
    parts = _parts(config, vocab_size)
    axes: Tree = {'layers': {}}
    for name, (module, example) in parts.items():
        _put(axes, name, axes_of(module, *example))

    def init(key: jax.Array, hparams: HParams) -> Tree:
        params: Tree = {'layers': {}}
        for name, (module, example) in parts.items():
            _put(params, name, init_params(module, jax.random.fold_in(key, zlib.crc32(name.encode())), *example))
        return scale_matrices(params, axes, hparams.get('init_scale', config.init_scale))

    def score(params: Tree, hidden_BxTxD: Any, ids_BxT: Any = None) -> Any:
        return _score(parts['head'][0], params, hidden_BxTxD, ids_BxT, vocab_size)

    return Model(
        init=init,
        apply=partial(_apply, config, {name: module for name, (module, _) in parts.items()}),
        score=score,
        init_cache=partial(_init_cache, config),
        axes=axes,
        cache_axes=dict.fromkeys(CELLS[config.cell].carries, ('batch', 'layers', 'hidden')) | {'segment': ('batch',)},
        traits=Traits(recurrent=True, prefixed=config.embedding > 0),
        vocab_size=vocab_size,
    )


def _parts(config: RecurrentConfig, vocab_size: int) -> dict[str, tuple[nn.Module, tuple]]:
    """The modules of a network, each with an example of what it is applied to, from which its parameters are made."""
    c, dtype = config, DTYPES[config.dtype]
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    parts: dict[str, tuple[nn.Module, tuple]] = {}
    if c.embedding:
        parts['embedding'] = Embedding(c, vocab_size), (ids,)
        parts['layers/0'] = Layer(c, c.embedding, 'embed'), (jax.ShapeDtypeStruct((1, 1, c.embedding), dtype),)
    else:
        parts['layers/0'] = Layer(c, vocab_size, 'vocab', one_hot=True), (ids,)
    for i in range(1, c.depth):
        parts[f'layers/{i}'] = Layer(c, c.hidden, 'hidden'), (jax.ShapeDtypeStruct((1, 1, c.hidden), dtype),)
    row = jax.ShapeDtypeStruct((1, c.hidden), dtype)
    table = (jax.ShapeDtypeStruct((vocab_size, c.hidden), jnp.float32),) if c.tied else ()
    parts['head'] = Head(c, vocab_size), (row, *table)
    return parts


def _put(tree: Tree, name: str, part: Tree) -> None:
    """Places the parameters of `layers/0` at tree['layers']['0']; a part without any leaves no trace."""
    *folders, last = name.split('/')
    for folder in folders:
        tree = tree[folder]
    if part:
        tree[last] = part


def _apply(
    config: RecurrentConfig,
    modules: dict[str, nn.Module],
    params: Tree,
    inputs: Inputs,
    cache: Tree = None,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
) -> Output:
    """Hidden states of the last layer, and the state after these tokens where there was one before them."""
    rate = hparams.get('dropout')
    keys_B = None if rate is None else key

    def drop(x_TxBxD: Any, name: str) -> Any:
        if keys_B is None:
            return x_TxBxD
        return jnp.swapaxes(dropout(jnp.swapaxes(x_TxBxD, 0, 1), fold_name(keys_B, name), rate), 0, 1)

    restart_TxB, segment_B = _restarts(inputs, cache)
    x = inputs.ids.T
    if config.embedding:
        types = None if inputs.types is None else inputs.types.T
        x = apply_params(modules['embedding'], params['embedding'], x, types, scope='embedding')
        if inputs.prefix is not None:
            x = jnp.swapaxes(with_prefix(jnp.swapaxes(x, 0, 1), inputs.prefix, inputs.segments), 0, 1)
        if inputs.shift is not None:
            x = x + jnp.swapaxes(inputs.shift, 0, 1).astype(x.dtype)
        x = drop(x, 'embedding')
    states = []
    for i in range(config.depth):
        run = choose(REMATS, config.remat, 'model.remat')(
            partial(apply_params, modules[f'layers/{i}'], scope=f'layers/{i}'), False
        )
        state = cache and tuple(cache[name][:, i] for name in CELLS[config.cell].carries)
        x, state = run(params['layers'][str(i)], x, state, restart_TxB)
        x = drop(x, f'layer_{i}')
        states.append(state)
    hidden_BxTxD = jnp.swapaxes(x, 0, 1)
    if cache is None:
        return Output(hidden_BxTxD)
    stacked = [jnp.stack(each, axis=1) for each in zip(*states, strict=True)]
    return Output(hidden_BxTxD, dict(zip(CELLS[config.cell].carries, stacked, strict=True)) | {'segment': segment_B})


def _restarts(inputs: Inputs, cache: Tree) -> tuple[Any, Any]:
    """Where each row starts again (None: nowhere), and the segment that it ends in.

    A row restarts wherever its segment changes, also from what the cache saw last; without segments it never does.
    """
    if inputs.segments is None:
        return None, jnp.ones(inputs.ids.shape[:1], jnp.int32)
    segments_TxB = jnp.asarray(inputs.segments, jnp.int32).T
    first_B = segments_TxB[0] if cache is None else cache['segment']
    before_TxB = jnp.concatenate([first_B[None], segments_TxB[:-1]])
    return segments_TxB != before_TxB, segments_TxB[-1]


def _init_cache(config: RecurrentConfig, params: Tree, batch: int, length: int, source: Any = None) -> Tree:
    """The initial state of `batch` rows; its size does not depend on `length`. Segment 0: nothing seen yet."""

    def rows(name: str, i: int) -> Any:
        start = params['layers'][str(i)].get(f'initial_{name}', jnp.zeros(config.hidden))
        return jnp.broadcast_to(start, (batch, config.hidden))

    cache = {n: jnp.stack([rows(n, i) for i in range(config.depth)], axis=1) for n in CELLS[config.cell].carries}
    return cache | {'segment': jnp.zeros((batch,), jnp.int32)}


def _score(head: nn.Module, params: Tree, hidden_BxTxD: Any, ids_BxT: Any, vocab_size: int) -> Any:
    table = (params['embedding']['tokens'],) if head.config.tied else ()  # type: ignore[attr-defined]

    def logits_of(hidden_CxD: Any) -> Any:
        return apply_params(head, params.get('head', {}), hidden_CxD, *table, scope='head')

    if ids_BxT is not None:
        return token_scores(logits_of, hidden_BxTxD, ids_BxT, vocab_size=vocab_size)
    B, T, D = hidden_BxTxD.shape
    return logits_of(hidden_BxTxD.reshape(B * T, D)).reshape(B, T, vocab_size)
