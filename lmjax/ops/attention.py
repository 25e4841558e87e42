"""Attention: several ways to compute softmax(q k^T * scale + bias) v, all equal to the literal one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import choose
from lmjax.ops.attention_blocked import blocked_attention
from lmjax.ops.dropout import dropout

if TYPE_CHECKING:
    from lmjax.types import Array

HIDDEN = -1e30  # the logit of what may not be seen; finite, so that a query which sees nothing gives no NaN


class Sight(NamedTuple):
    """Which keys a query sees: those not later or open, of its own non-zero segment, and within the window.

    Keys stand in slots 0..S-1 and query t in slot `first_slot` + t. `None` means the plain case, which costs less:
    positions are the slots, and all segments are 1.
    """

    first_slot: Any = 0
    query_positions: Any = None  # B x T
    key_positions: Any = None  # B x S
    query_segments: Any = None  # B x T
    key_segments: Any = None  # B x S
    open: Any = False  # keys that earlier queries see too: none, all (True), or where B x S is true


class Score(NamedTuple):
    """What is done to the logits, and to the weights after the softmax."""

    scale: float
    window: Any = 0  # in tokens on each side, the query itself counted; 0: no limit; may be traced
    cap: float = 0.0  # cap * tanh(logit / cap); 0: none
    slopes: np.ndarray | None = None  # H; times the distance in positions, off the logits
    bias: Any = None  # (1 or B) x H x T x S, added to the logits; None: none
    dropout_keys: Any = None  # B typed keys; None: no dropout
    dropout_rate: Any = None


def distances(sight: Sight, queries: int, keys: int) -> Any:
    """Position of the query less that of the key, (1 or B) x T x S int32; negative for later keys."""
    query, key = sight.query_positions, sight.key_positions
    if query is None or key is None:
        query, key = sight.first_slot + jnp.arange(queries)[None], jnp.arange(keys)[None]
    return query[:, :, None] - key[:, None, :]


def visible(sight: Sight, queries: int, keys: int, window: Any = 0) -> Any:
    """The mask that Sight describes, (1 or B) x T x S bool."""
    slots_T = sight.first_slot + jnp.arange(queries)
    seen = slots_T[None, :, None] >= jnp.arange(keys)[None, None]
    if sight.open is not False:
        seen = seen | (True if sight.open is True else sight.open[:, None])
    if sight.query_segments is not None:
        query, key = sight.query_segments[:, :, None], sight.key_segments[:, None, :]
        seen = seen & (query == key) & (key != 0)
    if not _is_zero(window):
        seen = seen & (jnp.abs(distances(sight, queries, keys)) < window)
    return seen


def _is_zero(window: Any) -> bool:
    return isinstance(window, int) and window == 0


def literal(q_BxTxHxK: Array, k_BxSxGxK: Array, v_BxSxGxV: Array, *, sight: Sight, score: Score) -> Any:
    """softmax(q k^T * scale) v with every logit held at once (Vaswani et al. 2017, eq. 1); B x T x H x V.

    Query head h reads key/value head h // (H / G).
    """
    B, T, H, K = q_BxTxHxK.shape
    S, G = k_BxSxGxK.shape[1:3]
    # M: the queries of a group's heads. Plain batches of matrices, left times right: XLA on CPU reads a cache as it lies.
    q_BxGxMxK = jnp.swapaxes(q_BxTxHxK, 1, 2).reshape(B, G, H // G * T, K)
    k_BxGxSxK, v_BxGxSxV = jnp.swapaxes(k_BxSxGxK, 1, 2), jnp.swapaxes(v_BxSxGxV, 1, 2)
    logits = jnp.einsum('bgmk,bgsk->bgms', q_BxGxMxK, k_BxGxSxK, preferred_element_type=jnp.float32) * score.scale
    logits_BxHxTxS = _shape_logits(logits.reshape(B, H, T, S), sight, score)
    weights_BxHxTxS = jax.nn.softmax(logits_BxHxTxS, axis=-1).astype(v_BxSxGxV.dtype)
    if score.dropout_keys is not None:
        weights_BxHxTxS = dropout(weights_BxHxTxS, score.dropout_keys, score.dropout_rate)
    weights_BxGxMxS = weights_BxHxTxS.reshape(B, G, H // G * T, S)
    heads_BxGxMxV = jnp.einsum('bgms,bgsv->bgmv', weights_BxGxMxS, v_BxGxSxV)
    return jnp.swapaxes(heads_BxGxMxV.reshape(B, H, T, -1), 1, 2)


def _shape_logits(logits_BxHxTxS: Array, sight: Sight, score: Score) -> Any:
    T, S = logits_BxHxTxS.shape[2:]
    if score.cap:
        logits_BxHxTxS = score.cap * jnp.tanh(logits_BxHxTxS / score.cap)
    if score.slopes is not None:
        slopes = jnp.asarray(score.slopes)[None, :, None, None]
        logits_BxHxTxS = logits_BxHxTxS - slopes * jnp.abs(distances(sight, T, S))[:, None].astype(jnp.float32)
    if score.bias is not None:
        logits_BxHxTxS = logits_BxHxTxS + score.bias
    return jnp.where(visible(sight, T, S, score.window)[:, None], logits_BxHxTxS, HIDDEN)


def blocked(q_BxTxHxK: Array, k_BxSxGxK: Array, v_BxSxGxV: Array, *, sight: Sight, score: Score) -> Any:
    """By blocks of queries over whole windows; the literal path does what it does not know (segments, a cache, later keys)."""
    known = plain(sight, score) and not sight.open and not score.cap
    if not known or any(part is not None for part in (score.slopes, score.bias, score.dropout_keys)):
        return literal(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, sight=sight, score=score)
    return blocked_attention(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, scale=score.scale, window=score.window)


def cudnn(q_BxTxHxK: Array, k_BxSxGxK: Array, v_BxSxGxV: Array, *, sight: Sight, score: Score) -> Any:
    """cuDNN's fused kernel where it can be used; otherwise the literal path, with a warning that says why."""
    why = cudnn_refusal(q_BxTxHxK, v_BxSxGxV, sight, score)
    if why:
        warnings.warn(f"model.attention='cudnn': {why}; using 'einsum' instead", stacklevel=2)
        return literal(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, sight=sight, score=score)
    window = (score.window - 1, score.window - 1 if sight.open else 0) if score.window else None
    return jax.nn.dot_product_attention(
        *(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV),
        scale=score.scale,
        is_causal=not sight.open,
        local_window_size=window,
        implementation='cudnn',
    )


def cudnn_refusal(q_BxTxHxK: Array, v_BxSxGxV: Array, sight: Sight, score: Score) -> str:
    """Why cuDNN's kernel cannot compute this, or an empty string."""
    width, dtype = q_BxTxHxK.shape[-1], q_BxTxHxK.dtype
    reasons = {
        f'it needs a GPU and this is {jax.default_backend()}': jax.default_backend() != 'gpu',
        f'it needs bfloat16 or float16 and got {dtype}': dtype not in (jnp.bfloat16, jnp.float16),
        f'it needs a head width divisible by 8 and at most 128 and got {width}': width % 8 != 0 or width > 128,
        'its window is the same in all layers of a scan': not isinstance(score.window, int),
        'it needs values as wide as keys': v_BxSxGxV.shape[-1] != width,
        'it has no soft cap of logits': bool(score.cap),
        'it has no ALiBi': score.slopes is not None,
        'it has no bias of the logits here': score.bias is not None,
        'it has no dropout with a key per row': score.dropout_keys is not None,
        'it has no segments and no cache here, and counts its window in slots': not plain(sight, score),
    }
    return next((reason for reason, holds in reasons.items() if holds), '')


def plain(sight: Sight, score: Score) -> bool:
    """Whether this is attention of a whole window over itself: no segments, and positions, if they matter, in order."""
    alone = isinstance(sight.first_slot, int) and sight.first_slot == 0 and sight.query_segments is None
    alone = alone and isinstance(sight.open, bool)
    return alone and isinstance(score.window, int) and not (score.window and sight.query_positions is not None)


def automatic(q_BxTxHxK: Array, k_BxSxGxK: Array, v_BxSxGxV: Array, *, sight: Sight, score: Score) -> Any:
    """The fastest path that can compute this here."""
    path = literal
    if not cudnn_refusal(q_BxTxHxK, v_BxSxGxV, sight, score):
        path = cudnn
    elif jax.default_backend() == 'cpu' and q_BxTxHxK.dtype == jnp.float32:
        path = blocked
    return path(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, sight=sight, score=score)


# name -> (q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, *, sight, score) -> B x T x H x V
ATTENTIONS: dict[str, Callable[..., Any]] = {
    'auto': automatic,
    'einsum': literal,
    'blocked': blocked,
    'cudnn': cudnn,
}


def attend(q_BxTxHxK: Array, k_BxSxGxK: Array, v_BxSxGxV: Array, *, sight: Sight, score: Score, how: str = 'auto') -> Any:
    """Attention of queries over keys and values by the path named `how`; B x T x H x V in the values' dtype."""
    return choose(ATTENTIONS, how, 'model.attention')(q_BxTxHxK, k_BxSxGxK, v_BxSxGxV, sight=sight, score=score)
