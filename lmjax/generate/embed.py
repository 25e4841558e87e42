"""One vector for each text, from the hidden states of any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import UsageError, choose, require
from lmjax.generate.decode import padded_width, power_of_two
from lmjax.ops.pooling import POOLINGS, real_tokens, unit
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.types import Tree

ROWS = 32  # texts of one call of the network


def embed_texts(
    model: Model,
    params: Tree,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    pooling: str = 'mean',
    normalize: bool = True,
    context: int | None = None,
) -> np.ndarray:
    """One vector for each text, texts x D float32, of length 1 if `normalize`: a product of two is then their cosine.

    Texts longer than the context are cut, the first tokens kept. Texts of like length travel together; who travels with whom
    changes nothing.

    Raises:
      UsageError: a text without any token, or a pooling that does not exist or that the network lacks.
    """
    choose(POOLINGS, pooling, 'pooling')
    require(not model.traits.sourced, 'model', 'encoder-decoder', 'has no one state of a text; take an encoder or a decoder')
    ids = [tokenizer.encode(text) for text in texts]
    for row, text in zip(ids, texts, strict=True):
        if not len(row):
            raise UsageError(f'text={text!r}: has no token; leave it out')
    found = read_rows(partial(_pool, model.apply, params, pooling=pooling, normalize=normalize), ids, context)
    return np.stack(found) if found else np.zeros((0, 0), np.float32)


def read_rows(read: Callable[[Any, Any], Any], rows: Sequence[np.ndarray], context: int | None) -> list[np.ndarray]:
    """What read(ids_BxT, lengths_B) has for each row of ids, in their order."""
    ids = [row[: context or None] for row in rows]

    def read_some(some: list[np.ndarray]) -> Any:
        width = padded_width(max(map(len, some)), context or 0)
        ids_BxT = np.stack([np.pad(row, (0, width - len(row))) for row in some]).astype(np.int32)
        return np.asarray(read(ids_BxT, np.array([len(row) for row in some], np.int32)))

    return by_length(read_some, ids, ROWS)


def by_length(
    read: Callable[[list[Any]], Any], rows: Sequence[Any], size: int, length: Callable[[Any], int] = len
) -> list[Any]:
    """What `read` has for each row: those of like length are read together, a power of two of them and at most `size`."""
    found: list[Any] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: length(rows[i]))
    for begin in range(0, len(order), size):
        part = order[begin : begin + size]
        filled = [*part, *part[:1] * (power_of_two(len(part)) - len(part))]
        for i, one in zip(part, read([rows[i] for i in filled]), strict=False):
            found[i] = one
    return found


@partial(jax.jit, static_argnames=('apply', 'pooling', 'normalize'))
def _pool(apply: Any, params: Tree, ids_BxT: Any, lengths_B: Any, *, pooling: str, normalize: bool) -> Any:
    inputs = padded_inputs(ids_BxT, lengths_B)
    vectors_BxD = POOLINGS[pooling](apply(params, inputs), real_tokens(inputs)).astype(jnp.float32)
    return unit(vectors_BxD) if normalize else vectors_BxD


def padded_inputs(ids_BxT: Any, lengths_B: Any) -> Inputs:
    """Rows that are padded on the right."""
    return Inputs(ids_BxT, segments=(jnp.arange(ids_BxT.shape[1])[None] < lengths_B[:, None]).astype(jnp.int32))
