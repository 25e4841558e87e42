"""What a study looks like: differences with their intervals, curves with bands, what tuning found, and what a score costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lmjax.study.analysis import Answer, ArmResult
from lmjax.study.fields import split_change
from lmjax.study.tables import Cost
from lmjax.study.trials import compared_trials
from lmjax.training.figures import FAINT, INK, SERIES, picture
from lmjax.training.metrics import read_metrics
from lmjax.training.progress import count

SHOWN = len(SERIES)  # arms whose curves one picture holds
Curve = tuple[np.ndarray, np.ndarray]  # where, and the score there


def forest(answer: Answer) -> str:
    """The difference of each arm from the first, with its interval; to one side of 0 the arm is better."""
    known = [(arm, arm.difference) for arm in answer.arms[1:] if arm.difference]
    shown = [(arm.name, found.values, found.interval) for arm, found in known if found.values]
    if not shown:
        return ''

    def plot(axes: Any) -> None:
        for at, (_, values, found) in enumerate(shown):
            axes.plot(values, [at - 0.22] * len(values), '.', color=INK, alpha=0.4)
            if np.isfinite(found.low):
                axes.plot([found.low, found.high], [at, at], color=SERIES[0], linewidth=2.2)
            axes.plot([found.mean], [at], 's', color=SERIES[0], markersize=6)
        axes.axvline(0, color=INK, linewidth=0.9)
        if answer.study.margin:
            axes.axvspan(-answer.study.margin, answer.study.margin, color=FAINT, alpha=0.6, linewidth=0)
        axes.set_yticks(range(len(shown)), [_plain(name) for name, _, _ in shown], parse_math=False)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.margins(x=0.08)

    side = 'left' if answer.study.lower else 'right'
    label = f'{answer.study.decides}: difference from {_plain(answer.arms[0].name)} ({side} of 0 is better)'
    return picture('forest', plot, label=label, along='difference', height=1.3 + 0.42 * len(shown))


def curves(folder: str, answer: Answer, costs: Mapping[str, Cost]) -> list[str]:
    """The score of evaluations by step, by operations and by time: the mean over seeds, and the range of them as a band."""
    kinds: dict[str, Callable[[str, Cost], Curve]] = {
        'step': lambda path, _: _evaluations(path, answer.study.decides),
        'FLOPs': lambda path, cost: _by_flops(path, answer.study.decides, cost),
        'seconds of training': lambda path, _: _by_seconds(path, answer.study.decides),
    }
    return [_curve_picture(folder, answer, costs, along, read) for along, read in kinds.items()]


def responses(answer: Answer) -> list[str]:
    """For each tuned number the mean score of its values on the tuning seeds, an arm a line."""
    paths = list(dict.fromkeys(path for path, _ in map(split_change, answer.study.tune)))
    return [_response(answer, path) for path in paths]


def pareto(answer: Answer, costs: Mapping[str, Cost]) -> str:
    """Score against operations of a run; the line joins the arms that none beats in both (Pareto's front)."""
    points = [(arm, costs[arm.name].flops) for arm in answer.arms if arm.scores and costs[arm.name].flops]
    work = [flops for _, flops in points]
    if len(points) < 2 or max(work) < 1.01 * min(work):  # type: ignore[type-var, operator]
        return ''
    sign = 1 if answer.study.lower else -1
    front: list[tuple[float, float]] = []
    for flops, score in sorted((float(flops or 0), sign * arm.mean.mean) for arm, flops in points):
        if not front or score < front[-1][1]:
            front.append((flops, score))

    def plot(axes: Any) -> None:
        axes.plot([x for x, _ in front], [sign * y for _, y in front], color=FAINT, linewidth=2)
        for at, (arm, flops) in enumerate(points):
            axes.plot([flops], [arm.mean.mean], 'o', color=_color(at), label=_plain(arm.name))
        axes.set_xscale('log')
        axes.legend(frameon=False, labelcolor=INK)

    return picture('pareto', plot, label=answer.study.decides, along='FLOPs of a run')


def _curve_picture(
    folder: str, answer: Answer, costs: Mapping[str, Cost], along: str, read: Callable[[str, Cost], Curve]
) -> str:
    found: list[tuple[ArmResult, list[Curve]]] = []
    for arm in answer.arms[:SHOWN]:
        trials = compared_trials(answer.study, {arm.arm: arm.choice}) if arm.choice is not None else []
        runs = [read(os.path.join(folder, trial.folder), costs[arm.name]) for trial in trials]
        if runs := [run for run in runs if len(run[0]) > 1]:
            found.append((arm, runs))
    if not found:
        return ''

    def plot(axes: Any) -> None:
        for at, (arm, runs) in enumerate(found):
            _band(axes, runs, _color(at), _plain(arm.name))
        axes.legend(frameon=False, labelcolor=INK, handlelength=1.4)
        axes.xaxis.set_major_formatter(lambda value, _: count(value) if value >= 1000 else f'{value:g}')

    return picture(f'curves-{along.split()[0].lower()}', plot, label=f'validation {answer.study.decides}', along=along)


def _band(axes: Any, runs: Sequence[Curve], color: str, label: str) -> None:
    """The mean of runs, and from the lowest to the highest, where all of them are."""
    size = min(len(where) for where, _ in runs)
    where = np.mean([where[:size] for where, _ in runs], axis=0)
    scores = np.array([values[:size] for _, values in runs])
    axes.fill_between(where, scores.min(axis=0), scores.max(axis=0), color=color, alpha=0.2, linewidth=0)
    axes.plot(where, scores.mean(axis=0), color=color, linewidth=1.7, marker='o', markersize=3, label=label)


def _response(answer: Answer, path: str) -> str:
    lines = []
    for arm in answer.arms[:SHOWN]:
        found: dict[str, list[float]] = {}
        for choice, score in arm.tried.items():
            found.setdefault(dict(map(split_change, choice))[path], []).append(score)
        best = {value: (min if answer.study.lower else max)(scores) for value, scores in found.items()}
        if points := _numbers(best):
            lines.append((arm, points))
    if not lines:
        return ''

    def plot(axes: Any) -> None:
        for at, (arm, points) in enumerate(lines):
            axes.plot(*zip(*points, strict=True), color=_color(at), marker='o', markersize=4, label=_plain(arm.name))
        if all(x > 0 for _, points in lines for x, _ in points):
            axes.set_xscale('log')
        axes.legend(frameon=False, labelcolor=INK)

    return picture(f'response-{path.replace(".", "-")}', plot, label=f'{answer.study.decides} on the tuning seeds', along=path)


def _numbers(scores: Mapping[str, float]) -> list[tuple[float, float]]:
    try:
        points = sorted((float(value), score) for value, score in scores.items())
    except ValueError:
        return []
    return [(value, score) for value, score in points if np.isfinite(score)]


def _evaluations(path: str, metric: str) -> Curve:
    rows = [row for row in read_metrics(path, 'valid') if isinstance(row.get(metric), int | float)]
    return np.array([row['step'] for row in rows], float), np.array([row[metric] for row in rows], float)


def _by_flops(path: str, metric: str, cost: Cost) -> Curve:
    steps, scores = _evaluations(path, metric)
    return (steps * (cost.flops or 0) / max(steps, default=1), scores) if cost.flops else (np.array([]), scores)


def _by_seconds(path: str, metric: str) -> Curve:
    """Time as the tokens of each record over its speed, so that evaluations and stops do not count."""
    steps, scores = _evaluations(path, metric)
    train = [row for row in read_metrics(path, 'train') if row.get('tokens_per_second')]
    if not train:
        return np.array([]), scores
    spent = np.cumsum([row['tokens'] / row['tokens_per_second'] for row in train])
    return np.interp(steps, [row['step'] for row in train], spent), scores


def _color(at: int) -> str:
    return SERIES[at % len(SERIES)]


def _plain(name: str) -> str:
    """What matplotlib writes as it stands."""
    return name.replace('$', r'\$') if len(name) <= 60 else name[:57].replace('$', r'\$') + '...'
