"""Studies end to end at a tiny size: what they train, that they go on, and what becomes of trials that go wrong."""

import collections
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import lmjax
from lmjax import Config, DataConfig, OptimConfig, RecurrentConfig, Study, TrainConfig, TransformerConfig, UsageError
from lmjax.study import engines, ledger, worker
from lmjax.study.driver import read_answer, run_study, status_of
from lmjax.study.engines import shares
from lmjax.study.report import write_study_report
from lmjax.study.spec import Study as Spec
from lmjax.study.trials import compared_trials, open_study
from lmjax.training.metrics import read_metrics
from lmjax.training.workdir import write_json

A, B = ('model.norm=layer',), ('model.norm=rms',)
RATES = ('optim.learning_rate=1e-3,1e-2,1e-1',)


@pytest.fixture
def make(tmp_path):
    text = tmp_path / 'text.txt'
    text.write_text('\n'.join(f'{i} times {i % 7} is {i * (i % 7)}.' for i in range(400)))

    def make(model=None, arms=(A, B), steps=4, **given):
        base = Config(
            name='tiny',
            data=DataConfig(source=f'text:{text}', seq_len=16, cache_dir=str(tmp_path / 'cache')),
            model=model or TransformerConfig(width=8, depth=1, heads=2),
            optim=OptimConfig(schedule='constant', learning_rate=1e-2),
            train=TrainConfig(steps=steps, batch_size=4, eval_every=2, eval_batches=2, log_every=1),
        )
        return Study(base=base, arms=arms, **{'seeds': 2, **given})

    return make


def ends(folder):
    """How often each trial ended how."""
    return collections.Counter((row['trial'], row['event']) for row in ledger.read(folder) if row['event'] != 'begun')


def quiet(_):
    pass


def test_a_study_trains_tunes_compares_and_goes_on(make, tmp_path):
    folder, lines = str(tmp_path / 'study'), []
    study = make(tune=RATES, tune_seeds=1)
    status, answer = run_study(study, folder, engine='here', say=lines.append)
    assert (status, answer.done, answer.wanted) == ('complete', 2 * 3 + 2 * 2, 10)
    assert len([line for line in lines if ': complete in' in line]) == 10
    before = ends(folder)
    assert set(before.values()) == {1}
    assert len(before) == 10
    assert run_study(study, folder, engine='here', say=quiet)[0] == 'complete'
    assert ends(folder) == before  # nothing was trained again
    status, more = run_study(dataclasses.replace(study, seeds=3), folder, engine='here', say=quiet)
    assert (status, more.done) == ('complete', 12)
    assert set(ends(folder).values()) == {1}
    assert [arm.scores[0] for arm in more.arms] == [arm.scores[0] for arm in answer.arms]


@pytest.mark.parametrize('model', [None, RecurrentConfig(embedding=8, hidden=8, depth=1)], ids=['transformer', 'lstm'])
def test_each_trial_is_its_lone_run(make, tmp_path, model):
    arms = (('optim.weight_decay=0.1',), ('optim.weight_decay=0.3',))
    study = make(model=model, arms=arms)
    run_study(study, str(tmp_path / 'study'), engine='here', say=quiet)
    trial = compared_trials(study, dict.fromkeys(arms, ()))[-1]
    lmjax.train(trial.config(study), str(tmp_path / 'alone'))
    there, alone = tmp_path / 'study' / trial.folder, tmp_path / 'alone'
    losses = [[row['loss_nats'] for row in read_metrics(path) if 'loss_nats' in row] for path in (there, alone)]
    assert losses[0] == losses[1]
    for one, two in zip(*(jax.tree.leaves(lmjax.load(str(path)).params) for path in (there, alone)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_trial_that_diverges_is_a_result(make, tmp_path):
    arms = (('optim.optimizer=sgd',), ('optim.optimizer=sgd', 'optim.learning_rate=1e30'))
    folder = str(tmp_path / 'study')
    status, answer = run_study(make(arms=arms), folder, engine='here', say=quiet)
    assert status == 'complete'
    assert (answer.arms[0].diverged, answer.arms[1].diverged) == (0, 2)
    assert 'optim.learning_rate=1e30: 2 of 2 runs diverged' in ' '.join(answer.caveats)
    before = ends(folder)
    run_study(make(arms=arms), folder, engine='here', say=quiet)
    assert ends(folder) == before
    assert 'diverged' in write_study_report(folder).read_text()


def test_a_trial_that_fails_is_tried_again_by_the_next_command(make, tmp_path, monkeypatch):
    folder, train = str(tmp_path / 'study'), lmjax.finetune

    def fail(config, *args, **how):
        if config.seed == 1 and config.model.norm == 'rms':
            raise MemoryError('no room')
        return train(config, *args, **how)

    monkeypatch.setattr('lmjax.api.finetune', fail)
    status, answer = run_study(make(), folder, engine='here', say=quiet)
    assert (status, answer.done) == ('failed', 3)
    assert list(status_of(folder).failed.values()) == ['MemoryError: no room']
    assert 'no room' in write_study_report(folder).read_text()
    monkeypatch.setattr('lmjax.api.finetune', train)
    status, answer = run_study(make(), folder, engine='here', say=quiet)
    assert (status, answer.done) == ('complete', 4)
    assert collections.Counter(event for _, event in ends(folder)) == {'complete': 4, 'failed': 1}
    assert status_of(folder).left == 0


def test_nothing_is_compared_before_all_is_tuned(make, tmp_path, monkeypatch):
    train = lmjax.finetune

    def fail(config, *args, **how):
        if config.optim.learning_rate > 1e-3:
            raise MemoryError
        return train(config, *args, **how)

    monkeypatch.setattr('lmjax.api.finetune', fail)
    folder = str(tmp_path / 'study')
    status, answer = run_study(make(tune=RATES, tune_seeds=1), folder, engine='here', say=quiet)
    assert status == 'failed'
    assert [arm.choice for arm in answer.arms] == [None, None]
    assert collections.Counter(event for _, event in ends(folder)) == {'complete': 2, 'failed': 4}


def test_workers_begin_with_programs_of_their_own(make):
    study = make(arms=(A, B, ('model.depth=2',)), seeds=2)
    trials = compared_trials(study, dict.fromkeys(study.arms, ()))
    orders = [[trial.arm for trial in worker.in_turn(study, trials, [], turn)] for turn in range(3)]
    assert [order[0] for order in orders] == [*study.arms]
    assert orders[0] == [arm for arm in study.arms for _ in range(2)]
    made = [worker.structure_of(trials[-1].config(study))]
    assert worker.in_turn(study, trials, made, 0)[0].arm == study.arms[2]


def test_a_trial_that_another_has_is_waited_for(make, tmp_path, monkeypatch):
    def wait(_):
        raise TimeoutError

    folder, study = str(tmp_path / 'study'), make()
    open_study(folder, study)
    held = compared_trials(study, dict.fromkeys(study.arms, ()))[1]
    monkeypatch.setattr(worker.time, 'sleep', wait)
    with ledger.claimed(folder, held.folder), pytest.raises(TimeoutError):
        worker.work(folder, since=0.0, say=quiet)
    assert len(ends(folder)) == 3
    assert held.folder not in {row['trial'] for row in ledger.read(folder)}


def test_cores_are_shared_out():
    assert shares([0, 1, 2, 3], 2) == [[0, 2], [1, 3]]
    assert shares([4, 5], 3) == [[4], [5], [4]]


@pytest.mark.parametrize(
    ('change', 'how', 'message'),
    [
        ({'arms': ((), ('model.heads=3',))}, {}, 'model.heads=3: model.'),
        ({'arms': ((), ('model.norm=batch',))}, {}, 'no such choice'),
        ({'seeds': 1}, {}, 'says nothing of chance'),
        ({}, {'engine': 'cloud'}, 'choose one of: here, local'),
        ({}, {'jobs': -1}, 'use 1 or more'),
        ({}, {'engine': 'here', 'jobs': 2}, 'does one at a time'),
    ],
)
def test_what_no_run_can_have_is_refused_before_anything_trains(make, tmp_path, change, how, message):
    folder = tmp_path / 'study'
    with pytest.raises(UsageError, match=message):
        run_study(make(**change), str(folder), **{'engine': 'here', **how}, say=quiet)
    assert not list(folder.glob('runs/*'))


def test_the_page_is_whole_escaped_and_of_a_study_that_still_runs(make, tmp_path):
    folder = tmp_path / 'study'
    arms = (A, ("data.normal_form=<script>alert('x')</script>",))
    open_study(str(folder), make(arms=arms))  # nothing has been trained
    page = write_study_report(str(folder)).read_text()
    assert '<script' not in page
    assert '&lt;script&gt;' in page
    assert '0 of 4 trials are over' in page
    folder = tmp_path / 'other'
    run_study(make(tune=RATES, tune_seeds=1, margin=0.5), str(folder), engine='here', say=quiet)
    write_json(str(folder / 'command.json'), ['python', '-m', 'experiments.study', '--vary', 'a b'])
    page = write_study_report(str(folder)).read_text()
    for part in (
        'Differences',
        'Curves',
        'What tuning found',
        'Scores by seed',
        '--vary &#x27;a b&#x27;',
        'A difference of up to 0.5',
    ):
        assert part in page
    assert page.count('<svg') >= 5
    assert 'http://' not in page.replace('http://www.w3.org', '')
    assert {'table.md', 'table.tex', 'table.csv', 'answer.json'} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / 'answer.json').read_text())['done'] == 10


def test_a_classifier_is_varied_like_anything_else(tmp_path):
    """The task of a fine-tuning config decides by its own score."""
    text = tmp_path / 'texts.csv'
    text.write_text('text,label\n' + ''.join(f'{"good" if i % 2 else "bad"} {i},{i % 2}\n' for i in range(60)))
    from configs.tasks import sentiment

    base = sentiment.get_config(str(text))
    base.model = TransformerConfig(width=8, depth=1, heads=2, causal=False)
    base.data.cache_dir, base.train.epochs, base.train.steps, base.data.buckets = str(tmp_path / 'cache'), 0, 3, 0
    study = Spec(base=base, arms=((), ('objective.label_smoothing=0.1',)), seeds=2, metric='accuracy')
    status, answer = run_study(study, str(tmp_path / 'study'), engine='here', say=quiet)
    assert status == 'complete'
    assert all(0 <= score <= 1 for arm in answer.arms for score in arm.scores.values())
    assert 'accuracy differs by' in answer.verdicts[0]


PROGRAM = """
import sys
from lmjax.study.driver import run_study
from lmjax.study.trials import read_study
print(run_study(read_study(sys.argv[1]), sys.argv[1], jobs=2, say=lambda line: print(line, flush=True))[0], flush=True)
"""


def begin(folder):
    path = os.pathsep.join([str(pathlib.Path(__file__).parents[2]), *filter(None, sys.path)])
    env = {**os.environ, 'PYTHONPATH': path}
    return subprocess.Popen([sys.executable, '-c', PROGRAM, folder], stdout=subprocess.PIPE, text=True, env=env)


def running_workers(folder):
    """Processes that work in a folder."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            words = path.read_bytes().split(b'\0')
        except OSError:
            continue
        if b'lmjax.study.worker' in words and folder.encode() in words:
            found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=120.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path('/proc/self/cmdline').exists(), reason='needs /proc to find processes')
def test_killed_workers_and_drivers_cost_no_trial(make, tmp_path):
    """A worker is killed in its trial, then the driver, whose workers go on; another driver joins. Each trial ends once."""
    folder = str(tmp_path / 'study')
    study = make(steps=60, seeds=3)
    open_study(folder, study)
    first = begin(folder)
    wait_for(lambda: len(ends(folder)) >= 1)
    os.kill(running_workers(folder)[0], signal.SIGKILL)
    wait_for(lambda: len(ends(folder)) >= 2)
    first.kill()
    first.communicate()
    second = begin(folder)
    said = second.communicate(timeout=300)[0]
    assert said.splitlines()[-1] == 'complete'
    wait_for(lambda: not running_workers(folder))
    found = ends(folder)
    assert set(found.values()) == {1}
    assert {event for _, event in found} == {'complete'}
    assert len(found) == 6
    alone = tmp_path / 'alone'
    trial = compared_trials(study, dict.fromkeys(study.arms, ()))[0]
    lmjax.train(trial.config(study), str(alone))
    values = [read_metrics(path, 'valid')[-1]['loss_nats'] for path in (os.path.join(folder, trial.folder), alone)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)  # there it had one core


@pytest.mark.slow
def test_an_interrupted_study_goes_on(make, tmp_path):
    folder = str(tmp_path / 'study')
    open_study(folder, make(steps=2000, seeds=2))
    process = begin(folder)
    wait_for(lambda: any(row['event'] == 'begun' for row in ledger.read(folder)))
    trials = pathlib.Path(folder, 'runs')
    wait_for(lambda: any(path.stat().st_size for path in trials.glob('*/*/metrics.jsonl')))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[0].splitlines()[-1] == 'interrupted'
    assert any(event == 'interrupted' for _, event in ends(folder))
    assert any((path / 'checkpoints').exists() for path in trials.glob('*/*'))
    assert status_of(folder).running == []
    assert read_answer(folder).done == 0


def test_engines_are_a_table():
    assert set(engines.ENGINES) == {'here', 'local'}
