"""Which checkpoints stay."""

from __future__ import annotations

import math
from collections.abc import Mapping


def best_first(metrics: Mapping[int, float | None]) -> list[int]:
    """The steps that have a finite metric, the lowest first; of equals the newest first."""
    scored = [(value, -step) for step, value in metrics.items() if value is not None and math.isfinite(value)]
    return [-step for _, step in sorted(scored)]


def doomed(metrics: Mapping[int, float | None], *, keep_latest: int, keep_best: int) -> list[int]:
    """Steps to delete, the oldest first, of step -> metric; the newest always stays."""
    newest = sorted(metrics)[-max(keep_latest, 1) :]
    kept = {*newest, *best_first(metrics)[: max(keep_best, 0)]}
    return [step for step in sorted(metrics) if step not in kept]
