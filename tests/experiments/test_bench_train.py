"""The benchmark: both sides of each workload are one network, the timing takes turns, bad input is refused."""

import contextlib
import copy
import json
import subprocess
import sys

import pytest

from experiments.bench.turns import summary, time_in_turns
from experiments.bench.workloads import WORKLOADS
from lmjax.config import UsageError

SMALLER = {
    'a': {'embedding': 6, 'hidden': 8},
    'b': {'width': 8, 'ff_width': 12},
    'c': {'width': 8, 'depth': 2, 'heads': 2},
    'd': {'width': 12, 'depth': 2, 'heads': 3},
}


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch's threads wait for each other in a busy loop, for seconds on a machine that runs other tests."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)


def small(name):
    """A workload with the same structure at a size for tests."""
    workload = copy.deepcopy(WORKLOADS[name])
    workload.vocab_size = 11
    workload.config.train.batch_size, workload.config.data.seq_len = 2, 6
    for field, value in SMALLER[name].items():
        setattr(workload.config.model, field, value)
    return workload


# (d) is (c) with a longer window
@pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow if name in 'bd' else []) for name in SMALLER])
def test_a_workload_is_the_same_network_on_both_sides(name):
    """Equal counts, and equal losses over four steps of Adam: values, gradients and the optimizer agree."""
    pytest.importorskip('torch')
    from experiments.bench.sides import JaxSide, TorchSide

    ours = JaxSide(small(name))
    theirs = TorchSide(small(name), ours.params)
    assert ours.count == theirs.count
    if name == 'a':  # Adam would move the sum of PyTorch's two biases twice as fast as our one
        for i in range(2):
            getattr(theirs._module.lstm, f'bias_hh_l{i}').requires_grad_(False)
    losses = []
    for _ in range(4):
        ours.run(1)
        theirs.run(1)
        assert ours.loss == pytest.approx(theirs.loss, rel=2e-5)
        losses.append(ours.loss)
    assert losses[-1] < losses[0]


def test_another_network_is_refused():
    pytest.importorskip('torch')
    from experiments.bench import sides, torch_models

    original = torch_models.GPTBlock.forward
    torch_models.GPTBlock.forward = lambda self, x: x + 0.5 * original(self, x)
    try:
        with pytest.raises(UsageError, match='not the same network'):
            sides.twins(small('c'))
    finally:
        torch_models.GPTBlock.forward = original


def test_published_sizes():
    """The first's 11,364,112 are the issue's; the others by hand."""
    pytest.importorskip('torch')
    from experiments.bench import torch_models

    counts = {}
    for name, workload in WORKLOADS.items():
        twin = torch_models.build(workload.config.model, vocab_size=workload.vocab_size, seq_len=workload.batch_shape[1])
        counts[name] = sum(p.numel() for p in twin.parameters()) - twin.twins()
    assert counts['a'] == 11_364_112
    assert counts['b'] == 2 * 28_782 * 200 + 28_782 + 2 * (4 * (200 * 200 + 200) + 2 * (200 * 200 + 200) + 2 * 400)
    assert counts['c'] == 85 * 128 + 64 * 128 + 4 * (12 * 128 * 128 + 2 * 128) + 128
    assert counts['d'] == 85 * 384 + 256 * 384 + 6 * (12 * 384 * 384 + 2 * 384) + 384
    assert counts['e'] == 124_439_808 + (50_304 - 50_257) * 768


def test_turns_alternate_and_begin_with_an_untimed_step(monkeypatch):
    from experiments.bench import turns

    clock, calls = [0.0], []
    monkeypatch.setattr(turns.time, 'perf_counter', lambda: clock[0])
    monkeypatch.setattr(turns.time, 'sleep', lambda seconds: None)

    def program(name, seconds):
        def run(steps):
            calls.append((name, steps))
            clock[0] += steps * seconds

        return run

    times = time_in_turns({'fast': program('fast', 0.1), 'slow': program('slow', 0.3)}, rounds=2)
    assert times == {'fast': pytest.approx([100.0, 100.0]), 'slow': pytest.approx([300.0, 300.0])}
    assert calls[4:] == [('fast', 1), ('fast', 4), ('slow', 1), ('slow', 1), ('slow', 1), ('slow', 1), ('fast', 1), ('fast', 4)]


def test_summary():
    figures = summary([4.0, 1.0, 2.0, 3.0, 10.0])
    assert (figures['median_ms'], figures['min_ms'], figures['max_ms']) == (3.0, 1.0, 10.0)
    assert figures['lower_quartile_ms'] < 3.0 < figures['upper_quartile_ms']
    assert summary([5.0])['upper_quartile_ms'] == 5.0


def bench(*args, without_torch=False):
    code = 'import sys; sys.argv[0] = "bench_train"\n'
    if without_torch:
        code += 'sys.modules["torch"] = None\nimport importlib.util as u; find = u.find_spec\n'
        code += 'u.find_spec = lambda name, *a: None if name == "torch" else find(name, *a)\n'
    code += 'import runpy; runpy.run_module("experiments.bench_train", run_name="__main__", alter_sys=True)'
    return subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True)


def test_a_missing_pytorch_is_one_line_with_its_remedy():
    done = bench(without_torch=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("run: pip install -e '.[bench]'")
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('arg', 'says'),
    [('--workloads=a,x', "workloads='x'"), ('--rounds=0', 'rounds=0'), ('--workloads=e', "workloads='e': needs a GPU")],
)
def test_bad_input_is_one_line(arg, says):
    pytest.importorskip('torch')
    done = bench(arg)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: {says}')


@pytest.mark.slow
def test_it_ends_with_one_line_of_json():
    pytest.importorskip('torch')
    done = bench('--workloads=c', '--rounds=2')
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.strip().splitlines()[-1])
    figures = record['workloads']['c']
    assert figures['ratio'] == pytest.approx(figures['torch']['median_ms'] / figures['lmjax']['median_ms'])
    assert f'{figures["ratio"]:.2f}' in done.stdout.splitlines()[-2]
