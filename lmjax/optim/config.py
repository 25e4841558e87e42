"""Which optimizer updates the parameters, and how fast."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class OptimConfig:
    optimizer: str = 'adamw'  # a row of OPTIMIZERS: sgd, adam, adamw, adafactor, lion, muon
    learning_rate: float = 1e-3  # the peak
    schedule: str = 'cosine'  # a row of SCHEDULES: constant, linear, cosine, inverse_sqrt, wsd
    warmup_steps: int = 0
    cooldown_steps: int = 0  # wsd: steps of decay at the end; 0: a fifth of the run
    final_fraction: float = 0.1  # the last learning rate over the peak
    momentum: float = 0.9  # sgd and muon
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_mask: tuple[str, ...] = ()  # regular expressions of parameters that decay; empty: all but vectors and scalars
    clip_norm: float = 0.0  # global norm of the gradient; 0: no clipping
    ema: float = 0.0  # decay of an exponential moving average of the parameters; 0: none
