"""Schedules: their closed forms at the ends and between, from Python numbers and traced steps alike."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.optim import schedule
from lmjax.optim.config import OptimConfig
from lmjax.optim.schedules import SCHEDULES

STEPS, WARMUP, FINAL = 100, 9, 0.25
NAMES = list(SCHEDULES)


def shape(name, *steps, warmup=WARMUP, **fields):
    """The values at some steps, each through a traced step as the optimizer has it."""
    config = OptimConfig(schedule=name, warmup_steps=warmup, final_fraction=FINAL, **fields)
    return np.asarray(jax.jit(jax.vmap(lambda step: jnp.float32(schedule(config, STEPS)(step))))(jnp.array(steps)))


@pytest.mark.parametrize('name', NAMES)
def test_warm_up_is_a_line_from_its_first_step_to_one(name):
    np.testing.assert_allclose(shape(name, *range(WARMUP + 1)), np.arange(1, WARMUP + 2) / (WARMUP + 1), rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_without_warm_up_the_first_step_is_the_peak(name):
    assert shape(name, 0, warmup=0) == 1.0


@pytest.mark.parametrize(
    ('name', 'end'),
    [
        ('constant', 1.0),
        ('linear', FINAL),
        ('cosine', FINAL),
        ('wsd', FINAL),
        ('inverse_sqrt', math.sqrt((WARMUP + 1) / (STEPS + 1))),
    ],
)
def test_the_end(name, end):
    np.testing.assert_allclose(shape(name, STEPS), end, rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_never_rises_after_warm_up_and_stays_in_range(name):
    values = shape(name, *range(WARMUP, STEPS + 20))
    assert (np.diff(values) <= 1e-6).all()
    assert values.min() >= FINAL - 1e-6
    assert values.max() == 1.0


def test_middles():
    half, quarter = WARMUP + 46, WARMUP + 23  # STEPS - WARMUP = 91, so not quite
    np.testing.assert_allclose(shape('linear', half), 1 - (1 - FINAL) * 46 / 91, rtol=1e-6)
    wanted = [FINAL + (1 - FINAL) * (1 + math.cos(math.pi * s / 91)) / 2 for s in (23, 46)]
    np.testing.assert_allclose(shape('cosine', quarter, half), wanted, rtol=1e-6)
    np.testing.assert_allclose(shape('inverse_sqrt', 39), 0.5, rtol=1e-6)  # sqrt(10 / 40)


def test_inverse_sqrt_has_a_floor():
    assert shape('inverse_sqrt', 10_000) == FINAL


def test_wsd_is_stable_until_the_cooldown():
    values = shape('wsd', WARMUP, 50, 90, 95, 99, cooldown_steps=10)
    np.testing.assert_allclose(values, [1, 1, 1, (1 + FINAL) / 2, 1 - (1 - FINAL) * 0.9], rtol=1e-6)


def test_wsd_cools_down_for_a_fifth_by_default():
    np.testing.assert_allclose(shape('wsd', 80, 90), [1, (1 + FINAL) / 2], rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_a_run_shorter_than_its_warm_up_only_warms_up(name):
    values = shape(name, *range(STEPS), warmup=STEPS)
    np.testing.assert_allclose(values, np.arange(1, STEPS + 1) / (STEPS + 1), rtol=1e-6)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UsageError, match=r"optim\.schedule='cosin': .*cosine"):
        schedule(OptimConfig(schedule='cosin'), STEPS)
