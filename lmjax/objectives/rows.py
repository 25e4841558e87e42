"""What objectives that score rows, or words, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from lmjax.types import Array, Output

NEVER = -1e9  # a logit of what cannot be told, finite so that a row of nothing else has a gradient
Rows = Mapping[str, Sequence[np.ndarray]]  # name -> what evaluation kept of each row, in order


def smoothed(logprob: Array, labels: Array, smoothing: Any, may: Any = None) -> tuple[Any, Any]:
    """Cross-entropy of labels (...) under logprob (... x C) in nats, and smoothed (Szegedy et al. 2016, section 7).

    Smoothing is over all classes, or over those that `may` be told, ... x C bool.
    """
    nll = -jnp.take_along_axis(logprob, labels[..., None], axis=-1)[..., 0]
    if smoothing is None:
        return nll, nll
    mean = logprob.mean(axis=-1) if may is None else jnp.where(may, logprob, 0.0).sum(-1) / jnp.maximum(may.sum(-1), 1)
    return nll, (1.0 - smoothing) * nll - smoothing * mean


def log_softmax_among(logits: Array, may: Array) -> Any:
    """Log-probabilities of classes (... x C) where some of them cannot be told; of a row without any they mean nothing."""
    return jax.nn.log_softmax(jnp.where(may, logits, NEVER))


def with_auxiliary(output: Output, total: Array, sums: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    """The loss of a batch with the network's auxiliary sums added to it, and its sums with these beside them."""
    total += sum(share * amount for amount, share in output.aux.values())
    return total, {'loss': total, **sums, **{name: amount for name, (amount, _) in output.aux.items()}}
