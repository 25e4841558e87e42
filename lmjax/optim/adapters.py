"""What a run learns beside a base whose parameters stay as they are: a change of each weight that is small to keep.

A change is made of a weight alone, so it fits any network, and what was learned can be put into the weights for good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.config import choose
from lmjax.optim.config import AdaptConfig
from lmjax.optim.masks import first_match, is_stacked, paths, widths
from lmjax.parallel.sharding import Axes, is_axes

if TYPE_CHECKING:
    from lmjax.types import Array, HParams, Inputs, Model, Output, Tree

DEFAULT = ('layers/',)  # adapt.targets: every matrix of the layers


class Adaptation(NamedTuple):
    """A way to change a weight: what is learned of it, and what it then is."""

    axes: Callable[[Axes], dict[str, Axes]]  # logical axes of a weight -> of the arrays that are learned
    init: Callable[[Any, Array, Axes, AdaptConfig], dict[str, Any]]  # key, weight, axes -> these, which change nothing yet
    apply: Callable[[Array, dict[str, Any], Axes, AdaptConfig], Any]  # weight, arrays, axes -> the weight as it is used
    rest: bool = False  # whatever is not adapted learns whole
    # key, weight, arrays -> these as a step of training sees them; None: as they are
    noise: Callable[[Any, Array, dict[str, Any], AdaptConfig], dict[str, Any]] | None = None


def sides(axes: Axes, of: Sequence[Any]) -> tuple[tuple, tuple, tuple]:
    """What a matrix has for each dimension, in three parts: the stack of layers, if it is one; what goes in; what comes out."""
    stack, split = int(is_stacked(axes)), widths(axes)[0][-1] + 1
    return tuple(of[:stack]), tuple(of[stack:split]), tuple(of[split:])


def as_matrix(weight: Array, axes: Axes) -> Any:
    """A weight as N x D x F, N layers of D inputs and F outputs; N is 1 where it is not stacked."""
    return weight.reshape(*map(math.prod, sides(axes, weight.shape)))


def of_outputs(axes: Axes, of: Sequence[Any]) -> tuple:
    """The parts of `sides` that something learned of each output has."""
    stack, _, outputs = sides(axes, of)
    return stack + outputs


def low_rank_axes(axes: Axes) -> dict[str, Axes]:
    stack, inputs, outputs = sides(axes, axes)
    return {'lora_a': (*stack, *inputs, 'rank'), 'lora_b': (*stack, 'rank', *outputs)}


def init_low_rank(key: Any, weight: Array, axes: Axes, config: AdaptConfig) -> dict[str, Any]:
    """A is Gaussian of variance 1 / D, B is 0 (Hu et al. 2022, section 4.1)."""
    stack, inputs, outputs = sides(axes, weight.shape)
    a = math.prod(inputs) ** -0.5 * jax.random.normal(key, (*stack, *inputs, config.rank), jnp.float32)
    return {'lora_a': a, 'lora_b': jnp.zeros((*stack, config.rank, *outputs), jnp.float32)}


def add_low_rank(weight: Array, learned: dict[str, Any], axes: Axes, config: AdaptConfig) -> Any:
    """W + alpha / rank A B (Hu et al. 2022, eq. 3)."""
    layers, rank = len(as_matrix(weight, axes)), config.rank
    a_NxDxR, b_NxRxF = learned['lora_a'].reshape(layers, -1, rank), learned['lora_b'].reshape(layers, rank, -1)
    return weight + (config.alpha / rank) * jnp.matmul(a_NxDxR, b_NxRxF).reshape(weight.shape)


def length_axes(axes: Axes) -> dict[str, Axes]:
    return {**low_rank_axes(axes), 'length': of_outputs(axes, axes)}


def init_directed(key: Any, weight: Array, axes: Axes, config: AdaptConfig) -> dict[str, Any]:
    return {**init_low_rank(key, weight, axes, config), 'length': jnp.zeros(of_outputs(axes, weight.shape), jnp.float32)}


def turn_and_stretch(weight: Array, learned: dict[str, Any], axes: Axes, config: AdaptConfig) -> Any:
    """m V / |V|, V = W + alpha / rank A B, each column's length m learned as |W| (1 + length) (Liu et al. 2024, eq. 5).

    No gradient goes through |V| (section 4.3).
    """
    turned = as_matrix(add_low_rank(weight, learned, axes, config), axes)
    was_Nx1xF, is_Nx1xF = (_lengths(as_matrix(weight, axes)), jax.lax.stop_gradient(_lengths(turned)))
    stretch_Nx1xF = 1.0 + learned['length'].reshape(was_Nx1xF.shape)
    return (turned * (stretch_Nx1xF * was_Nx1xF / is_Nx1xF)).reshape(weight.shape)


def _lengths(matrix_NxDxF: Any) -> Any:
    return jnp.sqrt(jnp.square(matrix_NxDxF).sum(axis=1, keepdims=True) + 1e-12)


def output_axes(axes: Axes) -> dict[str, Axes]:
    return {'scale': of_outputs(axes, axes)}


def init_scale(key: Any, weight: Array, axes: Axes, config: AdaptConfig) -> dict[str, Any]:
    return {'scale': jnp.ones(of_outputs(axes, weight.shape), jnp.float32)}


def scale_outputs(weight: Array, learned: dict[str, Any], axes: Axes, config: AdaptConfig) -> Any:
    """Each output times a number (Liu et al. 2022, section 3.3)."""
    matrix = as_matrix(weight, axes)
    return (matrix * learned['scale'].reshape(len(matrix), 1, -1)).reshape(weight.shape)


def init_own(key: Any, weight: Array, axes: Axes, config: AdaptConfig) -> dict[str, Any]:
    return {'own': jnp.asarray(weight)}


def mix_out(key: Any, weight: Array, learned: dict[str, Any], config: AdaptConfig) -> dict[str, Any]:
    """(M u + (1 - M) w - p u) / (1 - p), M 1 with probability p, u the base's (Lee et al. 2020, eq. 5): on average it is w."""
    p, own = config.mix, learned['own']
    is_base = jax.random.bernoulli(key, p, own.shape)
    return {'own': (jnp.where(is_base, weight, own) - p * weight) / (1.0 - p)}


ADAPTATIONS = {
    'lora': Adaptation(low_rank_axes, init_low_rank, add_low_rank),
    'dora': Adaptation(length_axes, init_directed, turn_and_stretch),
    'ia3': Adaptation(output_axes, init_scale, scale_outputs),
    'mixout': Adaptation(
        lambda axes: {'own': axes},
        init_own,
        lambda weight, learned, axes, config: learned['own'],
        rest=True,
        noise=mix_out,
    ),
}


def learner(model: Model, base: Tree, config: AdaptConfig) -> Model:
    """The network whose parameters are what it learns beside `base`: arrays, or their shapes while nothing is computed.

    Learned are the row of ADAPTATIONS of each matrix that `adapt.targets` find, and whole what `adapt.whole` finds and what
    the network has and `base` lacks (a classifier on top), or of a row with `rest` all others.

    Raises:
      UsageError: a pattern that finds nothing, or a target that is no matrix.
    """
    row, choices = choose(ADAPTATIONS, config.kind, 'adapt.kind'), chosen(model.axes, base, config)

    def init(key: Any, hparams: HParams) -> Tree:
        values = flat(model.init(key, hparams)) | flat(base)
        keys = dict(zip(choices, jax.random.split(jax.random.fold_in(key, 2), len(choices)), strict=True))
        return nested(
            {
                name: row.init(keys[name], values[name], axes, config) if is_adapted else values[name]
                for name, (is_adapted, axes) in choices.items()
            }
        )

    def whole(params: Tree) -> Tree:
        return merged(base, params, model.axes, config)

    def apply(params: Tree, inputs: Inputs, *args: Any, **kwargs: Any) -> Output:
        return model.apply(whole(params), inputs, *args, **kwargs)

    return model._replace(
        init=init,
        apply=apply,
        score=lambda params, *args, **kwargs: model.score(whole(params), *args, **kwargs),
        init_cache=lambda params, *args, **kwargs: model.init_cache(whole(params), *args, **kwargs),
        axes=nested({name: row.axes(axes) if is_adapted else axes for name, (is_adapted, axes) in choices.items()}),
    )


def chosen(axes: Tree, base: Tree, config: AdaptConfig) -> dict[str, tuple[bool, Axes]]:
    """What is learned: path -> (whether it is adapted, rather than learned whole; the parameter's logical axes)."""
    every, given = dict(zip(paths(axes), jax.tree.leaves(axes, is_leaf=is_axes), strict=True)), flat(base)
    kept = [name for name in every if name in given]
    whole = found_by('adapt.whole', config.whole, kept) | (set(every) - set(kept))
    matrices = [name for name in kept if len(widths(every[name])) > 1 and name not in whole]
    adapted = found_by('adapt.targets', config.targets or DEFAULT, matrices)
    learns = set(every) if ADAPTATIONS[config.kind].rest else whole | adapted
    return {name: (name in adapted, every[name]) for name in every if name in learns}


def with_noise(key: Any, base: Tree, learned: Tree, axes: Tree, config: AdaptConfig) -> Tree:
    """What is learned as a step of training sees it, every row of the batch the same; the key is the step's."""
    row = ADAPTATIONS[config.kind]
    if row.noise is None:
        return learned
    adapted = [name for name, (is_adapted, _) in chosen(axes, base, config).items() if is_adapted]
    weights, values = flat(base), flat(learned)
    for name, one in zip(adapted, jax.random.split(key, len(adapted)), strict=True):
        arrays = {path: leaf for path, leaf in values.items() if path.startswith(f'{name}/')}
        noisy = row.noise(one, weights[name], {path.rpartition('/')[2]: leaf for path, leaf in arrays.items()}, config)
        values |= {f'{name}/{part}': leaf for part, leaf in noisy.items()}
    return nested(values)


def found_by(field: str, patterns: Sequence[str], names: Sequence[str]) -> set[str]:
    """The names that a pattern finds. Raises UsageError for a pattern that finds none."""
    found = first_match(field, patterns, names)
    return {name for name, index in zip(names, found, strict=True) if index is not None}


def merged(base: Tree, learned: Tree, axes: Tree, config: AdaptConfig) -> Tree:
    """The parameters of the whole network: `base` with what was learned in its place."""
    if is_axes(axes):
        return ADAPTATIONS[config.kind].apply(base, learned, axes, config) if isinstance(learned, dict) else learned
    return {
        name: merged(base.get(name, {}), learned[name], axes[name], config) if name in learned else base[name] for name in axes
    }


def flat(tree: Tree) -> dict[str, Any]:
    """Path -> leaf, in tree order."""
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def nested(leaves: dict[str, Any]) -> Tree:
    """The tree of such paths."""
    tree: Tree = {}
    for path, leaf in leaves.items():
        *folders, last = path.split('/')
        node = tree
        for name in folders:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree
