"""Optimizers: gradients to updates. One recipe a row; clipping, decay and the schedule are common to all.

Per-leaf rules must not see a scanned stack of layers as one tensor: logical axes tell a stack from a weight, and one
update is the same whether layers are stacked or apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lmjax.config import choose
from lmjax.optim.config import OptimConfig
from lmjax.optim.masks import decay_mask, is_stacked, map_axes
from lmjax.optim.orthogonal import muon
from lmjax.optim.rates import scale_by_rates
from lmjax.optim.schedules import schedule

if TYPE_CHECKING:
    from lmjax.types import Array, HParams, Tree

    MakeTx = Callable[[HParams], optax.GradientTransformation]


class Recipe(NamedTuple):
    """A row of OPTIMIZERS."""

    direction: Callable[[OptimConfig, Tree, HParams], optax.GradientTransformation]  # config, axes, hparams
    coupled: bool  # weight decay joins the gradient (L2, as SGD and Adam have it); otherwise it joins the update


def sgd(config: OptimConfig, axes: Tree, hparams: HParams) -> optax.GradientTransformation:
    """Heavy-ball momentum: u = m u + g (Polyak 1964, in the form of Sutskever et al. 2013, footnote 1)."""
    return optax.trace(decay=hparams['momentum'])


def adam(config: OptimConfig, axes: Tree, hparams: HParams) -> optax.GradientTransformation:
    """Kingma and Ba 2015, algorithm 1."""
    return optax.scale_by_adam(b1=hparams['beta1'], b2=hparams['beta2'], eps=config.eps)


def adafactor(config: OptimConfig, axes: Tree, hparams: HParams) -> optax.GradientTransformation:
    """Shazeer and Stern 2018, algorithm 4 with its constants: no momentum, updates relative to each weight's size."""
    steps = optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms(1e-3)
    return per_layer(optax.chain(*steps), axes)


def lion(config: OptimConfig, axes: Tree, hparams: HParams) -> optax.GradientTransformation:
    """Chen et al. 2023, program 1."""
    return optax.scale_by_lion(b1=hparams['beta1'], b2=hparams['beta2'])


def muon_and_adam(config: OptimConfig, axes: Tree, hparams: HParams) -> optax.GradientTransformation:
    """Muon for weight matrices, Adam's direction for embeddings, heads, vectors and scalars (Jordan et al. 2024)."""
    return muon(axes, momentum=hparams['momentum'], others=adam(config, axes, hparams))


OPTIMIZERS: dict[str, Recipe] = {
    'sgd': Recipe(sgd, coupled=True),
    'adam': Recipe(adam, coupled=True),
    'adamw': Recipe(adam, coupled=False),
    'adafactor': Recipe(adafactor, coupled=False),
    'lion': Recipe(lion, coupled=False),
    'muon': Recipe(muon_and_adam, coupled=False),
}


def global_norm(tree: Tree) -> Array:
    """The Euclidean norm of all entries of a tree together, in float32."""
    # one expression for clipping and for the metric of a step: the compiler then computes it once
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)))


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients down to a global norm of `limit` where it is larger (Pascanu et al. 2013, algorithm 1).

    One scalar factor for all: a product fuses into the optimizer's own pass over the gradients, where optax's
    quotient costs two passes more on CPU (72 against 41 ms for 11M parameters with Adam).
    """

    def update(updates: Tree, params: Tree = None) -> Tree:
        factor = jnp.minimum(1.0, limit / jnp.maximum(global_norm(updates), jnp.finfo(jnp.float32).tiny))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates)

    return optax.stateless(update)


def add_decay(rate: Array | None, decays: Tree) -> optax.GradientTransformation:
    """Adds `rate` times the parameter where `decays` holds; nothing at all if the rate is None."""
    if rate is None:
        return optax.identity()

    def update(updates: Tree, params: Tree = None) -> Tree:
        return jax.tree.map(lambda u, p, on: u + rate * p if on else u, updates, params, decays)

    return optax.stateless(update)


def per_layer(inner: optax.GradientTransformation, axes: Tree) -> optax.GradientTransformation:
    """Applies `inner` to every layer of a stacked parameter by itself (vmap over the 'layers' axis)."""
    over_layers = optax.GradientTransformation(jax.vmap(inner.init), jax.vmap(inner.update))

    def split(params: Tree) -> optax.GradientTransformation:
        # stacks of unlike depth need counters of unlike length: one group a depth
        labels = map_axes(lambda names, p: f'stacks_of_{p.shape[0]}' if is_stacked(names) else 'single', axes, params)
        groups = {label: inner if label == 'single' else over_layers for label in sorted(set(jax.tree.leaves(labels)))}
        return optax.partition(groups, labels)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        return split(params).update(updates, state, params)

    return optax.GradientTransformation(lambda params: split(params).init(params), update)


def build_optimizer(config: OptimConfig, axes: Tree, *, steps: int) -> MakeTx:
    """`make_tx(hparams)`, the optimizer of a run of `steps`; call it inside `jit`, once to init and once to update.

    `axes` is a tree like the parameters whose leaves are tuples of logical axis names. `hparams` holds
    learning_rate, beta1, beta2, momentum and weight_decay (left out: no decay) as floats or traced scalars; the state's
    structure does not depend on them. Gradients are clipped first; learning rate and schedule multiply the decay also.

    Raises UsageError for an unknown optimizer or schedule, and for a pattern that matches nothing.
    """
    recipe = choose(OPTIMIZERS, config.optimizer, 'optim.optimizer')
    decays = decay_mask(config.decay_mask, axes)
    shape = schedule(config, steps)
    rates = [scale_by_rates(config.rates, config.layer_decay, axes)] if config.rates or config.layer_decay else []

    def make_tx(hparams: HParams) -> optax.GradientTransformation:
        clip = clip_by_norm(config.clip_norm) if config.clip_norm else optax.identity()
        decay = add_decay(hparams.get('weight_decay'), decays)
        direction = recipe.direction(config, axes, hparams)
        scale = optax.scale_by_schedule(lambda count: -hparams['learning_rate'] * shape(count))
        middle = (decay, direction) if recipe.coupled else (direction, decay)
        return optax.chain(clip, *middle, scale, *rates)

    return make_tx
