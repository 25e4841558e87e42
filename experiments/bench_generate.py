"""Decoding speed beside transformers' `generate` with its cache: the same weights, greedy, in turns, and the memory bound.

`python -m experiments.bench_generate [--networks=smollm2-135m,gpt2] [--batches=1,8] [--tokens=128] [--rounds=5]`, after
`pip install -e '.[parity]'`; `--model=hf:DIR` or `--model=gguf:FILE` takes a checkpoint instead of random weights.

Prints tokens a second of all rows together after each row's first token (median, minimum and maximum over the rounds), the
ratio (lmjax's over transformers') and the share of the memory bound: a step reads all weights and the cache, at the best rate
at which this machine read as much in the same rounds. The goal is a ratio of 1.5 or 0.85 of the bound, whichever is lower.
The time to the first token (reading the prompt) and of compilation stand apart. The last line is JSON with every figure. On a
GPU both sides compute in bfloat16. PyTorch's threads wait for each other in a busy loop: on a machine that does other work
`--torch_threads=1` may be its best.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import cli
from experiments.bench.machine import machine
from lmjax.config import UsageError, require

_NETWORKS = flags.DEFINE_string('networks', 'smollm2-135m,gpt2', 'Rows of lmjax/models/families.py, separated by commas.')
_MODEL = flags.DEFINE_string('model', '', 'A checkpoint instead: hf:DIR or gguf:FILE.')
_BATCHES = flags.DEFINE_list('batches', '1,8', 'Rows decoded together, separated by commas.')
_PROMPT = flags.DEFINE_integer('prompt', 16, 'Tokens of each prompt.')
_TOKENS = flags.DEFINE_integer('tokens', 128, 'New tokens of each row.')
_THREADS = flags.DEFINE_integer('torch_threads', 0, 'Threads of PyTorch on CPU; 0: as many as it chooses.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.')

RATIO, SHARE = 1.5, 0.85  # the goal: whichever is lower


def main(_: Sequence[str]) -> int:
    for package in ('torch', 'transformers'):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{package}=None: it is not installed; run: pip install -e '.[parity]'")
    for flag, least in ((_PROMPT, 1), (_TOKENS, 2), (_ROUNDS, 1)):
        require(flag.value >= least, flag.name, flag.value, f'must be at least {least}')
    for batch in _BATCHES.value:
        require(batch.isdigit() and int(batch) >= 1, 'batches', batch, 'must be whole numbers of at least 1; try 1,8')
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # leave PyTorch its share of a GPU's memory
    import jax

    if _THREADS.value:
        _set_threads(_THREADS.value)
    dtype = 'bfloat16' if jax.default_backend() == 'gpu' else 'float32'
    record: dict[str, Any] = {'machine': machine(), 'dtype': dtype, 'prompt': _PROMPT.value, 'tokens': _TOKENS.value}
    record |= {'rounds': _ROUNDS.value, 'runs': []}
    print(
        '{device}; {threads} threads; jax {jax}, torch {torch}, transformers {transformers}; '.format(**record['machine']),
        end='',
    )
    print(
        '{dtype}, {prompt} + {tokens} tokens, {rounds} rounds; load {load:.1f}'.format(**record, load=record['machine']['load'])
    )
    print(HEADER, flush=True)
    for name in [_MODEL.value] if _MODEL.value else _NETWORKS.value.split(','):
        _measure_network(name, dtype, record['runs'])
    print(json.dumps(record))
    return 0


def _set_threads(threads: int) -> None:
    import torch

    require(threads >= 1, 'torch_threads', threads, 'must not be negative')
    torch.set_num_threads(threads)


def _measure_network(name: str, dtype: str, runs: list[dict[str, Any]]) -> None:
    """Every batch size of one network, printed as they come."""
    from experiments.bench import decoders

    network = decoders.network(name, dtype)
    ours, theirs = decoders.JaxSide(network, _TOKENS.value), decoders.TorchSide(network, _TOKENS.value)
    for batch in _BATCHES.value:
        runs.append({'network': name, 'batch': int(batch), **measure(network, ours, theirs, int(batch))})
        print(row(runs[-1]), flush=True)


def measure(network: Any, ours: Any, theirs: Any, batch: int) -> dict[str, Any]:
    """Rates and first-token times of both sides, their ratio, and the memory bound. Raises UsageError if the tokens differ."""
    import numpy as np

    from experiments.bench import decoders
    from experiments.bench.turns import turns

    ids_BxP = np.random.default_rng(0).integers(0, network.model.vocab_size, (batch, _PROMPT.value), dtype=np.int32)
    compiling = ours.run(ids_BxP)
    shortfall = decoders.check_same(network, theirs, ids_BxP, compiling.tokens)
    theirs.run(ids_BxP)
    step_bytes = decoders.bytes_per_step(network, batch, _PROMPT.value + _TOKENS.value // 2)
    memory = decoders.Memory(step_bytes, network.dtype)
    timings: dict[str, list[Any]] = {'lmjax': [], 'transformers': [], 'memory': []}
    programs = {'lmjax': lambda: ours.run(ids_BxP), 'transformers': lambda: theirs.run(ids_BxP), 'memory': memory.run}
    for name in turns(programs, rounds=_ROUNDS.value):
        timings[name].append(programs[name]())
    drawn = batch * (_TOKENS.value - 1)
    sides = {name: side_figures(timings[name], drawn) for name in ('lmjax', 'transformers')}
    read = {probe: max(best[probe] for best in timings['memory']) for probe in timings['memory'][0]}
    figures: dict[str, Any] = {'shortfall': shortfall, **sides, 'bytes_per_step': step_bytes, 'bytes_per_second': read}
    warm = [timing.first_seconds + timing.rest_seconds for timing in timings['lmjax']]
    figures['compile_seconds'] = compiling.first_seconds + compiling.rest_seconds - statistics.median(warm)
    return figures | compared(figures, batch)


def side_figures(timings: list[Any], drawn: int) -> dict[str, float]:
    """Tokens a second after the first, and milliseconds until the first."""
    rates = [drawn / timing.rest_seconds for timing in timings]
    return {
        'tokens_per_second': statistics.median(rates),
        'slowest': min(rates),
        'fastest': max(rates),
        'first_ms': 1e3 * statistics.median(timing.first_seconds for timing in timings),
    }


def compared(figures: dict[str, Any], batch: int) -> dict[str, Any]:
    """The ratio of the sides, the bound, lmjax's share of it, and what is left of it to the goal."""
    rate, other = (figures[side]['tokens_per_second'] for side in ('lmjax', 'transformers'))
    bound = batch * max(figures['bytes_per_second'].values()) / figures['bytes_per_step']
    goal = min(RATIO * other, SHARE * bound)
    moved = rate / batch * figures['bytes_per_step']
    return {
        'ratio': rate / other,
        'bound': bound,
        'share_of_bound': rate / bound,
        'bytes_moved_per_second': moved,
        'goal': goal,
        'reached': rate >= goal,
    }


HEADER = (
    f'{"network":<22}{"rows":>5}{"lmjax tokens/s":>24}{"transformers":>24}{"ratio":>7}'
    f'{"bound":>8}{"share":>7}{"GB/s":>7}{"goal":>8}  first token ms     compile s'
)


def row(figures: dict[str, Any]) -> str:
    """A line of the table."""

    def cell(side: str) -> str:
        return '{tokens_per_second:.1f} ({slowest:.1f}-{fastest:.1f})'.format(**figures[side])

    first = f'{figures["lmjax"]["first_ms"]:.0f} / {figures["transformers"]["first_ms"]:.0f}'
    return (
        f'{figures["network"][-22:]:<22}{figures["batch"]:>5}{cell("lmjax"):>24}{cell("transformers"):>24}{figures["ratio"]:>7.2f}'
        f'{figures["bound"]:>8.1f}{figures["share_of_bound"]:>7.2f}{figures["bytes_moved_per_second"] / 1e9:>7.1f}'
        f'{figures["goal"]:>8.1f}  {first:<15}{figures["compile_seconds"]:>13.1f}'
    )


if __name__ == '__main__':
    cli.run(main)
