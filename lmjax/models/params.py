"""How a parameter is made, named and initialised; the only place that knows of Flax's boxes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lmjax.types import Inputs

if TYPE_CHECKING:
    from lmjax.types import Model, Tree

Initializer = Any  # a callable (key, shape, dtype) -> array
Axes = tuple[str | None, ...]
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}  # of the computation; parameters are float32


class Named(flax.struct.PyTreeNode, nn.meta.AxisMetadata):
    """A parameter beside its logical axis names, from its birth until `init_params` unboxes it."""

    value: Any
    axes: Axes = flax.struct.field(pytree_node=False)
    init: Initializer = flax.struct.field(pytree_node=False)

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, val: Any) -> Named:
        return self.replace(value=val)

    def add_axis(self, index: int, params: Mapping[Any, Any]) -> Named:
        raise NotImplementedError('layers are stacked by lmjax.models.stack, not by a Flax transformation')

    remove_axis = add_axis


def weight(module: nn.Module, name: str, shape: tuple[int, ...], axes: Axes, init: Initializer) -> Any:
    """The float32 parameter `name` of a module, with one logical axis name (or None) for each dimension."""
    if len(shape) != len(axes):
        raise ValueError(f'{name}: shape {shape} needs as many axis names, got {axes}')
    return module.param(name, lambda key: Named(init(key, shape, jnp.float32), axes, init))


def init_params(module: nn.Module, key: jax.Array, *args: Any) -> Tree:
    """Fresh parameters of a module as a plain nested dict of arrays; args are an example of what it is applied to.

    The example may hold ShapeDtypeStructs: the module is only traced. All Gaussian numbers of the module are one draw and
    all uniform ones another, since XLA takes most of a second to compile each draw of a new shape.
    """
    boxed = _boxed(module, *args)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(boxed, is_leaf=_is_named)
    drawn = {source: _draw(source, key, [box for _, box in leaves]) for source in SOURCES}
    values = []
    for path, box in leaves:
        if isinstance(box.init, Scaled):
            values.append(next(drawn[box.init.source]).reshape(box.value.shape) * box.init.scale)
        else:
            name = jax.tree_util.keystr(path, simple=True, separator='/')
            values.append(box.init(jax.random.fold_in(key, zlib.crc32(name.encode())), box.value.shape, jnp.float32))
    return jax.tree.unflatten(treedef, values)


def _draw(source: str, key: jax.Array, boxes: list[Named]) -> Iterator[Any]:
    """The numbers of each parameter that comes from a source, in order, flat."""
    sizes = [math.prod(box.value.shape) for box in boxes if isinstance(box.init, Scaled) and box.init.source == source]
    if not sizes:
        return iter(())
    flat = SOURCES[source](jax.random.fold_in(key, zlib.crc32(source.encode())), (sum(sizes),), jnp.float32)
    return iter(jnp.split(flat, np.cumsum(sizes)[:-1]))


def _boxed(module: nn.Module, *args: Any) -> Tree:
    """The tree of Named shapes that a module asks for."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(module.init, key, *args).get('params', {})


def _is_named(leaf: Any) -> bool:
    return isinstance(leaf, Named)


def axes_of(module: nn.Module, *args: Any) -> Tree:
    """The tree of logical axis names that goes with `init_params`; computes nothing."""
    return jax.tree.map(lambda box: box.axes, _boxed(module, *args), is_leaf=_is_named)


def apply_params(module: nn.Module, params: Tree, *args: Any, scope: str = '', **kwargs: Any) -> Any:
    """What a module computes with plain parameters; profiles and `flops_by_scope` show it under `scope`."""
    with jax.named_scope(scope) if scope else nullcontext():
        return module.apply({'params': params}, *args, **kwargs)


def is_axes(leaf: Any) -> bool:
    """Whether a node of an axes tree is a leaf: a tuple of names."""
    return isinstance(leaf, tuple)


def scale_matrices(params: Tree, axes: Tree, scale: Any) -> Tree:
    """Multiplies every initial weight matrix, which is every leaf that has an input and an output side.

    Vectors and the biases of heads (axes 'heads' and 'head_width' alone) stay, and so do norms' scales.
    """

    def one(names: Axes, value: Any) -> Any:
        own = [name for name in names if name != 'layers']
        is_matrix = len(own) >= 2 and not set(own) <= {'heads', 'kv_heads', 'head_width'}
        return value * scale if is_matrix else value

    return jax.tree.map(one, axes, params, is_leaf=is_axes)


def hidden_width(model: Model) -> int:
    """The width of a network's final hidden states; computes nothing."""
    ids: Any = jax.ShapeDtypeStruct((1, 1), np.int32)
    inputs = Inputs(ids, source_ids=ids if model.traits.sourced else None)
    states = jax.eval_shape(lambda key, inputs: model.apply(model.init(key, {}), inputs).hidden, jax.random.key(0), inputs)
    return states.shape[-1]


def without(params: Tree, *names: str) -> Tree:
    """Parameters without those that stand under some names."""
    return {name: leaf for name, leaf in params.items() if name not in names}


def count_params(params: Tree) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


class Scaled(NamedTuple):
    """An initializer that multiplies the numbers of a row of SOURCES."""

    source: str
    scale: float

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        return SOURCES[self.source](key, shape, dtype) * self.scale


SOURCES: dict[str, Callable[..., Any]] = {
    'normal': jax.random.normal,
    'uniform': lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -1.0, 1.0),
}


def zeros() -> Initializer:
    return jax.nn.initializers.zeros


def constant(value: float) -> Initializer:
    return jax.nn.initializers.constant(value)


def normal(std: float) -> Initializer:
    """Gaussian of the given standard deviation."""
    return Scaled('normal', std)


def uniform(limit: float) -> Initializer:
    """Uniform in [-limit, limit)."""
    return Scaled('uniform', limit)


def fan_in(inputs: int) -> Initializer:
    """Gaussian of variance 1 / inputs (LeCun et al. 1998), which keeps the variance of a sum of `inputs` terms."""
    return normal(inputs**-0.5)


def xavier(inputs: int, outputs: int) -> Initializer:
    """Uniform of variance 2 / (inputs + outputs) (Glorot and Bengio 2010, eq. 16)."""
    return uniform((6.0 / (inputs + outputs)) ** 0.5)


def orthogonal() -> Initializer:
    """A random orthogonal matrix (Saxe et al. 2014), over the last two axes."""
    return jax.nn.initializers.orthogonal()
