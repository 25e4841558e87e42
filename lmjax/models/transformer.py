"""The transformer as a Model: a decoder, an encoder or both, with a head; a pooler beside it."""

from __future__ import annotations

import dataclasses
import zlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lmjax.models.body import Body, body_axes, empty_layers, encoder_of, init_body, make_body, run_body
from lmjax.models.cache import LAYER_AXES, SLOT_AXES, empty_slots
from lmjax.models.config import TransformerConfig
from lmjax.models.ends import Classifier, Head, Pooler
from lmjax.models.params import DTYPES, apply_params, axes_of, init_params, scale_matrices
from lmjax.models.source import KEY_AXES, MASK_AXES, keep_source, kept_source, read_source
from lmjax.models.stack import stack_axes
from lmjax.models.validate import longest, validate
from lmjax.ops.losses import token_scores
from lmjax.types import Inputs, Model, Output, Traits

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree


def build(config: TransformerConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The transformer of a config. Raises UsageError for a config that cannot be built; touches no device."""
    validate(config, seq_len)
    config = dataclasses.replace(config)  # later changes of the caller's do not reach a network that is built
    sizes = (vocab_size, config.max_length or longest(config, seq_len))
    body = make_body(config, *sizes)
    encoder = make_body(encoder_of(config), *sizes) if config.encoder_depth else None
    ends, examples = _ends(config, vocab_size)
    end_axes = {name: axes_of(module, *examples[name]) for name, module in ends.items()}
    axes = body_axes(body) | {name: tree for name, tree in end_axes.items() if tree}
    if encoder:
        axes['encoder'] = _own(body_axes(encoder))

    def init(key: jax.Array, hparams: HParams) -> Tree:
        keys = {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in (*ends, 'encoder')}
        params = init_body(body, key)
        params |= {name: init_params(ends[name], keys[name], *examples[name]) for name in ends if name in axes}
        if encoder:
            params['encoder'] = _own(init_body(encoder, keys['encoder']))
        return scale_matrices(params, axes, hparams.get('init_scale', config.init_scale))

    def init_cache(params: Tree, batch: int, length: int, source: Any = None) -> Tree:
        cache = empty_slots(batch, length) | {'layers': empty_layers(config, batch, length)}
        return cache | {'source': keep_source(encoder, body, params, source, batch)} if encoder else cache

    def score(params: Tree, hidden_BxTxD: Any, ids_BxT: Any = None) -> Any:
        return _score(ends['head'], params, hidden_BxTxD, ids_BxT, vocab_size)

    return Model(
        init=init,
        apply=partial(_apply, body, encoder, ends),
        score=score,
        init_cache=init_cache,
        axes=axes,
        cache_axes=_cache_axes(config),
        traits=Traits(
            causal=config.causal,
            cached=config.causal,
            opens=config.causal,
            prefixed=True,
            sourced=bool(config.encoder_depth),
        ),
        vocab_size=vocab_size,
    )


def _ends(config: TransformerConfig, vocab_size: int) -> tuple[dict[str, nn.Module], dict[str, tuple]]:
    """The modules that read the last states, and an example of what each is applied to."""
    row = jax.ShapeDtypeStruct((1, config.width), DTYPES[config.dtype])
    table = jax.ShapeDtypeStruct((vocab_size, config.width), jnp.float32)
    ends: dict[str, nn.Module] = {'head': Head(config, vocab_size)}
    if config.pooler:
        ends['pooler'] = Pooler(config)
    if config.classes:
        ends['classifier'] = Classifier(config)
    return ends, {'head': (row, table), 'pooler': (row,), 'classifier': (row,)}


def _own(encoder: Tree) -> Tree:
    """An encoder's parameters (or axes) without the table of tokens, which is the decoder's."""
    rest = {name: tree for name, tree in encoder['embedding'].items() if name != 'tokens'}
    return {name: tree for name, tree in encoder.items() if name != 'embedding'} | ({'embedding': rest} if rest else {})


def _cache_axes(config: TransformerConfig) -> Tree:
    stacked = partial(stack_axes, depth=config.depth, scanned=config.scan_layers)
    axes = SLOT_AXES | {'layers': stacked(LAYER_AXES)}
    return axes | {'source': {'layers': stacked(KEY_AXES), 'mask': MASK_AXES}} if config.encoder_depth else axes


def _apply(
    body: Body,
    encoder: Body | None,
    ends: dict[str, nn.Module],
    params: Tree,
    inputs: Inputs,
    cache: Tree = None,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
) -> Output:
    """Hidden states after the final norm, the cache after these tokens, and each row's pooled state where there is a pooler."""
    source, length = None, inputs.ids.shape[1]
    if encoder and cache:
        source = kept_source(cache['source'], length)
    elif encoder:
        source = read_source(encoder, params, inputs.source_ids, inputs.source_mask, length, key, hparams)
    x_BxTxD, after = run_body(body, params, inputs, cache, key, hparams, source)
    if encoder and cache:
        after = after | {'source': cache['source']}
    if 'pooler' not in ends:
        return Output(x_BxTxD, after)
    pooled_BxD = apply_params(ends['pooler'], params['pooler'], first_tokens(x_BxTxD, inputs.segments), scope='pooler')
    if 'classifier' not in ends:
        return Output(x_BxTxD, after, pooled=pooled_BxD)
    logits_BxC = apply_params(ends['classifier'], params['classifier'], pooled_BxD, scope='classifier')
    return Output(x_BxTxD, after, pooled=pooled_BxD, row_logits=logits_BxC)


def first_tokens(x_BxTxD: Any, segments_BxT: Any) -> Any:
    """The state of each row's first token that is no padding, B x D."""
    if segments_BxT is None:
        return x_BxTxD[:, 0]
    first_B = jnp.argmax(segments_BxT > 0, axis=1)
    return jnp.take_along_axis(x_BxTxD, first_B[:, None, None], axis=1)[:, 0]


def _score(head: nn.Module, params: Tree, hidden_BxTxD: Any, ids_BxT: Any, vocab_size: int) -> Any:
    def logits_of(hidden_CxD: Any) -> Any:
        return apply_params(head, params.get('head', {}), hidden_CxD, params['embedding']['tokens'], scope='head')

    if ids_BxT is not None:
        return token_scores(logits_of, hidden_BxTxD, ids_BxT, vocab_size=vocab_size)
    B, T, D = hidden_BxTxD.shape
    return logits_of(hidden_BxTxD.reshape(B * T, D)).reshape(B, T, vocab_size)
