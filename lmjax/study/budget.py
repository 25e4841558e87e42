"""Arms that cost the same: as many tokens or operations as the base, or as many parameters, by a field that is solved for."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from lmjax.config import UsageError, leaves, require
from lmjax.study.fields import split_change, with_fields
from lmjax.study.spec import Arm, Study, name_of
from lmjax.training.config import Config

TOLERANCE = 0.02  # by which parameters may differ from the base's
UNITS = (1, 2, 4, 8, 16, 32, 64, 128)  # of a solved field: a width must be divisible by heads, a head by 2
STEPS = 'train.steps'
MOST = 1 << 16


class Cost(NamedTuple):
    """What a config's run takes."""

    parameters: int
    tokens: int  # of a step
    flops: float  # of a step


def solved(study: Study, vocab_size: int) -> Study:
    """The study with the arms that fit its budget: what was solved for is part of each arm, and of its name.

    Raises:
      UsageError: an arm sets what is solved for, or no value comes near enough.
    """
    if study.budget == 'steps' and not study.match:
        return study
    target = cost_of(study.base, vocab_size)
    arms = [_with_parameters(study, arm, target, vocab_size) if study.match else arm for arm in study.arms]
    if study.budget != 'steps':
        arms = [_with_steps(study, arm, target, vocab_size) for arm in arms]
    return dataclasses.replace(study, arms=tuple(arms), budget='steps', match='')


def cost_of(config: Config, vocab_size: int) -> Cost:
    """Counted from shapes; nothing is computed. Raises UsageError for a config that cannot be built."""
    from lmjax.models.params import count_params
    from lmjax.training.finish import flops_per_token
    from lmjax.training.network import network_of
    from lmjax.training.state import hparams_of
    from lmjax.training.validate import validate

    validate(config)
    model = network_of(config, vocab_size)
    shapes = jax.eval_shape(model.init, jax.random.key(0), hparams_of(config))
    tokens = config.train.batch_size * config.data.seq_len
    return Cost(count_params(shapes), tokens, flops_per_token(config, model, shapes) * tokens)


def _with_steps(study: Study, arm: Arm, target: Cost, vocab_size: int) -> Arm:
    """The arm with as many steps as the budget pays for."""
    config = with_fields(study.base, arm)
    require(
        config.data.layout == 'windows', 'budget', study.budget, "needs data.layout='windows', whose steps all cost the same"
    )
    require(not config.train.epochs, 'budget', study.budget, 'needs train.steps; set train.epochs to 0')
    _refuse_set(arm, STEPS, study.budget)
    cost = cost_of(config, vocab_size)
    ratio = {'tokens': target.tokens / cost.tokens, 'flops': target.flops / cost.flops}[study.budget]
    steps = round(study.base.train.steps * ratio)
    require(steps >= 1, 'budget', study.budget, f'{name_of(arm)} gets no step for it; give the base more steps')
    return arm if steps == study.base.train.steps else (*arm, f'{STEPS}={steps}')


def _with_parameters(study: Study, arm: Arm, target: Cost, vocab_size: int) -> Arm:
    """The arm with the width at which its parameters are nearest to the base's."""
    config = with_fields(study.base, arm)
    known = leaves(config)
    path = next((path for path in study.solve if path in known), '')
    require(bool(path), 'solve', study.solve, f'{name_of(arm)} has none of these fields; name one that it has')
    _refuse_set(arm, path, study.match)
    if abs(cost_of(config, vocab_size).parameters / target.parameters - 1) < 1e-9:
        return arm
    unit = _unit_of(config, path, int(known[path]))
    count = lambda times: cost_of(with_fields(config, (f'{path}={unit * times}',)), vocab_size).parameters  # noqa: E731
    low, high = 1, 2
    while count(high) < target.parameters and high * unit < MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target.parameters else (low, middle)
    best = min((low, high), key=lambda times: abs(count(times) - target.parameters))
    found = count(best)
    remedy = f'{name_of(arm)} comes no nearer to {target.parameters:,} parameters than {found:,}, at {path}={unit * best}'
    require(abs(found / target.parameters - 1) <= TOLERANCE, 'match', study.match, remedy)
    return (*arm, f'{path}={unit * best}')


def _unit_of(config: Config, path: str, value: int) -> int:
    """The smallest number whose multiples the field may have."""
    for unit in UNITS:
        times = -(-value // unit)
        if all(_is_valid(with_fields(config, (f'{path}={unit * (times + more)}',))) for more in range(3)):
            return unit
    raise UsageError(f'{path}={value}: no multiples of {UNITS[-1]} or less fit the other fields; solve for another field')


def _is_valid(config: Config) -> bool:
    from lmjax.training.validate import validate

    try:
        validate(config)
    except UsageError:
        return False
    return True


def _refuse_set(arm: Arm, path: str, wanted: str) -> None:
    if path in dict(map(split_change, arm)):
        raise UsageError(f'{name_of(arm)}: {path} is solved for (as many {wanted} as the base has); leave it out of the arm')
