"""The decoding benchmark: both sides draw the same tokens from the same weights, the bound counts what a step reads."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from lmjax.config import UsageError

pytest.importorskip('torch')
pytest.importorskip('transformers')

from experiments import bench_generate
from experiments.bench import decoders


@pytest.fixture(scope='module')
def sides():
    import torch

    torch.set_num_threads(1)  # its threads wait for each other in a busy loop on a machine that runs other tests
    network = decoders.network('smollm2-tiny', 'float32')
    return network, decoders.JaxSide(network, 10), decoders.TorchSide(network, 10)


def prompts(network):
    return np.random.default_rng(0).integers(0, network.model.vocab_size, (2, 5), dtype=np.int32)


@pytest.mark.slow
def test_both_sides_draw_the_same_tokens(sides):
    network, ours, theirs = sides
    ids = prompts(network)
    drawn, reference = ours.run(ids), theirs.run(ids)
    assert drawn.tokens.tolist() == reference.tokens.tolist()
    assert drawn.tokens.shape == (2, 10)
    assert decoders.check_same(network, theirs, ids, drawn.tokens) == 0.0
    for timing in (drawn, reference):
        assert timing.first_seconds > 0
        assert timing.rest_seconds > 0


@pytest.mark.slow
def test_other_tokens_are_refused(sides):
    network, ours, theirs = sides
    ids = prompts(network)
    tokens = ours.run(ids).tokens.copy()
    tokens[1, 4] = (tokens[1, 4] + 1) % network.model.vocab_size
    with pytest.raises(UsageError, match='not the same network'):
        decoders.check_same(network, theirs, ids, tokens)


def test_bytes_of_a_step_by_hand():
    """All weights once, the tied embedding as the head; keys and values of 12 tokens; segments, positions and `filled`."""
    network = decoders.network('smollm2-tiny', 'float32')
    c = network.config.model
    weights = sum(leaf.size for leaf in jax.tree.leaves(network.params))
    cache = 2 * c.depth * 2 * 12 * c.kv_heads * (c.width // c.heads)
    assert decoders.bytes_per_step(network, 2, 12) == 4 * (weights + cache + 2 * 2 * 12 + 1)


def test_tables_that_are_looked_up_are_not_read_whole():
    network = decoders.network('gpt2-tiny', 'float32')
    with_table = sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))
    cache = sum(leaf.size * 4 for leaf in jax.tree.leaves(jax.eval_shape(lambda: network.model.init_cache(None, 1, 3))))
    assert decoders.bytes_per_step(network, 1, 3) == with_table - network.params['embedding']['positions'].nbytes + cache


def test_the_goal_is_the_lower_of_the_two():
    figures = {
        'lmjax': {'tokens_per_second': 80.0},
        'transformers': {'tokens_per_second': 60.0},
        'bytes_per_second': {'sum': 500.0, 'matrix-vector': 1000.0},
        'bytes_per_step': 80,
    }
    found = bench_generate.compared(figures, batch=8)
    assert found['bound'] == 100.0
    assert found['goal'] == pytest.approx(85.0)  # not 90
    assert not found['reached']
    assert found['share_of_bound'] == pytest.approx(0.8)
    assert found['bytes_moved_per_second'] == pytest.approx(800.0)
    assert bench_generate.compared(figures | {'bytes_per_second': {'sum': 2000.0}}, batch=8)['goal'] == pytest.approx(90.0)


def bench(*args):
    return subprocess.run([sys.executable, '-m', 'experiments.bench_generate', *args], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arg', 'says'),
    [
        ('--networks=gpt3', "networks='gpt3'"),
        ('--rounds=0', 'rounds=0'),
        ('--tokens=1', 'tokens=1'),
        ('--batches=1,x', "batches='x'"),
        ('--torch_threads=-1', 'torch_threads=-1'),
        ('--model=hf:/nowhere', ''),
    ],
)
def test_bad_input_is_one_line(arg, says):
    done = bench(arg)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: {says}')
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_it_ends_with_one_line_of_json():
    done = bench('--networks=gpt2-tiny', '--batches=2', '--tokens=40', '--rounds=2')
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.strip().splitlines()[-1])
    (figures,) = record['runs']
    rates = [figures[side]['tokens_per_second'] for side in ('lmjax', 'transformers')]
    assert figures['ratio'] == pytest.approx(rates[0] / rates[1])
    assert figures['shortfall'] <= 1e-3
    assert f'{figures["ratio"]:.2f}' in done.stdout.splitlines()[-2]
