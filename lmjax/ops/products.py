"""Matrix products in the forms that XLA runs fast on CPU; elsewhere they are as fast as any."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from lmjax.types import Array


_WIDE = 2**14  # one-row products at least as wide as this are no faster in halves


def product(x: Array, w: Array, *, transposed: bool = False) -> Any:
    """x (... x D) times w (D x F), or times the transpose of w (F x D); ... x F in the dtype of x.

    XLA on CPU has a fast product of two matrices. What JAX derives as the weight's gradient is a product in the other
    order, transposed, or one that sums over two axes: XLA then transposes the activations first, inside the fusion that
    computes them, which takes longer than the product itself. Here all is two matrices, each read as it lies.
    """
    out = _product(transposed, x.reshape(-1, x.shape[-1]), w)
    return out.reshape(*x.shape[:-1], out.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(transposed: bool, x_CxD: Any, w: Any) -> Any:
    return _row_in_halves(x_CxD, w) if _halved(transposed, x_CxD, w) else _dot(x_CxD, w, 1, int(transposed))


def _halved(transposed: bool, x_CxD: Any, w: Any) -> bool:
    one_row = len(x_CxD) == 1 and x_CxD.dtype == jnp.float32 and not transposed
    return one_row and w.shape[0] % 2 == 0 and w.shape[1] < _WIDE and jax.default_backend() == 'cpu'


def _row_in_halves(x_1xD: Any, w_DxF: Any) -> Any:
    """One row's product as a sum of two: XLA on CPU reads the matrix with one core, but each of a batch with its own."""
    D, F = w_DxF.shape
    return _dot(x_1xD.reshape(2, 1, D // 2), w_DxF.reshape(2, D // 2, F), 2, 1, batch=1).sum(0)


def _forward(transposed: bool, x_CxD: Any, w: Any) -> tuple[Any, tuple[Any, Any]]:
    return _product(transposed, x_CxD, w), (x_CxD, w)


def _backward(transposed: bool, kept: tuple[Any, Any], dy_CxF: Any) -> tuple[Any, Any]:
    x_CxD, w = kept
    left, right = (dy_CxF, x_CxD) if transposed else (x_CxD, dy_CxF)
    return _dot(dy_CxF, w, 1, int(not transposed)), sum_over_rows(left, right)


_product.defvjp(_forward, _backward)


def sum_over_rows(a: Array, b: Array, batch: int = 0) -> Any:
    """The transpose of a (C x M) times b (C x N), for each of `batch` leading axes; M x N in the wider dtype of the two.

    XLA on CPU reads the first operand of such a product against the grain, so the narrower one had better be first.
    """
    if a.shape[-1] <= b.shape[-1]:
        return _dot(a, b, batch, batch, batch)
    # Without the barrier XLA exchanges the operands again, to save the transposition.
    return jnp.swapaxes(lax.optimization_barrier(_dot(b, a, batch, batch, batch)), -1, -2)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def repeat_rows(x_TxD: Array, batch: int) -> Any:
    """x for each row of a batch, B x T x D. The gradient is summed over the batch as a product with ones.

    As a sum, XLA on CPU fuses it with all that it sums, read column by column: twenty times as long.
    """
    return jnp.broadcast_to(x_TxD[None], (batch, *x_TxD.shape))


def _repeat_backward(batch: int, kept: None, dy_BxTxD: Any) -> tuple[Any]:
    ones_Bx1 = jnp.ones((batch, 1), dy_BxTxD.dtype)
    return (sum_over_rows(ones_Bx1, dy_BxTxD.reshape(batch, -1)).reshape(dy_BxTxD.shape[1:]),)


repeat_rows.defvjp(lambda x_TxD, batch: (repeat_rows(x_TxD, batch), None), _repeat_backward)


def row_sums(x: Array) -> Any:
    """The sum of each row (the last axis), kept as an axis of 1; float32.

    On CPU it is a product with ones: XLA there makes a sum of more than 32 numbers a tree of window reductions, which
    takes up to 2.6 times as long. Elsewhere it is a sum (a product would be rounded to bfloat16 on a TPU).
    """
    wide = x.astype(jnp.float32)
    if jax.default_backend() != 'cpu':
        return wide.sum(-1, keepdims=True)
    width = x.shape[-1]
    return (wide.reshape(-1, width) @ jnp.ones(width)).reshape(*x.shape[:-1], 1)


def _dot(a: Any, b: Any, a_axis: int, b_axis: int, batch: int = 0) -> Any:
    axes = tuple(range(batch))
    return lax.dot_general(a, b, (((a_axis,), (b_axis,)), (axes, axes)))
