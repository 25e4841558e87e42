"""Training speed beside PyTorch's: forward, backward and Adam on the same random data from the same weights, in turns.

`python -m experiments.bench_train [--workloads=a,b,c,d] [--rounds=11]`, after `pip install -e '.[bench]'`. Prints medians,
spread and the ratio (PyTorch's time over ours: above 1 lmjax is faster); the last line is JSON with every figure.
Workload e (GPT-2 small, bfloat16) needs a GPU; there PyTorch is compiled and uses its flash attention.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import cli
from experiments.bench.machine import machine
from lmjax.config import UsageError, choose, require

_WORKLOADS = flags.DEFINE_string('workloads', 'a,b,c,d', 'Which of a, b, c, d and, on a GPU, e; separated by commas.')
_ROUNDS = flags.DEFINE_integer('rounds', 11, 'Turns of each side.')

# Dense bf16 operations a second by a part of the device's name, from the makers' data sheets.
PEAK_FLOPS = {
    'H200': 989e12,
    'H100 PCIe': 756e12,
    'H100': 989e12,
    'A100': 312e12,
    'L40S': 362e12,
    'L4': 121e12,
    'B200': 2250e12,
}


def main(_: Sequence[str]) -> int:
    if importlib.util.find_spec('torch') is None:
        raise UsageError("torch=None: PyTorch is not installed; run: pip install -e '.[bench]'")
    require(_ROUNDS.value >= 1, 'rounds', _ROUNDS.value, 'must be at least 1')
    names = _WORKLOADS.value.split(',')
    if 'e' in names:
        os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # leave PyTorch its share of the GPU's memory
    from experiments.bench.workloads import WORKLOADS

    chosen = {name: choose(WORKLOADS, name, 'workloads') for name in names}
    if any(workload.needs_gpu for workload in chosen.values()):
        _require_gpu()
    record: dict[str, Any] = {'machine': machine(), 'rounds': _ROUNDS.value, 'workloads': {}}
    print('{device}; {threads} threads; jax {jax}, torch {torch}; {rounds} rounds'.format(**record['machine'], **record))
    print(f'{"workload":<34}{"parameters":>12}  {"lmjax ms (min-max)":>26}  {"PyTorch ms (min-max)":>26}  ratio', flush=True)
    for name, workload in chosen.items():
        figures = record['workloads'][name] = measure(workload, _ROUNDS.value)
        print(_row(name, workload.title, figures), flush=True)
    print(json.dumps(record))
    return 0


def measure(workload: Any, rounds: int) -> dict[str, Any]:
    """Every figure of one workload: step times of both sides, their ratio, tokens a second and, on a GPU, MFU."""
    from experiments.bench.sides import twins
    from experiments.bench.turns import summary, time_in_turns

    ours, theirs = twins(workload)
    times = time_in_turns({'lmjax': ours.run, 'torch': theirs.run}, rounds=rounds)
    sides = {name: summary(values) for name, values in times.items()}
    B, T = workload.batch_shape
    figures = {'parameters': ours.count, 'torch_second_biases': theirs.twins, 'batch': B, 'time': T, **sides}
    figures['ratio'] = sides['torch']['median_ms'] / sides['lmjax']['median_ms']
    for side in sides.values():
        side['tokens_per_second'] = B * T / side['median_ms'] * 1e3
    if workload.needs_gpu:
        _add_mfu(figures, workload.config.model, ours.params)
    return figures


def _add_mfu(figures: dict[str, Any], model: Any, params: Any) -> None:
    """Operations that the network needs (not those computed again) over what the device could do in the time.

    A token needs 6 for each parameter that multiplies it (all but the position table; the tied matrix counts once, as
    the head) and 12 x depth x width x time for attention's two products, causality not credited (PaLM, Chowdhery et al.
    2022, appendix B).
    """
    import jax

    device = jax.devices()[0].device_kind
    multiplied = figures['parameters'] - params['embedding']['positions'].size
    figures['flops_per_token'] = 6 * multiplied + 12 * model.depth * model.width * figures['time']
    figures['mfu_formula'] = '(6 (parameters - positions) + 12 depth width time) x tokens/s / peak bf16'
    figures['peak_flops'] = next((peak for part, peak in PEAK_FLOPS.items() if part in device), None)
    for side in ('lmjax', 'torch'):
        rate = figures['flops_per_token'] * figures[side]['tokens_per_second']
        figures[side]['mfu'] = rate / figures['peak_flops'] if figures['peak_flops'] else None


def _require_gpu() -> None:
    import jax
    import torch

    backend = jax.default_backend()
    require(backend == 'gpu', 'workloads', 'e', f"needs a GPU, jax runs on '{backend}'; pip install -e '.[cuda,bench]' on one")
    require(
        torch.cuda.is_available(), 'workloads', 'e', 'needs a PyTorch that sees the GPU; torch.cuda.is_available() is False'
    )


def _row(name: str, title: str, figures: dict[str, Any]) -> str:
    def cell(side: str) -> str:
        return '{median_ms:.1f} ({min_ms:.1f}-{max_ms:.1f})'.format(**figures[side])

    row = f'{name} {title:<32}{figures["parameters"]:>12,}  {cell("lmjax"):>26}  {cell("torch"):>26}  {figures["ratio"]:5.2f}'
    if figures.get('peak_flops'):
        row += '  MFU {:.3f} / {:.3f}, {}'.format(figures['lmjax']['mfu'], figures['torch']['mfu'], figures['mfu_formula'])
    return row


if __name__ == '__main__':
    cli.run(main)
