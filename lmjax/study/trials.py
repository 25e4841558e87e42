"""The runs of a study: which there are, where each lies, and what came out of it. What is on disk is the truth."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lmjax.config import UsageError, differences, from_dict, to_dict
from lmjax.study.fields import split_change
from lmjax.study.spec import Arm, Study, choices, config_of, name_of
from lmjax.training.config import Config
from lmjax.training.metrics import EVENT, read_metrics
from lmjax.training.scores import badness
from lmjax.training.workdir import write_json

SPEC = 'study.json'
TUNING_SEEDS = 1000  # from here on, so that no run is both tuned on and compared
GROWS = ('seeds', 'arms')  # fields that a study which has begun may have more of


class Trial(NamedTuple):
    """One run of a study."""

    arm: Arm
    choice: Arm  # the values of what is tuned
    seed: int
    stage: str  # tune, compare

    @property
    def name(self) -> str:
        return f'{name_of((*self.arm, *self.choice))}, seed {self.seed}'

    @property
    def folder(self) -> str:
        """Below the study's folder; whatever an arm is called, it names one folder there, and another for each arm."""
        return os.path.join('runs', slug(name_of(self.arm)), f'{slug(name_of(self.choice))}-seed{self.seed}')

    def config(self, study: Study) -> Config:
        return config_of(study, self.arm, self.choice, self.seed)


class Result(NamedTuple):
    """What came out of a trial."""

    status: str  # complete, diverged
    value: float  # the score that decides; infinite or -infinite, whichever is worse, of a run that diverged
    record: Mapping[str, Any]  # its last evaluation
    steps: int


def slug(name: str) -> str:
    """A name as that of a folder: what a file system could misread becomes _, and a digest of the name follows."""
    plain = re.sub(r'[^A-Za-z0-9=.-]+', '_', name).strip('._-')[:60]
    return f'{plain or "arm"}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'


def tuning_trials(study: Study) -> list[Trial]:
    """Each arm with each choice on the tuning seeds; none where nothing is tuned."""
    found, seeds = choices(study), range(TUNING_SEEDS, TUNING_SEEDS + study.tune_seeds)
    if len(found) < 2:
        return []
    return [Trial(arm, choice, seed, 'tune') for arm, choice, seed in itertools.product(study.arms, found, seeds)]


def compared_trials(study: Study, chosen: Mapping[Arm, Arm]) -> list[Trial]:
    """Each arm at its choice on the seeds that are compared; none of an arm for which there is no choice."""
    arms = [arm for arm in study.arms if arm in chosen]
    return [Trial(arm, chosen[arm], seed, 'compare') for arm, seed in itertools.product(arms, range(study.seeds))]


def result_of(folder: str, study: Study, trial: Trial) -> Result | None:
    """What came out of a trial, or None while it is not over."""
    records = read_metrics(os.path.join(folder, trial.folder))
    events = [row for row in records if row['split'] == EVENT]
    if any(row['event'] == 'not finite' for row in events):
        return Result('diverged', np.inf if study.lower else -np.inf, {}, max(row['step'] for row in events))
    path = os.path.join(folder, trial.folder, 'run.json')  # written last
    if not any(row['event'] == 'complete' for row in events) or not os.path.isfile(path):
        return None
    valid = [row for row in records if row['split'] == 'valid']
    with open(path, encoding='utf-8') as file:
        step = json.load(file)['outcome_step']
    record = next((row for row in valid if row['step'] == step), valid[-1])
    bad = badness(record, study.decides)
    return Result('complete', bad if study.lower else -bad, record, max(row['step'] for row in valid))


def tuned(study: Study, results: Mapping[Trial, Result]) -> dict[Arm, dict[Arm, float]]:
    """The mean score of each choice of each arm, over the tuning seeds that are known; what diverged counts as the worst."""
    found: dict[Arm, dict[Arm, list[float]]] = {}
    for trial in tuning_trials(study):
        if trial in results:
            found.setdefault(trial.arm, {}).setdefault(trial.choice, []).append(results[trial].value)
    return {arm: {choice: float(np.mean(values)) for choice, values in of.items()} for arm, of in found.items()}


def chosen_of(study: Study, means: Mapping[Arm, Mapping[Arm, float]]) -> dict[Arm, Arm]:
    """The best choice of each arm; of an arm that nothing worked for there is none. Where nothing is tuned, the only one."""
    if not means:
        return {arm: choices(study)[0] for arm in study.arms}
    best = {arm: (min if study.lower else max)(of, key=of.__getitem__) for arm, of in means.items()}
    return {arm: choice for arm, choice in best.items() if np.isfinite(means[arm][choice])}


def at_edge(study: Study, choice: Arm) -> list[str]:
    """The tuned numbers of a choice that are the smallest or the largest that were tried: a better one may lie beyond."""
    tried: dict[str, list[str]] = {}
    for path, value in itertools.chain.from_iterable(map(_parts, choices(study))):
        tried.setdefault(path, []).append(value)
    return [f'{path}={value}' for path, value in _parts(choice) if _is_end(value, tried[path])]


def open_study(folder: str, study: Study) -> Study:
    """Makes the folder hold a study, or go on with the one that it holds; returns that.

    Raises:
      UsageError: it holds another study; seeds and arms may become more, and nothing else may differ.
    """
    os.makedirs(folder, exist_ok=True)
    if os.path.isfile(os.path.join(folder, SPEC)):
        old = read_study(folder)
        for path, (was, now) in differences(old, study).items():
            grown = path in GROWS and (now[: len(was)] == was if path == 'arms' else now > was)
            if not grown and not path.startswith('base.mesh'):
                raise UsageError(f'{path}={now!r}: the study in {folder} has {was!r}; use that, or another --workdir')
    write_json(os.path.join(folder, SPEC), to_dict(study))
    return study


def read_study(folder: str) -> Study:
    """The study that a folder holds. Raises UsageError where it holds none."""
    path = os.path.join(folder, SPEC)
    if not os.path.isfile(path):
        raise UsageError(f'--workdir={folder!r}: holds no study (no {SPEC}); begin one with --config and --vary')
    try:
        with open(path, encoding='utf-8') as file:
            study = from_dict(json.load(file))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f'--workdir={folder!r}: its {SPEC} cannot be read ({error}); restore it or use another') from error
    study.arms = tuple(map(tuple, study.arms))
    return study


def _parts(choice: Arm) -> list[tuple[str, str]]:
    return [split_change(change) for change in choice]


def _is_end(value: str, tried: list[str]) -> bool:
    try:
        numbers = sorted(map(float, tried))
        return float(value) in (numbers[0], numbers[-1])
    except ValueError:
        return False  # a name has no neighbours
