"""What a study says: each arm's scores, its difference from the first arm by seed, and a verdict in a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmjax.study.paired import (
    TESTS,
    difference_interval,
    effect_size,
    equivalence_test,
    holm,
    seeds_needed,
    smallest_shown,
)
from lmjax.study.spec import Arm, Study, choices, name_of
from lmjax.study.statistics import Interval, mean_interval
from lmjax.study.trials import Result, Trial, at_edge, chosen_of, compared_trials, tuned, tuning_trials


@dataclasses.dataclass
class Difference:
    """An arm against the first one, seed by seed; the numbers are nan where fewer than two seeds are known."""

    values: list[float]  # one a seed; below 0: the arm's score is the smaller one
    interval: Interval
    p: float  # of the study's test, adjusted for the number of arms
    size: float  # in standard deviations of the differences
    shown: float  # the smallest mean difference that so many seeds would have shown, four times of five
    needed: int | None  # seeds with which the study's margin would be, where it names one
    equal: float | None  # p-value of the difference being as large as the margin, adjusted alike


@dataclasses.dataclass
class ArmResult:
    """What one arm came to."""

    arm: Arm
    choice: Arm | None  # what it was compared at; None: nothing that was tried works
    tried: dict[Arm, float]  # the mean score of each choice on the tuning seeds
    edges: list[str]  # tuned values at the end of what was tried
    scores: dict[int, float]  # by seed
    diverged: int  # of the runs that are compared
    mean: Interval
    difference: Difference | None = None  # None of the first arm

    @property
    def name(self) -> str:
        return name_of(self.arm)


@dataclasses.dataclass
class Answer:
    """What a study says, as far as its trials are over."""

    study: Study
    arms: list[ArmResult]
    done: int
    wanted: int  # trials, as far as it is known how many there are
    verdicts: list[str]  # a sentence for each arm after the first
    caveats: list[str]  # what stands against believing them

    @property
    def over(self) -> bool:
        return self.done == self.wanted


def analyse(study: Study, results: Mapping[Trial, Result]) -> Answer:
    """The answer of a study to what is known of its trials."""
    means = tuned(study, results)
    tuning = tuning_trials(study)
    chosen = chosen_of(study, means) if all(trial in results for trial in tuning) else {}
    trials = compared_trials(study, chosen)
    arms = [_arm_result(study, arm, chosen.get(arm), means.get(arm, {}), results) for arm in study.arms]
    _compare(study, arms)
    known = sum(trial in results for trial in (*tuning, *trials))
    wanted = len(tuning) + len(trials)
    verdicts = [verdict(study, arms[0], arm) for arm in arms[1:]]
    return Answer(study, arms, known, wanted, verdicts, caveats(study, arms, wanted - known))


def verdict(study: Study, base: ArmResult, arm: ArmResult) -> str:
    """What can be said of an arm against the first one, in a sentence with its interval."""
    found, unit = arm.difference, study.decides
    if found is None or np.isnan(found.interval.low):
        return f'{arm.name} against {base.name}: not known yet, since fewer than two seeds of both are over.'
    said = f'{unit} differs by {found.interval.said("+.4f")}'
    if base.diverged or arm.diverged:
        return f'{arm.name} against {base.name}: no verdict, since runs diverged; of the others {said}.'
    if base.edges or arm.edges:
        edges = ', '.join(dict.fromkeys([*base.edges, *arm.edges]))
        return (
            f'{arm.name} against {base.name}: no verdict, since the best value lies at the end of its range ({edges}); {said}.'
        )
    level = 1 - study.confidence
    if found.p <= level:
        better = (found.interval.mean < 0) == study.lower
        return f'{arm.name} is {"better" if better else "worse"} than {base.name}: {said}, p = {found.p:.3g}.'
    if found.equal is not None and found.equal <= level:
        return (
            f'{arm.name} and {base.name} are equal for what matters: {said}, within {study.margin:g} (p = {found.equal:.3g}).'
        )
    shown = f'a difference of {found.shown:.2g} would have been shown four times of five'
    needed = f', and {found.needed:,} seeds would show {study.margin:g}' if found.needed else ''
    return f'{arm.name} is not shown to differ from {base.name}: {said}; {shown}{needed}.'


def caveats(study: Study, arms: Sequence[ArmResult], left: int) -> list[str]:
    """What a reader must know before believing the verdicts."""
    found = []
    if left:
        found.append(f'{left} trials are not over: everything here may change.')
    if len(choices(study)) < 2:
        found.append('Nothing was tuned: every arm has the values of the base, which may suit one better than another.')
    for arm in arms:
        if arm.choice is None and not left:
            found.append(f'{arm.name}: no value that was tried works.')
        if arm.edges:
            edges = ', '.join(arm.edges)
            found.append(f'{arm.name}: {edges} is at the end of what was tried; try values beyond it before believing.')
        if arm.diverged:
            runs = len(arm.scores) + arm.diverged
            found.append(f'{arm.name}: {arm.diverged} of {runs} runs diverged; the mean is of the others.')
    return found


def _arm_result(
    study: Study, arm: Arm, choice: Arm | None, tried: dict[Arm, float], results: Mapping[Trial, Result]
) -> ArmResult:
    of_arm = {} if choice is None else {trial: results.get(trial) for trial in compared_trials(study, {arm: choice})}
    scores = {trial.seed: found.value for trial, found in of_arm.items() if found and np.isfinite(found.value)}
    diverged = sum(1 for found in of_arm.values() if found and not np.isfinite(found.value))
    mean = mean_interval(np.array(list(scores.values())), confidence=study.confidence) if scores else _unknown()
    edges = at_edge(study, choice) if tried and choice else []
    return ArmResult(arm, choice, tried, edges, scores, diverged, mean)


def _compare(study: Study, arms: Sequence[ArmResult]) -> None:
    """Sets the difference of each arm from the first, its p-values adjusted over all arms that have one."""
    base, level = arms[0], 1 - study.confidence
    for arm in arms[1:]:
        seeds = sorted(set(base.scores) & set(arm.scores))
        values = [arm.scores[seed] - base.scores[seed] for seed in seeds]
        arm.difference = Difference(values, _unknown(values), np.nan, np.nan, np.nan, None, None)
    known = [arm.difference for arm in arms[1:] if arm.difference and len(arm.difference.values) > 1]
    for found in known:
        spread = float(np.std(found.values, ddof=1))
        found.interval = difference_interval(found.values, confidence=study.confidence)
        found.size = effect_size(found.values)
        found.shown = smallest_shown(spread, len(found.values), level=level)
        found.needed = seeds_needed(study.margin, spread, level=level) if study.margin else None
    for found, p in zip(known, holm([TESTS[study.test](found.values) for found in known]), strict=True):
        found.p = p
    if study.margin:
        for found, p in zip(known, holm([equivalence_test(found.values, study.margin) for found in known]), strict=True):
            found.equal = p


def strict(value: Any) -> Any:
    """The same with None for what is no number, as JSON has it."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: strict(part) for name, part in value.items()}
    return [strict(part) for part in value] if isinstance(value, list | tuple) else value


def _unknown(values: Sequence[float] = ()) -> Interval:
    return Interval(float(np.mean(values)) if values else np.nan, np.nan, np.nan)


def as_record(answer: Answer) -> dict[str, Any]:
    """The answer in plain numbers, for JSON and CSV."""
    arms = []
    for arm in answer.arms:
        row: dict[str, Any] = {
            'arm': arm.name,
            'chosen': name_of(arm.choice) if arm.choice else None,
            'scores': {str(seed): value for seed, value in arm.scores.items()},
            'diverged': arm.diverged,
            'mean': list(arm.mean),
        }
        if arm.difference:
            found = dataclasses.asdict(arm.difference)
            row['difference'] = {**found, 'interval': list(arm.difference.interval)}
        arms.append(row)
    record = {
        'metric': answer.study.decides,
        'done': answer.done,
        'wanted': answer.wanted,
        'arms': arms,
        'verdicts': answer.verdicts,
        'caveats': answer.caveats,
    }
    return strict(record)
