"""Which trials a study has, where they lie, what came out of them and what that says."""

import dataclasses
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lmjax import Config, UsageError
from lmjax.config import to_dict
from lmjax.study import ledger
from lmjax.study.analysis import analyse, as_record
from lmjax.study.spec import Study
from lmjax.study.tables import rows_of, to_csv, to_latex, to_markdown
from lmjax.study.trials import (
    Result,
    Trial,
    at_edge,
    chosen_of,
    compared_trials,
    open_study,
    read_study,
    result_of,
    slug,
    tuned,
    tuning_trials,
)

A, B = ('model.norm=layer',), ('model.norm=rms',)
HOLDER = """
import sys
from lmjax.study import ledger
with ledger.claimed(sys.argv[1], 'runs/a/b') as mine:
    print(mine, flush=True)
    input()
"""
RATES = ('optim.learning_rate=1e-3,3e-3,1e-2',)


def rate(value):
    return (f'optim.learning_rate={value}',)


def told(trials, score):
    """Results of trials whose score a function says; None: diverged."""
    found = {}
    for trial in trials:
        value = score(trial)
        found[trial] = Result('diverged', np.inf, {}, 3) if value is None else Result('complete', value, {}, 9)
    return found


def answer_of(study, score, tune=lambda trial: {'1e-3': 2.0, '3e-3': 1.0, '1e-2': 3.0}[trial.choice[0].split('=')[1]]):
    results = told(tuning_trials(study), tune)
    chosen = chosen_of(study, tuned(study, results))
    return analyse(study, results | told(compared_trials(study, chosen), score))


def test_every_arm_is_tuned_on_seeds_that_are_not_compared():
    study = Study(arms=(A, B), seeds=3, tune=RATES, tune_seeds=2)
    tuning = tuning_trials(study)
    assert len(tuning) == len(set(tuning)) == 2 * 3 * 2
    compared = compared_trials(study, {A: rate('1e-3'), B: rate('1e-2')})
    assert [(trial.arm, trial.choice, trial.seed) for trial in compared[2:4]] == [(A, rate('1e-3'), 2), (B, rate('1e-2'), 0)]
    assert not {trial.seed for trial in tuning} & {trial.seed for trial in compared}
    assert tuning_trials(Study(arms=(A, B))) == []


def test_each_arm_has_its_own_best_and_what_diverged_is_never_it():
    study = Study(arms=(A, B), tune=RATES, tune_seeds=1)
    scores = {(A, '1e-3'): 2.0, (A, '3e-3'): 1.0, (A, '1e-2'): None, (B, '1e-3'): None, (B, '3e-3'): 3.0, (B, '1e-2'): 2.5}
    results = told(tuning_trials(study), lambda trial: scores[trial.arm, trial.choice[0].split('=')[1]])
    assert chosen_of(study, tuned(study, results)) == {A: rate('3e-3'), B: rate('1e-2')}
    assert at_edge(study, rate('3e-3')) == []
    assert at_edge(study, rate('1e-2')) == ['optim.learning_rate=1e-2']
    nothing = told(tuning_trials(study), lambda trial: None if trial.arm == B else 1.0)
    assert list(chosen_of(study, tuned(study, nothing))) == [A]
    higher = Study(arms=(A, B), tune=RATES, tune_seeds=1, metric='accuracy')
    assert chosen_of(higher, tuned(higher, told(tuning_trials(higher), lambda trial: float('3e-3' in trial.choice[0]))))[
        A
    ] == rate('3e-3')


def test_names_of_folders_stay_in_the_folder_and_apart():
    hostile = ["optim.rates=('../../etc=1',)", '..', 'a/b', 'a\\b', 'a b', 'a\x00b', 'x' * 300, '']
    slugs = [slug(name) for name in hostile]
    assert len(set(slugs)) == len(hostile)
    for name in slugs:
        assert os.path.basename(name) == name
        assert name not in ('.', '..')
        assert len(name) < 80
    trial = Trial(("data.source='../../../x'",), (), 0, 'compare')
    assert not os.path.relpath(os.path.join('/study', trial.folder), '/study').startswith('..')


def test_a_difference_that_is_there_is_said_with_its_interval():
    study = Study(arms=(A, B), seeds=5, tune=RATES)
    answer = answer_of(study, lambda trial: trial.seed + (0.0 if trial.arm == A else -0.2 + 0.01 * trial.seed))
    assert answer.over
    assert answer.arms[1].difference.interval.mean == pytest.approx(-0.18)
    assert answer.verdicts[0].startswith('model.norm=rms is better than model.norm=layer: loss_nats differs by -0.1800 (-0.19')
    assert answer.caveats == []
    score = lambda trial: trial.seed + (0.0 if trial.arm == A else -0.2 + 0.01 * trial.seed)  # noqa: E731
    higher = dataclasses.replace(study, metric='accuracy')
    worse = answer_of(higher, score, tune=lambda trial: float('3e-3' in trial.choice[0]))
    assert ' is worse than ' in worse.verdicts[0]


def test_chance_is_called_chance_and_likeness_likeness():
    noise = {0: 0.01, 1: -0.012, 2: 0.004, 3: -0.006, 4: 0.003}
    score = lambda trial: trial.seed + (noise[trial.seed] if trial.arm == B else 0.0)  # noqa: E731
    plain = answer_of(Study(arms=(A, B), tune=RATES), score)
    assert 'is not shown to differ' in plain.verdicts[0]
    assert f'a difference of {plain.arms[1].difference.shown:.2g} would have been shown' in plain.verdicts[0]
    wide = answer_of(Study(arms=(A, B), tune=RATES, margin=0.02), score)
    assert 'are equal for what matters' in wide.verdicts[0]
    narrow = answer_of(Study(arms=(A, B), tune=RATES, margin=0.001), score)
    assert f'{narrow.arms[1].difference.needed:,} seeds would show 0.001' in narrow.verdicts[0]


def test_the_end_of_a_range_and_divergence_forbid_a_verdict():
    study = Study(arms=(A, B), seeds=4, tune=RATES)
    score = lambda trial: trial.seed + (trial.arm == B) * (1 + 0.01 * trial.seed)  # noqa: E731
    edge = answer_of(study, score, tune=lambda trial: {'1e-3': 2.0, '3e-3': 1.0, '1e-2': 0.5}[trial.choice[0].split('=')[1]])
    assert 'no verdict, since the best value lies at the end of its range (optim.learning_rate=1e-2)' in edge.verdicts[0]
    gone = answer_of(study, lambda trial: None if trial.arm == B and trial.seed == 1 else score(trial))
    assert 'no verdict, since runs diverged' in gone.verdicts[0]
    assert gone.arms[1].diverged == 1
    assert len(gone.arms[1].difference.values) == 3  # the others are still paired by seed
    assert 'model.norm=rms: 1 of 4 runs diverged' in ' '.join(gone.caveats)


def test_what_is_untuned_or_unfinished_says_so():
    study = Study(arms=(A, B), seeds=3)
    results = told(compared_trials(study, {A: (), B: ()})[:5], lambda trial: float(trial.seed))
    answer = analyse(study, results)
    assert (answer.done, answer.wanted, answer.over) == (5, 6, False)
    assert 'Nothing was tuned' in ' '.join(answer.caveats)
    assert '1 trials are not over' in answer.caveats[0]
    early = analyse(Study(arms=(A, B), tune=RATES), {})
    assert (early.done, early.wanted) == (0, 12)
    assert 'not known yet' in early.verdicts[0]


def test_p_values_are_adjusted_over_arms():
    arms = (A, B, ('model.depth=2',), ('model.depth=3',))
    study = Study(arms=arms, seeds=4)
    score = lambda trial: trial.seed + arms.index(trial.arm) * (0.1 + 0.03 * trial.seed)  # noqa: E731
    many = analyse(study, told(compared_trials(study, dict.fromkeys(arms, ())), score))
    few = Study(arms=arms[:2], seeds=4)
    alone = analyse(few, told(compared_trials(few, dict.fromkeys(arms[:2], ())), score))
    assert many.arms[1].difference.p == pytest.approx(3 * alone.arms[1].difference.p)


def test_a_table_says_the_same_in_every_form(tmp_path):
    study = Study(arms=(A, ("optim.rates=('a=1','b|c=2')",)), seeds=3)
    answer = analyse(
        study, told(compared_trials(study, dict.fromkeys(study.arms, ())), lambda t: t.seed / 7 + (t.arm != A) / 3)
    )
    rows = rows_of(str(tmp_path), answer)
    table, paper, full = to_markdown(rows, 'loss_nats'), to_latex(rows, 'loss_nats'), to_csv(rows)
    assert '+0.3333' in table
    assert '+0.3333' in paper
    assert '0.33333333' in full
    assert 'b\\|c=2' in table
    assert r'loss\_nats' in paper
    assert 'chosen' not in table  # nothing was
    lines = [line for line in paper.splitlines() if line.endswith(r'\\')]
    assert len({line.replace(r'\&', '').count('&') for line in lines}) == 1
    json.dumps(as_record(answer), allow_nan=False)


def test_a_study_may_grow_and_not_change(tmp_path):
    study = Study(arms=(A, B), seeds=3)
    open_study(str(tmp_path), study)
    assert read_study(str(tmp_path)) == study
    more = dataclasses.replace(study, seeds=5, arms=(A, B, ('model.depth=2',)))
    assert open_study(str(tmp_path), more) == read_study(str(tmp_path)) == more
    for change in ({'seeds': 4}, {'arms': (B, A)}, {'tune': RATES}, {'base': Config(seed=1)}):
        with pytest.raises(UsageError, match='use that, or another --workdir'):
            open_study(str(tmp_path), dataclasses.replace(more, **change))
    with pytest.raises(UsageError, match='holds no study'):
        read_study(str(tmp_path / 'other'))
    (tmp_path / 'study.json').write_text('{')
    with pytest.raises(UsageError, match='cannot be read'):
        read_study(str(tmp_path))


def test_a_trial_that_is_not_over_has_no_result(tmp_path):
    study, trial = Study(arms=(A, B)), Trial(A, (), 0, 'compare')
    run = tmp_path / trial.folder
    run.mkdir(parents=True)

    def write(*rows):
        (run / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))

    valid = [{'step': step, 'split': 'valid', 'loss_nats': 3.0 - step / 10} for step in (5, 9)]
    done = {'step': 9, 'split': 'event', 'event': 'complete', 'early': False}
    assert result_of(str(tmp_path), study, trial) is None
    write(*valid, done)
    assert result_of(str(tmp_path), study, trial) is None  # it has yet to say what came out
    (run / 'run.json').write_text(json.dumps({'outcome_step': 5}))
    assert result_of(str(tmp_path), study, trial)[:2] == ('complete', 2.5)
    write(*valid)
    assert result_of(str(tmp_path), study, trial) is None
    write({'step': 7, 'split': 'event', 'event': 'not finite'})
    assert result_of(str(tmp_path), study, trial)[:2] == ('diverged', np.inf)
    assert result_of(str(tmp_path), dataclasses.replace(study, metric='accuracy'), trial).value == -np.inf


def test_a_trial_is_one_processes_and_free_when_that_dies(tmp_path):
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
    other = subprocess.Popen([sys.executable, '-c', HOLDER, str(tmp_path)], **pipes)
    assert other.stdout.readline() == 'True\n'
    with ledger.claimed(str(tmp_path), 'runs/a/b') as mine:
        assert not mine
    with ledger.claimed(str(tmp_path), 'runs/a/c') as mine:
        assert mine
    assert ledger.is_claimed(str(tmp_path), 'runs/a/b')
    other.kill()
    other.communicate()
    assert not ledger.is_claimed(str(tmp_path), 'runs/a/b')


def test_the_ledger_survives_a_cut_line_and_many_writers(tmp_path):
    folder = str(tmp_path)
    ledger.append(folder, 'runs/a', 'begun')
    with open(tmp_path / ledger.FILE, 'a') as file:
        file.write('{"time": 1, "tri')  # a crash
    write = lambda: [ledger.append(folder, 'runs/b', 'begun', at=at) for at in range(50)]  # noqa: E731
    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = ledger.read(folder)
    assert [row['trial'] for row in rows[:2]] == ['runs/a', 'runs/b']
    assert len(rows) == 1 + 200
    assert ledger.read(str(tmp_path / 'none')) == []


def test_a_saved_study_names_only_our_classes(tmp_path):
    saved = to_dict(Study(arms=(A, B)))
    (tmp_path / 'study.json').write_text(json.dumps({**saved, 'class': 'os:system'}))
    with pytest.raises(UsageError, match='may name lmjax classes only'):
        read_study(str(tmp_path))
