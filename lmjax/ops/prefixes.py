"""Vectors that stand where tokens stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

if TYPE_CHECKING:
    from lmjax.types import Array


def with_prefix(x_BxTxD: Array, prefix_BxPxD: Array, segments_BxT: Array | None = None) -> Any:
    """B x T x D with the prefix instead of the vectors of each row's first P tokens that are no padding (segment 0).

    Rows may be padded on either side. A row of fewer tokens has as much of the prefix as it has room for.
    """
    B, T, _ = x_BxTxD.shape
    real_BxT = jnp.ones((B, T), bool) if segments_BxT is None else jnp.asarray(segments_BxT) > 0
    number_BxT = jnp.cumsum(real_BxT, axis=1) - 1
    last = prefix_BxPxD.shape[1] - 1
    own_BxTxD = jnp.take_along_axis(prefix_BxPxD, jnp.clip(number_BxT, 0, last)[:, :, None], axis=1)
    is_prefix_BxT = real_BxT & (number_BxT <= last)
    return jnp.where(is_prefix_BxT[:, :, None], own_BxTxD.astype(x_BxTxD.dtype), x_BxTxD)
