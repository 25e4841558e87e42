"""The whole config of a run: what `get_config()` in a config file returns."""

import dataclasses

from lmjax.config import free
from lmjax.data.config import DataConfig
from lmjax.generate.config import SamplingConfig
from lmjax.models.config import ModelConfig, TransformerConfig
from lmjax.objectives.config import ObjectiveConfig
from lmjax.optim.config import AdaptConfig, AdversaryConfig, OptimConfig
from lmjax.parallel.config import MeshConfig


@dataclasses.dataclass
class TrainConfig:
    steps: int = 1000  # optimizer steps; 0: as many as `epochs` take
    epochs: int = 0  # passes over the training split, where steps is 0
    batch_size: int = 16  # rows of one optimizer step, over all devices and microbatches
    accumulate: int = 1  # microbatches a step
    carry: bool = False  # recurrent: start each window from the last one's state (data.order=contiguous)
    eval_every: int = free(250)  # steps; 0: only at the end
    eval_epochs: int = free(0)  # instead, after so many epochs each time; 0: as eval_every says
    eval_batches: int = free(0)  # of an evaluation before the last one, which takes the whole split; 0: always the whole
    eval_batch_size: int = free(0)  # 0: batch_size
    log_every: int = free(10)
    checkpoint_every: int = free(0)  # steps; 0: at each evaluation
    keep_latest: int = free(2)
    metric: str = 'loss_nats'  # of the validation split, by which evaluations are compared: loss_nats, accuracy, f1, mcc, ...
    keep_best: int = free(1)  # checkpoints, by `metric`
    load_best: bool = free(False)  # the run's outcome is its best checkpoint rather than its newest
    patience: int = 0  # evaluations without a better `metric` before stopping early; 0: never


@dataclasses.dataclass
class LogConfig:
    tensorboard: bool = True
    report: bool = True
    prompts: tuple[str, ...] = ('',)  # what the samples continue; empty: from nothing


@dataclasses.dataclass
class Config:
    name: str = free('run')
    next_step: str = free('')  # what to try next, printed at the end
    seed: int = 0
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=TransformerConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    adapt: AdaptConfig = dataclasses.field(default_factory=AdaptConfig)
    adversary: AdversaryConfig = dataclasses.field(default_factory=AdversaryConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    mesh: MeshConfig = free(default_factory=MeshConfig)
    log: LogConfig = free(default_factory=LogConfig)
    sample: SamplingConfig = free(default_factory=SamplingConfig)
