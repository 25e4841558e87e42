"""The key/value cache: what each slot holds, and what the next tokens see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lmjax.ops.attention import Sight

if TYPE_CHECKING:
    from lmjax.types import Inputs, Tree

# Heads before time, as attention's products read it: XLA on CPU would transpose the whole cache at each token.
LAYER_AXES = dict.fromkeys(('k', 'v'), ('batch', 'kv_heads', 'time', 'head_width'))
SLOT_AXES = {'segments': ('batch', 'time'), 'positions': ('batch', 'time'), 'filled': ()}


def empty_layer(batch: int, length: int, *, kv_heads: int, head_width: int, dtype: Any) -> Tree:
    """Keys and values of one layer, B x G x S x K."""
    return {name: jnp.zeros((batch, kv_heads, length, head_width), dtype) for name in LAYER_AXES}


def write(layer: Tree, k_BxTxGxK: Any, v_BxTxGxK: Any, at: Any) -> tuple[Any, Any, Tree]:
    """Keys and values of all slots, B x S x G x K, once those of T tokens stand from slot `at` on; and the layer's cache."""
    new = {'k': k_BxTxGxK, 'v': v_BxTxGxK}
    layer = {
        name: jax.lax.dynamic_update_slice_in_dim(layer[name], jnp.swapaxes(new[name], 1, 2), at, axis=2) for name in LAYER_AXES
    }
    return jnp.swapaxes(layer['k'], 1, 2), jnp.swapaxes(layer['v'], 1, 2), layer


def empty_slots(batch: int, length: int) -> Tree:
    """Segment (0: empty or padding) and position of each slot, and how many slots are used (the same in all rows)."""
    slots = {name: jnp.zeros((batch, length), jnp.int32) for name in ('segments', 'positions')}
    return slots | {'filled': jnp.zeros((), jnp.int32)}


def place(inputs: Inputs, slots: Tree | None) -> tuple[Any, Sight, Tree | None]:
    """Positions of the tokens (None: 0 .. T-1), what they see, and the slots after they are written.

    Slots must have room for them: JAX clamps a write past the end and would overwrite the last ones.
    """
    B, T = inputs.ids.shape
    if slots is None:
        return _place_alone(inputs)
    segments_BxT = jnp.ones((B, T), jnp.int32) if inputs.segments is None else inputs.segments
    start = slots['filled']
    segments_BxS = jax.lax.dynamic_update_slice_in_dim(slots['segments'], segments_BxT, start, axis=1)
    positions_BxT = inputs.positions
    if positions_BxT is None:
        positions_BxT = count_before(segments_BxT, segments_BxS, start)
    positions_BxS = jax.lax.dynamic_update_slice_in_dim(slots['positions'], positions_BxT, start, axis=1)
    sight = Sight(start, positions_BxT, positions_BxS, segments_BxT, segments_BxS)
    return positions_BxT, sight, {'segments': segments_BxS, 'positions': positions_BxS, 'filled': start + T}


def _place_alone(inputs: Inputs) -> tuple[Any, Sight, None]:
    """The same where nothing came before: a token sees its own call only."""
    positions, segments = inputs.positions, inputs.segments
    if positions is None and segments is None:
        return None, Sight(), None
    if positions is None:
        positions = count_before(segments, segments, 0)
    return positions, Sight(0, positions, positions, segments, segments), None


def open_keys(inputs: Inputs, slots: Tree | None) -> Any:
    """Which slots earlier tokens see too, B x S bool: open tokens of this call; False where none is."""
    if inputs.open is None or slots is None:
        return False if inputs.open is None else inputs.open
    none_BxS = jnp.zeros(slots['segments'].shape, bool)
    return jax.lax.dynamic_update_slice_in_dim(none_BxS, inputs.open, slots['filled'], axis=1)


def in_order(positions: Any, length: int) -> Any:
    """The positions, or 0 .. length-1 where they are None; (1 or B) x T."""
    return jnp.arange(length)[None] if positions is None else positions


def count_before(segments_BxT: Any, segments_BxS: Any, first_slot: Any) -> Any:
    """How many earlier slots are of the token's own segment: its position within its document; 0 for padding."""
    slots_T = first_slot + jnp.arange(segments_BxT.shape[1])
    earlier_1xTxS = slots_T[None, :, None] > jnp.arange(segments_BxS.shape[1])[None, None]
    same_BxTxS = (segments_BxT[:, :, None] == segments_BxS[:, None]) & (segments_BxS[:, None] != 0)
    return (earlier_1xTxS & same_BxTxS).sum(-1, dtype=jnp.int32)
