"""The newest and the best stay."""

import jax.numpy as jnp
import pytest

from lmjax.training.checkpoint import Checkpointer
from lmjax.training.checkpoint.retention import best_first, doomed


@pytest.mark.parametrize(
    ('metrics', 'latest', 'best', 'gone'),
    [
        ({1: 5.0, 2: 4.0, 3: 6.0, 4: 7.0}, 2, 1, [1]),
        ({1: 5.0, 2: 4.0, 3: 6.0, 4: 7.0}, 1, 2, [3]),
        ({1: 5.0, 2: 4.0, 3: 6.0, 4: 7.0}, 1, 0, [1, 2, 3]),
        ({1: 5.0, 2: 4.0}, 0, 0, [1]),
        ({1: None, 2: float('nan'), 3: 9.0, 4: None}, 1, 1, [1, 2]),
        ({7: 1.0}, 3, 3, []),
        ({}, 1, 1, []),
    ],
)
def test_doomed(metrics, latest, best, gone):
    assert doomed(metrics, keep_latest=latest, keep_best=best) == gone


def test_of_equals_the_newest_is_best():
    assert best_first({1: 2.0, 2: 1.0, 3: 1.0, 4: None}) == [3, 2, 1]


def test_saves_keep_the_newest_and_the_best(tmp_path):
    checkpoints = Checkpointer(tmp_path, 2, 1)
    for step, metric in [(10, 1.0), (2, 3.0), (30, 2.0), (40, 4.0)]:
        checkpoints.save(step, {'x': jnp.full(2, step)}, {}, metric)
    assert checkpoints.steps() == [10, 30, 40]
    assert checkpoints.latest() == 40
    assert checkpoints.best() == 10
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['10', '30', '40']
