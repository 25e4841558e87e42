"""What objectives that score rows, or words, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lmjax.types import Array, Output

Rows = Mapping[str, Sequence[np.ndarray]]  # name -> what evaluation kept of each row, in order


def smoothed(logprob: Array, labels: Array, smoothing: Any) -> tuple[Any, Any]:
    """Cross-entropy of labels (...) under logprob (... x C) in nats, and smoothed (Szegedy et al. 2016, section 7)."""
    nll = -jnp.take_along_axis(logprob, labels[..., None], axis=-1)[..., 0]
    return nll, nll if smoothing is None else (1.0 - smoothing) * nll - smoothing * logprob.mean(axis=-1)


def with_auxiliary(output: Output, total: Array, sums: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    """The loss of a batch with the network's auxiliary sums added to it, and its sums with these beside them."""
    total += sum(share * amount for amount, share in output.aux.values())
    return total, {'loss': total, **sums, **{name: amount for name, (amount, _) in output.aux.items()}}
