"""The two programs of a workload: lmjax's compiled training step and PyTorch's usual loop, from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.bench.workloads import Workload
from lmjax.config import require


def tokens(workload: Workload) -> np.ndarray:
    """Random ids, one column more than the window: inputs are all but the last, targets all but the first."""
    B, T = workload.batch_shape
    return np.random.default_rng(0).integers(0, workload.vocab_size, (B, T + 1), dtype=np.int32)


class JaxSide:
    """What `experiments.train` runs: the program of the config, its state donated from step to step."""

    def __init__(self, workload: Workload):
        import jax

        from lmjax.models.params import count_params
        from lmjax.training.program import assemble
        from lmjax.types import Batch, Inputs

        program, ids = assemble(workload.config, workload.vocab_size), tokens(workload)
        inputs, targets = np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])
        self._batch = program.place(Batch(Inputs(inputs), targets, np.ones(targets.shape, np.float32)))
        self._step, self._state = program.step, program.init()
        self.count = count_params(self._state.params)
        self.params = jax.tree.map(np.asarray, self._state.params)  # the initial ones: PyTorch starts from them too
        self.loss = float('nan')

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._batch)
        self.loss = float(metrics['loss'])


class TorchSide:
    """Forward, cross-entropy, backward, Adam with its default settings; on a GPU compiled, bf16 and fused."""

    def __init__(self, workload: Workload, params: Any):
        import torch

        from experiments.bench import torch_models

        gpu = workload.needs_gpu
        self._torch, self._device = torch, torch.device('cuda' if gpu else 'cpu')
        module = torch_models.build(workload.config.model, vocab_size=workload.vocab_size, seq_len=workload.batch_shape[1])
        module.load(params)
        self.count = sum(p.numel() for p in module.parameters()) - module.twins()
        self.twins = module.twins()
        ids = torch.from_numpy(tokens(workload).astype(np.int64)).to(self._device)
        self._inputs, self._targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        module = module.to(self._device)
        self._adam = torch.optim.Adam(module.parameters(), lr=workload.config.optim.learning_rate, fused=gpu or None)
        self._module = torch.compile(module) if gpu else module
        self._precision = torch.autocast('cuda', torch.bfloat16, enabled=gpu)
        self.loss = float('nan')

    def run(self, steps: int) -> None:
        F = self._torch.nn.functional
        for _ in range(steps):
            self._adam.zero_grad(set_to_none=True)
            with self._precision:
                logits = self._module(self._inputs)
                loss = F.cross_entropy(logits.flatten(0, 1), self._targets.flatten())
            loss.backward()
            self._adam.step()
        self.loss = float(loss.detach())


def twins(workload: Workload) -> tuple[JaxSide, TorchSide]:
    """Both sides of a workload, checked to be the same network: parameter for parameter, and step for step.

    Raises UsageError where counts or the first losses differ.
    """
    ours = JaxSide(workload)
    theirs = TorchSide(workload, ours.params)
    require(ours.count == theirs.count, 'parameters', ours.count, f'PyTorch has {theirs.count}: not the same network')
    tolerance = 3e-2 if workload.needs_gpu else 1e-3
    for _ in range(2):  # the second loss also compares gradients and the optimizer
        ours.run(1)
        theirs.run(1)
        remedy = f"PyTorch's is {theirs.loss!r}: not the same network"
        require(abs(ours.loss - theirs.loss) <= tolerance * abs(theirs.loss), 'loss', ours.loss, remedy)
    return ours, theirs
