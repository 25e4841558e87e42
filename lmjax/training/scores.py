"""What an evaluation may report: how it is written for people, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Score(NamedTuple):
    form: str = '.3f'
    higher: bool = False  # is better


SCORES = {
    'loss_nats': Score('.4f'),
    'perplexity': Score(),
    'bits_per_byte': Score(),
    'accuracy': Score(higher=True),
    'likelier': Score(higher=True),
    'margin': Score(higher=True),
    'chosen_nats': Score('.4f'),
    'mrr': Score(higher=True),
    **{f'hits@{count}': Score(higher=True) for count in (1, 3, 10)},
    'f1': Score(higher=True),
    'mcc': Score(higher=True),
    'calibration_error': Score(),
    'micro_f1': Score(higher=True),
    'span_f1': Score(higher=True),
    'squared_error': Score('.4f'),
    'pearson': Score(higher=True),
    'spearman': Score(higher=True),
    'alignment': Score(),
    'uniformity': Score(),
}


def unit_of(record: Mapping[str, Any]) -> str:
    """What the loss of an evaluation is the mean over."""
    return next((unit for unit in ('word', 'text') if f'{unit}s' in record), 'token')


def badness(record: Mapping[str, Any], name: str) -> float:
    """A score of an evaluation turned so that less is better; infinite where it is no number."""
    value = record.get(name)
    if not isinstance(value, int | float) or math.isnan(value):
        return math.inf
    return -value if SCORES[name].higher else float(value)
