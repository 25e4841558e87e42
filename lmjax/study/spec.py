"""What a study asks: a base config, the arms that change it, how each is tuned, on how many seeds, and what decides."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lmjax.config import UsageError, choose, free_paths, leaves, require
from lmjax.objectives.table import objective_of
from lmjax.study.fields import split_change, split_values, with_fields
from lmjax.study.paired import TESTS, seeds_for, smallest_p
from lmjax.training.config import Config
from lmjax.training.scores import SCORES

Arm = tuple[str, ...]  # 'path=value', each; () is the base itself
BASE = 'base'
RATE = 'optim.learning_rate'
BUDGETS = {'steps': 'optimizer steps', 'tokens': 'tokens read', 'flops': 'operations, by the formula of the report'}
FEWEST = 2  # seeds from which anything is told of chance


@dataclasses.dataclass
class Study:
    """A study; what `get_config()` of a study's file returns. `study.json` holds it as it was begun."""

    base: Config = dataclasses.field(default_factory=Config)
    arms: tuple[Arm, ...] = ()  # the first is what the others are compared with
    seeds: int = 5  # 0, 1, ...: the same for each arm, so that differences are paired
    # 'path=value,value,...': each arm is compared at its own best of these values, of all combinations where there are
    # several; empty: an untuned comparison, which the report says it is
    tune: tuple[str, ...] = ()
    tune_seeds: int = 2  # others than those that are compared
    init: str = ''  # what all start from, as experiments.finetune takes it; empty: from scratch
    metric: str = ''  # of the validation split, by which arms are chosen and compared; empty: train.metric
    budget: str = 'steps'  # what all arms have as much of as the base: a row of BUDGETS
    match: str = ''  # parameters: as many as the base; empty: as many as the arm has
    solve: tuple[str, ...] = ('model.width', 'model.hidden')  # for `match`: the first of these that an arm has is solved for
    test: str = 'student'  # a row of TESTS: student, permutation, wilcoxon
    margin: float = 0.0  # the largest difference that would not matter; 0: none is named, and arms cannot be called equal
    confidence: float = 0.95

    @property
    def decides(self) -> str:
        return self.metric or self.base.train.metric

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return not SCORES[self.decides].higher


def one_factor_out(full: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[Arm, ...]:
    """All of `full`, and for each field all but that one, which is as in `plain`."""
    arms = [full, *({**full, path: plain[path]} for path in full)]
    return tuple(_arm(arm) for arm in arms)


def one_factor_in(changes: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The base, and each change of it alone."""
    return ((), *(_arm({path: value}) for path, value in changes.items()))


def grid(values: Mapping[str, Sequence[Any]]) -> tuple[Arm, ...]:
    """Every combination of the values of each field; the first ones come first."""
    return tuple(_arm(dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values()))


def zipped(values: Mapping[str, Sequence[Any]]) -> tuple[Arm, ...]:
    """The first values of all fields, then the second ones, and so on. Raises UsageError for lists of other lengths."""
    lengths = {path: len(found) for path, found in values.items()}
    require(len(set(lengths.values())) <= 1, 'arms', lengths, 'give each field as many values')
    return tuple(_arm(dict(zip(values, chosen, strict=True))) for chosen in zip(*values.values(), strict=True))


def study_of(base: Config, vary: Sequence[str], **settings: Any) -> Study:
    """The study of a command line: every combination of what is varied.

    A learning rate that is varied beside something else is what each arm is tuned over; by itself it is the arms.

    Raises UsageError for what is no 'path=value,value'.
    """
    values = {path: split_values(text) for path, text in map(split_change, vary)}
    tune: tuple[str, ...] = tuple(settings.pop('tune', ()))
    if RATE in values and len(values) > 1:
        tune = (*tune, f'{RATE}={",".join(values.pop(RATE))}')
    return Study(base=base, arms=grid(values), tune=tune, **settings)


def validate(study: Study) -> None:
    """Raises UsageError, before anything trains, for a study that could not answer."""
    remedy = 'vary something, as in --vary model.norm=layer,rms'
    require(len(study.arms) >= 2, 'arms', [name_of(arm) for arm in study.arms], f'are fewer than two; {remedy}')
    require(study.seeds >= FEWEST, 'seeds', study.seeds, f'one run says nothing of chance; use {FEWEST} or more, as 5')
    require(study.tune_seeds >= 1, 'tune_seeds', study.tune_seeds, 'use 1 or more')
    require(0.5 < study.confidence < 1, 'confidence', study.confidence, 'use a share such as 0.95')
    require(study.margin >= 0, 'margin', study.margin, 'use the largest difference that would not matter, or 0')
    _validate_test(study)
    choose(BUDGETS, study.budget, 'budget')
    require(study.match in ('', 'parameters'), 'match', study.match, "use 'parameters', or leave it out")
    scores = objective_of(study.base.objective).scores
    require(study.decides in scores, 'metric', study.decides, f'choose one of: {", ".join(scores)}')
    seen: dict[str, Arm] = {}
    tuned = {path for path, _ in map(split_change, study.tune)}
    for arm in study.arms:
        for path, value in map(split_change, arm):
            _refuse_reserved(path, value, study.base)
            require(path not in tuned, path, value, 'is what each arm is tuned over; change it in one of the two')
        key = repr(leaves(with_fields(study.base, arm)))
        if key in seen:
            raise UsageError(f'arms={name_of(arm)!r}: changes nothing against {name_of(seen[key])!r}; leave one of the two out')
        seen[key] = arm
    for choice in choices(study):
        with_fields(study.base, choice)


def _validate_test(study: Study) -> None:
    """Refuses a test that could find nothing, however large a difference is."""
    choose(TESTS, study.test, 'test')
    level = (1 - study.confidence) / (len(study.arms) - 1)  # of the clearest of several arms (Holm)
    best, needed = smallest_p(study.test, study.seeds), seeds_for(study.test, level)
    remedy = f"cannot get p below {best:.4g} of {study.seeds} seeds, and {level:.4g} is asked; use {needed} seeds, or 'student'"
    require(best <= level, 'test', study.test, remedy)


def choices(study: Study) -> tuple[Arm, ...]:
    """What each arm is tuned over: every combination of values; one empty choice where nothing is tuned."""
    values = {path: split_values(text) for path, text in map(split_change, study.tune)}
    for path, found in values.items():
        require(len(set(found)) == len(found) > 1, path, found, 'give two or more values to tune over, each once')
    return grid(values)


def name_of(arm: Arm) -> str:
    """The diff of an arm is its name."""
    return ', '.join(arm) or BASE


def config_of(study: Study, arm: Arm, choice: Arm, seed: int) -> Config:
    """The config of one run."""
    config = with_fields(study.base, (*arm, *choice))
    config.name, config.seed, config.next_step = name_of((*arm, *choice)), seed, ''
    config.log = dataclasses.replace(config.log, tensorboard=False, report=False, prompts=())
    config.train = dataclasses.replace(config.train, metric=study.decides)
    return config


def _arm(changes: Mapping[str, Any]) -> Arm:
    return tuple(f'{path}={value}' for path, value in changes.items())


def _refuse_reserved(path: str, value: str, base: Config) -> None:
    if path == 'seed':
        raise UsageError(f'seed={value}: every arm runs on the same seeds; say how many with --seeds')
    if path in free_paths(base) and not path.startswith(('mesh', 'sample')):
        raise UsageError(f'{path}={value}: changes nothing that is learned; vary another field')
