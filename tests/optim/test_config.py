"""Values out of range are refused by name."""

import math

import pytest

from lmjax.config import UsageError
from lmjax.optim.config import OptimConfig, validate

BAD = {
    'optimizer': 'admw',
    'schedule': 'cos',
    'learning_rate': 0.0,
    'eps': 0.0,
    'momentum': 1.0,
    'beta1': -0.1,
    'beta2': 1.0,
    'ema': 1.5,
    'weight_decay': -1.0,
    'clip_norm': math.nan,
    'warmup_steps': -1,
    'cooldown_steps': -1,
    'final_fraction': 1.1,
}


def test_the_default_is_valid():
    validate(OptimConfig(), steps=1)


@pytest.mark.parametrize('field', BAD)
def test_a_bad_value_is_named(field):
    with pytest.raises(UsageError, match=rf'^optim\.{field}={BAD[field]!r}: \w'):
        validate(OptimConfig(**{field: BAD[field]}))


def test_an_infinite_learning_rate_is_refused():
    with pytest.raises(UsageError, match=r'optim\.learning_rate=inf'):
        validate(OptimConfig(learning_rate=math.inf))


def test_phases_must_fit_the_run():
    validate(OptimConfig(warmup_steps=19), steps=20)
    with pytest.raises(UsageError, match=r'optim\.warmup_steps=20: the run has only 20 steps; try 2$'):
        validate(OptimConfig(warmup_steps=20), steps=20)
    wsd = OptimConfig(schedule='wsd', warmup_steps=10, cooldown_steps=11)
    validate(wsd, steps=21)
    with pytest.raises(UsageError, match=r'optim\.cooldown_steps=11: warm-up leaves 10 of 20 steps; try 4$'):
        validate(wsd, steps=20)
