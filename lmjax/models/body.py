"""A stack of the transformer, encoder or decoder: embedding, blocks, final norm, and the cache that goes with them."""

from __future__ import annotations

import dataclasses
import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lmjax.models.attention import Context, RelativeBias, Source, head_sizes
from lmjax.models.blocks import BLOCKS, drop, norm_of
from lmjax.models.cache import SLOT_AXES, empty_layer, in_order, open_keys, place
from lmjax.models.config import TransformerConfig
from lmjax.models.ends import Embedding
from lmjax.models.params import DTYPES, apply_params, axes_of, init_params
from lmjax.models.stack import init_stack, run_stack, stack_axes, stack_layers
from lmjax.ops.attention import distances
from lmjax.ops.dropout import fold_name
from lmjax.ops.positions import POSITIONS
from lmjax.types import Inputs

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree


class Body(NamedTuple):
    """The modules of a stack, and an example of what each is applied to, from which its parameters are made."""

    config: TransformerConfig
    modules: dict[str, nn.Module]
    examples: dict[str, tuple]


def make_body(config: TransformerConfig, vocab_size: int, max_length: int) -> Body:
    """The stack of a config; `max_length`: positions that a learned table has."""
    row = jax.ShapeDtypeStruct((1, config.width), DTYPES[config.dtype])
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    modules: dict[str, nn.Module] = {
        'embedding': Embedding(config, vocab_size, max_length),
        'block': BLOCKS[config.block](config),
    }
    if config.final_norm:
        modules['final_norm'] = norm_of(config, None)
    if POSITIONS[config.position].bucketed:
        modules['relative'] = RelativeBias(config)
    return Body(
        config,
        modules,
        {'embedding': (ids,), 'block': (row,), 'final_norm': (row,), 'relative': (jax.ShapeDtypeStruct((1, 1, 1), jnp.int32),)},
    )


def encoder_of(config: TransformerConfig) -> TransformerConfig:
    """The encoder that belongs to a decoder: the same in all but its depth and in that all is seen."""
    return dataclasses.replace(config, causal=False, depth=config.encoder_depth, encoder_depth=0)


def body_axes(body: Body) -> Tree:
    """The tree of logical axis names that goes with `init_body`; parts without parameters leave no trace."""
    config = body.config
    axes = {name: axes_of(module, *body.examples[name]) for name, module in body.modules.items()}
    layer_axes = stack_axes(axes.pop('block'), depth=config.depth, scanned=config.scan_layers)
    return {name: tree for name, tree in axes.items() if tree} | {'layers': layer_axes}


def init_body(body: Body, key: jax.Array) -> Tree:
    """Fresh parameters."""
    config = body.config
    keys = {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in body.modules}
    made = {
        name: init_params(module, keys[name], *body.examples[name]) for name, module in body.modules.items() if name != 'block'
    }
    layers = init_stack(
        lambda key: init_params(body.modules['block'], key, *body.examples['block']),
        keys['block'],
        depth=config.depth,
        scanned=config.scan_layers,
    )
    return {name: tree for name, tree in made.items() if tree} | {'layers': layers}


def run_body(
    body: Body,
    params: Tree,
    inputs: Inputs,
    cache: Tree = None,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
    source: Source | None = None,
) -> tuple[Any, Tree]:
    """Hidden states after the final norm, B x T x D, and what the cache holds of these tokens after them."""
    config, modules = body.config, body.modules
    slots = cache and {name: cache[name] for name in SLOT_AXES}
    positions, sight, slots_after = place(inputs, slots)
    sight = sight._replace(open=open_keys(inputs, slots) if config.causal else True)
    rate = hparams.get('dropout')
    B, T = inputs.ids.shape
    keys = None if rate is None else key
    context = Context(B, in_order(positions, T), sight, keys, rate, slots and slots['filled'], source=source)
    if 'relative' in modules:
        apart = distances(sight, T, slots['segments'].shape[1] if slots else T)
        context = context._replace(bias=apply_params(modules['relative'], params['relative'], apart, scope='relative'))
    tokens = (inputs.ids, positions, inputs.types, inputs.prefix, inputs.segments, inputs.shift)
    x_BxTxD = apply_params(modules['embedding'], params['embedding'], *tokens, scope='embedding')
    x_CxD = drop(x_BxTxD.reshape(B * T, -1), context, 'embedding')

    def layer(layer_params: Tree, x_CxD: Any, layer_cache: Tree, source: Tree, index: Any) -> tuple[Any, Tree]:
        keys = context.keys if context.keys is None else fold_name(context.keys, index)
        own = context._replace(keys=keys, window=window_of(config, index))
        scope = f'layers/{index}' if isinstance(index, int) else 'layers'
        return apply_params(modules['block'], layer_params, x_CxD, own, layer_cache, source, scope=scope)

    x_CxD, layer_caches = run_stack(
        layer,
        params['layers'],
        x_CxD,
        cache and cache['layers'],
        source and source.layers,
        depth=config.depth,
        scanned=config.scan_layers,
        remat=config.remat,
    )
    if config.final_norm:
        x_CxD = apply_params(modules['final_norm'], params.get('final_norm', {}), x_CxD, scope='final_norm')
    return x_CxD.reshape(B, T, -1), slots_after and slots_after | {'layers': layer_caches}


def window_of(config: TransformerConfig, index: Any) -> Any:
    """The attention window of layer `index`, which may be traced; 0 or more tokens than there are: none."""
    every = config.global_every
    if not every:
        return config.window
    if isinstance(index, int):
        return 0 if index % every == every - 1 else config.window
    return jnp.where(index % every == every - 1, jnp.int32(2**30), config.window)


def empty_layers(config: TransformerConfig, batch: int, length: int) -> Tree:
    """The caches of all layers, with room for `length` tokens."""
    _, kv_heads, head_width = head_sizes(config)
    layer = empty_layer(batch, length, kv_heads=kv_heads, head_width=head_width, dtype=DTYPES[config.dtype])
    return stack_layers([layer] * config.depth) if config.scan_layers else {str(i): layer for i in range(config.depth)}
