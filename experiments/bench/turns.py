"""Timing several programs in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

TURN_SECONDS = 0.4  # about how long one turn of a program lasts
PAUSE_SECONDS = 0.25  # between turns: idle worker threads of the last program may spin for up to 200 ms


def time_in_turns(steps: Mapping[str, Callable[[int], None]], *, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each program, one figure a round; `steps[name](n)` runs n steps and waits for the last.

    Each turn begins with an untimed step, which finds its data in the caches that the other program left.
    """
    counts = {}
    for name, run in steps.items():
        run(3)
        began = time.perf_counter()
        run(2)
        counts[name] = max(1, min(50, round(2 * TURN_SECONDS / (time.perf_counter() - began))))
    figures: dict[str, list[float]] = {name: [] for name in steps}
    for name in turns(steps, rounds=rounds):
        steps[name](1)
        began = time.perf_counter()
        steps[name](counts[name])
        figures[name].append(1e3 * (time.perf_counter() - began) / counts[name])
    return figures


def turns(names: Iterable[str], *, rounds: int) -> Iterator[str]:
    """Whose turn it is, after a pause: each name once a round."""
    names = sorted(names)
    for turn in range(rounds):
        # the order is turned round each time: no program is always the one that follows the other
        for name in reversed(names) if turn % 2 else names:
            time.sleep(PAUSE_SECONDS)
            yield name


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Median, minimum and maximum, and the middle half, in milliseconds."""
    lower, _, upper = statistics.quantiles(milliseconds, n=4) if len(milliseconds) > 1 else milliseconds * 3
    return {
        'median_ms': statistics.median(milliseconds),
        'min_ms': min(milliseconds),
        'max_ms': max(milliseconds),
        'lower_quartile_ms': lower,
        'upper_quartile_ms': upper,
    }
