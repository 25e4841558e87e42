"""What a network consists of: each module with its parameters, their shapes and axes, and the work of a forward pass."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from lmjax.config import require
from lmjax.ops.flops import flops_by_scope
from lmjax.types import Inputs

if TYPE_CHECKING:
    from lmjax.types import Model, Tree


class Row(NamedTuple):
    """A module (shape None) or a parameter. Layers that are alike share their rows: `copies` of them."""

    path: str
    shape: tuple[int, ...] | None
    axes: tuple[str | None, ...]
    parameters: int  # of all copies
    flops: float | None  # of all copies, per token, forward; None: counted with the module
    copies: int


def summarize(model: Model, *, seq_len: int) -> list[Row]:
    """Rows in the order of the parameter tree, the whole network first; computes nothing.

    Args:
      seq_len: tokens of the window whose forward pass is counted, the head's logits included. A multiply-add counts two.

    Raises:
      UsageError: a network that counts has no parameters before it has seen its text.
    """
    require(
        model.traits.trainable, 'model', 'counted', 'its tables are as large as its text asks for; train it and see report.html'
    )
    params = jax.eval_shape(model.init, jax.random.key(0), {})
    work = module_flops(model, params, seq_len=seq_len)
    rows = _rows('', params, model.axes, work, copies=1)
    return rows if 'head' in params else [*rows, Row('head', None, (), 0, work['head'], 1)]


def forward_flops(model: Model, params: Tree, *, seq_len: int) -> dict[str, int]:
    """Operations of a forward pass over one window, the logits included, by named scope; params may be abstract.

    An encoder-decoder reads a source as long as the window.
    """

    def forward(params: Any, ids: Any) -> Any:
        inputs = Inputs(ids, source_ids=ids if model.traits.sourced else None)
        return model.score(params, model.apply(params, inputs).hidden)

    return flops_by_scope(forward, params, jax.ShapeDtypeStruct((1, seq_len), np.int32))


def module_flops(model: Model, params: Tree, *, seq_len: int) -> dict[str, float]:
    """Forward operations per token of the window of each module, those within it included; '' is the whole network."""
    work: dict[str, float] = defaultdict(float)
    for scope, flops in forward_flops(model, params, seq_len=seq_len).items():
        path: list[str] = []
        node = params
        work[''] += flops / seq_len
        for name in scope.split('/'):
            if name == 'head' and not path:  # a tied head has no parameters of its own
                work['head'] += flops / seq_len
                break
            if isinstance(node, dict) and name in node:
                path, node = [*path, name], node[name]
                work['/'.join(path)] += flops / seq_len
    return work


def _rows(path: str, node: Tree, axes: Tree, work: dict[str, float], *, copies: int) -> list[Row]:
    if not isinstance(node, dict):
        return [Row(path, node.shape, axes, math.prod(node.shape) * copies, None, copies)]
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(node)) * copies
    rows = [Row(path, None, (), size, work[path] * copies, copies)]
    for name, child in node.items():
        alike = [other for other in node if name.isdecimal() and _shapes(node[other]) == _shapes(child)] or [name]
        if name == alike[0]:
            below = f'{path}/{name}' if path else name
            rows += _rows(below, child, axes[name], work, copies=copies * len(alike))
    return rows


def _shapes(node: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf.shape, node)
