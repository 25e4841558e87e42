"""Schedules: the shape in [0, 1] of the learning rate over the steps; the peak multiplies it elsewhere.

Every schedule rises from 1 / (w + 1) at step 0 to 1 at step w = `warmup_steps` in a line, so no step is wasted at
zero. From there each row describes the shape over d = steps - w steps; it ends at `final_fraction` at step
`steps`, the first that is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from lmjax.config import choose
from lmjax.optim.config import OptimConfig

Schedule = Callable[[Any], Any]


def constant(config: OptimConfig, decay_steps: int) -> Schedule:
    """1 after warm-up; `final_fraction` plays no part."""
    return optax.constant_schedule(1.0)


def linear(config: OptimConfig, decay_steps: int) -> Schedule:
    """1 - (1 - f) s / d."""
    return optax.linear_schedule(1.0, config.final_fraction, decay_steps)


def cosine(config: OptimConfig, decay_steps: int) -> Schedule:
    """f + (1 - f) (1 + cos(pi s / d)) / 2 (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    return optax.cosine_decay_schedule(1.0, decay_steps, alpha=config.final_fraction)


def inverse_sqrt(config: OptimConfig, decay_steps: int) -> Schedule:
    """sqrt((w + 1) / (w + 1 + s)), never below f (Vaswani et al. 2017, eq. 3, over its peak)."""
    start = config.warmup_steps + 1
    return lambda step: jnp.maximum(jnp.sqrt(start / (start + step)), config.final_fraction)


def warmup_stable_decay(config: OptimConfig, decay_steps: int) -> Schedule:
    """1, then a line to f over the last `cooldown_steps`, a fifth of the run if 0 (Hu et al. 2024, section 4)."""
    cooldown = cooldown_steps(config, config.warmup_steps + decay_steps)
    line = optax.linear_schedule(1.0, config.final_fraction, cooldown)
    return optax.join_schedules([optax.constant_schedule(1.0), line], [decay_steps - cooldown])


SCHEDULES: dict[str, Callable[[OptimConfig, int], Schedule]] = {
    'constant': constant,
    'linear': linear,
    'cosine': cosine,
    'inverse_sqrt': inverse_sqrt,
    'wsd': warmup_stable_decay,
}


def cooldown_steps(config: OptimConfig, steps: int) -> int:
    """How many steps at the end `wsd` decays in, within what warm-up leaves."""
    return min(config.cooldown_steps or max(steps // 5, 1), max(steps - config.warmup_steps, 1))


def schedule(config: OptimConfig, steps: int) -> Schedule:
    """The function from a step, counted from 0 and maybe traced, to the shape in [0, 1] of a run of `steps`.

    Raises UsageError for an unknown `optim.schedule`.
    """
    warmup = config.warmup_steps
    after = choose(SCHEDULES, config.schedule, 'optim.schedule')(config, max(steps - warmup, 1))
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(1 / (warmup + 1), 1.0, warmup), after], [warmup])
