"""What an encoder-decoder's decoder gets of the source: the encoder's states, and once for all steps their keys and values."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.config import require
from lmjax.models.attention import Source, SourceKeys
from lmjax.models.body import Body, run_body
from lmjax.models.params import apply_params
from lmjax.ops.attention import Sight
from lmjax.ops.dropout import fold_name
from lmjax.types import Inputs

if TYPE_CHECKING:
    from lmjax.types import HParams, Tree

KEY_AXES = dict.fromkeys(('k', 'v'), ('batch', 'kv_heads', 'source', 'head_width'))
MASK_AXES = ('batch', 'source')


def read_source(
    encoder: Body,
    params: Tree,
    source_ids: Any,
    source_mask: Any,
    length: int,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
) -> Source:
    """The encoder's states, for a decoder of `length` tokens a row. Source and target share the table of tokens."""
    require(source_ids is not None, 'source_ids', None, 'this network reads a source beside its tokens; give both')
    own = params['encoder']
    own = {**own, 'embedding': {**own.get('embedding', {}), 'tokens': params['embedding']['tokens']}}
    inputs = Inputs(source_ids, segments=None if source_mask is None else source_mask.astype(jnp.int32))
    with jax.named_scope('encoder'):
        keys = None if key is None else fold_name(key, 'source')
        states_BxSxD, _ = run_body(encoder, own, inputs, key=keys, hparams=hparams)
    B, S, D = states_BxSxD.shape
    return Source(states_BxSxD.reshape(B * S, D), sight=sight_of(source_mask, length))


def sight_of(source_mask: Any, length: int) -> Sight:
    """Every token sees all of its source but the padding."""
    if source_mask is None:
        return Sight(open=True)
    ones_BxT = jnp.ones((source_mask.shape[0], length), jnp.int32)
    return Sight(open=True, query_segments=ones_BxT, key_segments=source_mask.astype(jnp.int32))


def keep_source(encoder: Body, decoder: Body, params: Tree, source: Any, batch: int) -> Tree:
    """What a cache holds of a pair (source_ids, source_mask): each layer's keys and values of it, and the mask."""
    source_ids: Any
    source_ids, source_mask = source or (None, None)
    require(source_ids is not None, 'source', None, 'a cache of this network is made for a source; give its ids and mask')
    states_CxD = read_source(encoder, params, source_ids, source_mask, 1).states
    module = SourceKeys(decoder.config)

    def keys_of(layer: Tree) -> Tree:
        return apply_params(module, layer['cross_keys'], states_CxD, batch)

    layers = params['layers']
    scanned = decoder.config.scan_layers
    kept = jax.lax.map(keys_of, layers) if scanned else {name: keys_of(layer) for name, layer in layers.items()}
    mask_BxS = jnp.ones(source_ids.shape, bool) if source_mask is None else source_mask
    return {'layers': kept, 'mask': mask_BxS}


def kept_source(kept: Tree, length: int) -> Source:
    """The inverse of `keep_source`, for `length` tokens."""
    return Source(layers=kept['layers'], sight=sight_of(kept['mask'], length))
