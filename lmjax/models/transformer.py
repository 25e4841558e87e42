"""The transformer, a decoder or an encoder: embedding, blocks, final norm, head; a pooler beside them."""

from __future__ import annotations

import dataclasses
import math
import zlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lmjax.config import choose, require
from lmjax.models.blocks import BLOCKS, NORM_PLACES, RESIDUALS, Context, drop, head_sizes, norm_of, rotated_width
from lmjax.models.cache import LAYER_AXES, SLOT_AXES, empty_layer, empty_slots, in_order, open_keys, place
from lmjax.models.config import TransformerConfig
from lmjax.models.ends import Classifier, Embedding, Head, Pooler
from lmjax.models.feed_forward import FEED_FORWARDS
from lmjax.models.initial import INITS
from lmjax.models.params import DTYPES, apply_params, axes_of, init_params, scale_matrices
from lmjax.models.stack import REMATS, init_stack, run_stack, stack_axes, stack_layers
from lmjax.ops.activations import ACTIVATIONS
from lmjax.ops.attention import ATTENTIONS
from lmjax.ops.dropout import fold_name
from lmjax.ops.losses import token_scores
from lmjax.ops.norms import NORMS
from lmjax.ops.positions import POSITIONS, ROTARY_SCALINGS
from lmjax.types import Inputs, Model, Output, Traits

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree


def validate(config: TransformerConfig, seq_len: int) -> None:
    """Raises UsageError for a config that cannot be built."""
    c = config
    for table, field in _TABLES:
        choose(table, getattr(c, field), f'model.{field}')
    for field in ('width', 'depth', 'heads'):
        require(getattr(c, field) >= 1, f'model.{field}', getattr(c, field), 'must be at least 1')
    for field in _NOT_NEGATIVE:
        require(getattr(c, field) >= 0, f'model.{field}', getattr(c, field), 'must not be negative; 0 turns it off')
    remedy = f'must divide by model.heads={c.heads}; try model.heads={math.gcd(c.width, c.heads)} or set model.head_width'
    require(bool(c.head_width) or c.width % c.heads == 0, 'model.width', c.width, remedy)
    remedy = f'must divide model.heads={c.heads}; try {math.gcd(c.heads, c.kv_heads)}'
    require(not c.kv_heads or c.heads % c.kv_heads == 0, 'model.kv_heads', c.kv_heads, remedy)
    _, _, head_width = head_sizes(c)
    if POSITIONS[c.position].rotated:
        _validate_rotary(c, head_width)
    is_plain = c.residual == 'add' and not NORM_PLACES[c.norm_place].after
    remedy = "needs model.residual='add' and model.norm_place='pre' or 'both': there is one sum, which no norm follows"
    require(c.block != 'parallel' or is_plain, 'model.block', c.block, remedy)
    require(not c.classes or c.pooler, 'model.classes', c.classes, 'are told from the pooled state; set model.pooler=true')
    remedy = 'says which layers have no window; set model.window'
    require(not c.global_every or bool(c.window), 'model.global_every', c.global_every, remedy)
    remedy = f'must be at least data.seq_len={seq_len}, or 0 to follow it'
    require(not c.max_length or c.max_length >= seq_len, 'model.max_length', c.max_length, remedy)
    require(0.0 <= c.dropout < 1.0, 'model.dropout', c.dropout, 'must be in [0, 1)')


def _validate_rotary(config: TransformerConfig, head_width: int) -> None:
    c = config
    fraction, rotated = c.rotary_fraction, rotated_width(c, head_width)
    require(0 < fraction <= 1, 'model.rotary_fraction', fraction, 'must be above 0 and at most 1')
    remedy = f"must be even with model.position='rotary'; try {head_width + 1}"
    require(fraction < 1 or head_width % 2 == 0, 'model.head_width', head_width, remedy)
    remedy = f'must rotate an even number of the {head_width} channels of a head, and at least 2; this is {rotated}'
    require(rotated % 2 == 0 and rotated >= 2, 'model.rotary_fraction', fraction, remedy)
    require(c.rotary_factor >= 1, 'model.rotary_factor', c.rotary_factor, 'must be at least 1')
    remedy = f'must be below model.rotary_high={c.rotary_high}'
    require(0 < c.rotary_low < c.rotary_high, 'model.rotary_low', c.rotary_low, remedy)
    require(c.rotary_original >= 1, 'model.rotary_original', c.rotary_original, 'must be at least 1')


_NOT_NEGATIVE = (
    *('kv_heads', 'head_width', 'ff_width', 'max_length', 'unused_positions', 'token_types', 'context', 'window'),
    *('global_every', 'logit_cap', 'final_logit_cap', 'attention_scale', 'classes'),
)
_TABLES = (
    (BLOCKS, 'block'),
    (ROTARY_SCALINGS, 'rotary_scaling'),
    (POSITIONS, 'position'),
    (NORMS, 'norm'),
    (NORM_PLACES, 'norm_place'),
    (RESIDUALS, 'residual'),
    (FEED_FORWARDS, 'feed_forward'),
    ({'none': None, **ACTIVATIONS}, 'head_transform'),
    (INITS, 'init'),
    (ATTENTIONS, 'attention'),
    (REMATS, 'remat'),
    (DTYPES, 'dtype'),
)


def build(config: TransformerConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The transformer of a config. Raises UsageError for a config that cannot be built; touches no device."""
    validate(config, seq_len)
    config = dataclasses.replace(config)  # later changes of the caller's do not reach a network that is built
    modules, specs = _parts(config, vocab_size, config.max_length or seq_len)
    axes = {name: axes_of(module, *specs[name]) for name, module in modules.items()}
    layer_axes = stack_axes(axes.pop('block'), depth=config.depth, scanned=config.scan_layers)
    axes = {name: tree for name, tree in axes.items() if tree} | {'layers': layer_axes}

    def init(key: jax.Array, hparams: HParams) -> Tree:
        keys = {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in modules}
        params = {name: init_params(modules[name], keys[name], *specs[name]) for name in axes if name != 'layers'}
        params['layers'] = init_stack(
            lambda key: init_params(modules['block'], key, *specs['block']),
            keys['block'],
            depth=config.depth,
            scanned=config.scan_layers,
        )
        return scale_matrices(params, axes, hparams.get('init_scale', config.init_scale))

    def init_cache(params: Tree, batch: int, length: int, source: Any = None) -> Tree:
        return _init_cache(config, batch, length)

    def score(params: Tree, hidden_BxTxD: Any, ids_BxT: Any = None) -> Any:
        return _score(modules['head'], params, hidden_BxTxD, ids_BxT, vocab_size)

    return Model(
        init=init,
        apply=partial(_apply, config, modules),
        score=score,
        init_cache=init_cache,
        axes=axes,
        cache_axes=SLOT_AXES | {'layers': stack_axes(LAYER_AXES, depth=config.depth, scanned=config.scan_layers)},
        traits=Traits(causal=config.causal, cached=config.causal, opens=config.causal),
        vocab_size=vocab_size,
    )


def _parts(config: TransformerConfig, vocab_size: int, max_length: int) -> tuple[dict[str, nn.Module], dict[str, tuple]]:
    """The modules of a network, and an example of what each is applied to, from which its parameters are made."""
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    row = jax.ShapeDtypeStruct((1, config.width), DTYPES[config.dtype])
    table = jax.ShapeDtypeStruct((vocab_size, config.width), jnp.float32)
    modules: dict[str, nn.Module] = {
        'embedding': Embedding(config, vocab_size, max_length),
        'block': BLOCKS[config.block](config),
    }
    if config.final_norm:
        modules['final_norm'] = norm_of(config, None)
    modules['head'] = Head(config, vocab_size)
    if config.pooler:
        modules['pooler'] = Pooler(config)
    if config.classes:
        modules['classifier'] = Classifier(config)
    on_rows = dict.fromkeys(('block', 'final_norm', 'pooler', 'classifier'), (row,))
    return modules, {'embedding': (ids,), 'head': (row, table), **on_rows}


def _apply(
    config: TransformerConfig,
    modules: dict[str, nn.Module],
    params: Tree,
    inputs: Inputs,
    cache: Tree = None,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
) -> Output:
    """Hidden states after the final norm, the cache after these tokens, and each row's pooled state where there is a pooler."""
    slots = cache and {name: cache[name] for name in SLOT_AXES}
    positions, sight, slots_after = place(inputs, slots)
    sight = sight._replace(open=open_keys(inputs, slots) if config.causal else True)
    rate = hparams.get('dropout')
    B, T = inputs.ids.shape
    context = Context(B, in_order(positions, T), sight, None if rate is None else key, rate, slots and slots['filled'])
    tokens = (inputs.ids, positions, inputs.types)
    x_BxTxD = apply_params(modules['embedding'], params['embedding'], *tokens, scope='embedding')
    x_CxD = drop(x_BxTxD.reshape(B * T, -1), context, 'embedding')

    def layer(layer_params: Tree, x_CxD: Any, layer_cache: Tree, index: Any) -> tuple[Any, Tree]:
        keys = context.keys if context.keys is None else fold_name(context.keys, index)
        own = context._replace(keys=keys, window=window_of(config, index))
        scope = f'layers/{index}' if isinstance(index, int) else 'layers'
        return apply_params(modules['block'], layer_params, x_CxD, own, layer_cache, scope=scope)

    x_CxD, layer_caches = run_stack(
        layer,
        params['layers'],
        x_CxD,
        cache and cache['layers'],
        depth=config.depth,
        scanned=config.scan_layers,
        remat=config.remat,
    )
    if config.final_norm:
        x_CxD = apply_params(modules['final_norm'], params.get('final_norm', {}), x_CxD, scope='final_norm')
    x_BxTxD, after = x_CxD.reshape(B, T, -1), slots_after and slots_after | {'layers': layer_caches}
    if not config.pooler:
        return Output(x_BxTxD, after)
    pooled_BxD = apply_params(modules['pooler'], params['pooler'], first_tokens(x_BxTxD, inputs.segments), scope='pooler')
    if not config.classes:
        return Output(x_BxTxD, after, pooled=pooled_BxD)
    logits_BxC = apply_params(modules['classifier'], params['classifier'], pooled_BxD, scope='classifier')
    return Output(x_BxTxD, after, pooled=pooled_BxD, row_logits=logits_BxC)


def first_tokens(x_BxTxD: Any, segments_BxT: Any) -> Any:
    """The state of each row's first token that is no padding, B x D."""
    if segments_BxT is None:
        return x_BxTxD[:, 0]
    first_B = jnp.argmax(segments_BxT > 0, axis=1)
    return jnp.take_along_axis(x_BxTxD, first_B[:, None, None], axis=1)[:, 0]


def window_of(config: TransformerConfig, index: Any) -> Any:
    """The attention window of layer `index`, which may be traced; 0 or more tokens than there are: none."""
    every = config.global_every
    if not every:
        return config.window
    if isinstance(index, int):
        return 0 if index % every == every - 1 else config.window
    return jnp.where(index % every == every - 1, jnp.int32(2**30), config.window)


def _init_cache(config: TransformerConfig, batch: int, length: int) -> Tree:
    _, kv_heads, head_width = head_sizes(config)
    layer = empty_layer(batch, length, kv_heads=kv_heads, head_width=head_width, dtype=DTYPES[config.dtype])
    layers = stack_layers([layer] * config.depth) if config.scan_layers else {str(i): layer for i in range(config.depth)}
    return empty_slots(batch, length) | {'layers': layers}


def _score(head: nn.Module, params: Tree, hidden_BxTxD: Any, ids_BxT: Any, vocab_size: int) -> Any:
    def logits_of(hidden_CxD: Any) -> Any:
        return apply_params(head, params.get('head', {}), hidden_CxD, params['embedding']['tokens'], scope='head')

    if ids_BxT is not None:
        return token_scores(logits_of, hidden_BxTxD, ids_BxT, vocab_size=vocab_size)
    B, T, D = hidden_BxTxD.shape
    return logits_of(hidden_BxTxD.reshape(B * T, D)).reshape(B, T, vocab_size)
