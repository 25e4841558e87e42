"""Parameters of a network from a folder of safetensors, and to one: tensor by tensor, compared before anything is read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import UsageError
from lmjax.interop.formats import Format
from lmjax.interop.names import Name
from lmjax.interop.tensors import Stored, write_tensors
from lmjax.models import build
from lmjax.models.attention import head_sizes
from lmjax.models.config import TransformerConfig
from lmjax.training.checkpoint.structure import flatten, unflatten

if TYPE_CHECKING:
    from lmjax.types import Array, Tree

FLOATS = ('F64', 'F32', 'F16', 'BF16')
SHOWN = 3  # tensors named in an error


class Source(Protocol):
    """Named tensors under transformers' names."""

    folder: str  # where they are, for error messages
    index: dict[str, Stored]

    def read(self, name: str) -> np.ndarray: ...


class Planned(NamedTuple):
    """One of their tensors that a network needs."""

    name: Name  # with the layer filled in
    shape: tuple[int, ...]  # theirs


def plan(form: Format, config: TransformerConfig, vocab_size: int) -> list[Planned]:
    """Their tensors for a network, in order; every parameter of ours is in exactly one of them."""
    apart = flatten(_abstract(dataclasses.replace(config, scan_layers=False), vocab_size))
    names = [_filled(form.prefix + name.theirs, name, i) for name in form.names(config) for i in _layers(name, config)]
    names += form.head
    planned, said = [], set()
    for name in names:
        if all(path in apart for path in name.ours):
            example = tuple(apart[path] for path in name.ours)
            planned.append(Planned(name, jax.eval_shape(name.layout.pack, example).shape))
            said |= set(name.ours)
    if unsaid := sorted(set(apart) - said):
        raise UsageError(f'model: {form.architecture} has no tensor for {", ".join(unsaid[:SHOWN])}; choose another family')
    return planned


def _abstract(config: TransformerConfig, vocab_size: int) -> Tree:
    """Shapes and types of our parameters."""
    model = build(config, vocab_size=vocab_size, seq_len=config.context)
    return jax.eval_shape(model.init, jax.random.key(0), {})


def _layers(name: Name, config: TransformerConfig) -> list[int]:
    return list(range(depth_at(name.ours[0], config))) if '{i}' in name.theirs else [0]


def depth_at(path: str, config: TransformerConfig) -> int:
    """How many layers the stack has that a parameter is of."""
    return config.encoder_depth if path.startswith('encoder/') else config.depth


def _filled(theirs: str, name: Name, i: int) -> Name:
    return Name(theirs.replace('{i}', str(i)), tuple(path.replace('{i}', str(i)) for path in name.ours), name.layout)


def read_params(tensors: Source, form: Format, config: TransformerConfig, vocab_size: int) -> Tree:
    """The parameters of a checkpoint, float32, in the layout that `config.scan_layers` asks for.

    Beside the parameters themselves no more than one stack of layers of one tensor is in memory.

    Raises:
      UsageError: tensors are missing, left over, of another shape than config.json says, or no floating-point numbers.
    """
    planned = _found(tensors, form, plan(form, config, vocab_size))
    _, _, head_width = head_sizes(config)
    found: dict[str, Any] = {}
    for theirs, name, _ in planned:
        value = tensors.read(theirs)
        for path, own in zip(name.ours, name.layout.unpack(value, head_width), strict=True):
            _put(found, path, own, config)
    return unflatten(_abstract(config, vocab_size), found)


def _put(found: dict[str, Any], path: str, value: np.ndarray, config: TransformerConfig) -> None:
    """Keeps a parameter as an array of its own; a layer's, where layers are scanned, in its place of their stack."""
    path, layer = _kept(path, config)
    if layer is None:
        found[path] = jnp.array(value, jnp.float32)
        return
    depth = depth_at(path, config)
    if layer == 0:
        found[path] = np.empty((depth, *value.shape), np.float32)
    found[path][layer] = value
    if layer == depth - 1:
        found[path] = jnp.array(found[path])


def _kept(path: str, config: TransformerConfig) -> tuple[str, int | None]:
    """Where the parameter of a layer is: its path, and its place in a stack (None: it stands alone)."""
    stack = next((stack for stack in ('layers/', 'encoder/layers/') if path.startswith(stack)), None)
    if not config.scan_layers or stack is None:
        return path, None
    i, rest = path.removeprefix(stack).split('/', 1)
    return stack + rest, int(i)


def _found(tensors: Source, form: Format, planned: list[Planned]) -> list[tuple[str, Name, tuple[int, ...]]]:
    """Their names as this folder spells them; everything is compared here."""
    index, folder = tensors.index, tensors.folder
    bare = not any(name.startswith(form.prefix) for name in index)  # saved without its head's class

    def spelling(name: str) -> str:
        theirs = name.removeprefix(form.prefix) if bare else name
        old = (theirs.removesuffix(end) + older for end, older in form.older if theirs.endswith(end))
        return theirs if theirs in index else next((name for name in old if name in index), theirs)

    spelled = [(spelling(name.theirs), name, shape) for name, shape in planned]
    if missing := [theirs for theirs, _, _ in spelled if theirs not in index]:
        raise UsageError(f'{folder}: {_some(missing)} missing; fetch the whole checkpoint, as its config.json describes it')
    for theirs, _, shape in spelled:
        stored = index[theirs]
        if stored.shape != shape:
            raise UsageError(f'{folder}: {theirs} has shape {stored.shape}, where its config.json asks for {shape}')
        if stored.dtype not in FLOATS:
            raise UsageError(f'{folder}: {theirs} is of type {stored.dtype}; only {", ".join(FLOATS)} are read')
    for name in form.zeros:
        if name in index and np.any(tensors.read(name)):
            raise UsageError(f'{folder}: {name} is not zero; {form.architecture} with such a bias is not known here')
    known = {theirs for theirs, _, _ in spelled} | set(form.zeros)
    if extra := [name for name in index if name not in known and not name.endswith(form.ignored)]:
        raise UsageError(f'{folder}: {_some(extra)} left over; {form.architecture} with this config.json has no such tensor')
    return spelled


def _some(names: list[str]) -> str:
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more + (' is' if len(names) == 1 else ' are')


def write_params(folder: str, form: Format, config: TransformerConfig, params: Tree, dtype: str) -> None:
    """Writes the parameters as safetensors of `dtype` (a name that NumPy or ml_dtypes knows)."""
    vocab_size = params['embedding']['tokens'].shape[0]
    planned = plan(form, config, vocab_size)

    flat = flatten(params)

    def own(path: str) -> Array:
        path, layer = _kept(path, config)
        return np.asarray(flat[path] if layer is None else flat[path][layer])

    def tensors() -> Iterator[tuple[str, np.ndarray]]:
        for name, _ in planned:
            yield name.theirs, name.layout.pack(tuple(own(path) for path in name.ours)).astype(jnp.dtype(dtype))

    size = jnp.dtype(dtype).itemsize
    write_tensors(folder, {name.theirs: math.prod(shape) * size for name, shape in planned}, tensors())
