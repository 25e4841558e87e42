"""Which optimizer updates the parameters, and how fast."""

import dataclasses

from lmjax.config import choose, free, require


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
    decay_mask: tuple[str, ...] = ()  # regular expressions of parameters that decay, '!...' of those that don't, the first
    # that matches wins; empty: all but vectors and scalars decay
    # 'PATTERN=FACTOR' of the learning rate, for parameters in whose path the regular expression is found, the first that
    # matches wins; 0 freezes: ('classifier=1', '.=0') trains a classifier alone
    rates: tuple[str, ...] = ()
    layer_decay: float = 0.0  # the learning rate of each layer over that of the one above it, as 0.9; 0: all alike
    clip_norm: float = 0.0  # global norm of the gradient; 0: no clipping
    ema: float = 0.0  # decay of an exponential moving average of the parameters; 0: none


@dataclasses.dataclass
class AdaptConfig:
    """What is learned beside parameters that stay as they are."""

    kind: str = ''  # a row of ADAPTATIONS: lora, dora, ia3, mixout; empty: all parameters of the network learn
    # what stays as it is: a run's folder, hf:DIR, hf:NAME or gguf:FILE, needed wherever the run is; it may move, but stays the
    # same network. Empty: what the run starts from
    base: str = free('')
    rank: int = 8  # lora, dora
    alpha: float = 16.0  # lora, dora: the change is multiplied by alpha / rank
    targets: tuple[str, ...] = ()  # regular expressions of the matrices that are adapted; empty: those of all layers
    whole: tuple[str, ...] = ()  # of parameters that learn whole beside them, as ('norm',)
    mix: float = 0.7  # mixout: share of the numbers of each matrix that are the base's at a step of training


@dataclasses.dataclass
class AdversaryConfig:
    """Small changes of the vectors of tokens that make a batch harder, in training alone."""

    kind: str = ''  # a row of ADVERSARIES: freelb; empty: none
    steps: int = 2  # ascents, each with a forward and a backward pass, whose gradients are averaged into one update
    size: float = 0.3  # the largest change of a row, as the norm over all of its tokens
    rate: float = 0.1  # how far each ascent goes


def validate_adapt(config: AdaptConfig) -> None:
    """Raises UsageError for a choice that does not exist, or fields that nothing reads."""
    from lmjax.optim.adapters import ADAPTATIONS

    if config.kind:
        choose(ADAPTATIONS, config.kind, 'adapt.kind')
    plain, remedy = AdaptConfig(), 'is read only with adapt.kind; set that, or leave it out'
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        require(bool(config.kind) or value == getattr(plain, field.name), f'adapt.{field.name}', value, remedy)
    require(config.rank >= 1, 'adapt.rank', config.rank, 'use 1 or more, as 8')
    require(0 < config.alpha < float('inf'), 'adapt.alpha', config.alpha, 'must be above 0; try 16.0')
    require(0 <= config.mix < 1, 'adapt.mix', config.mix, 'use a number in [0, 1), as 0.7')


def validate(config: OptimConfig, *, steps: int | None = None) -> None:
    """Raises UsageError for a choice that does not exist or a value out of range; with `steps`, for phases that
    do not fit into the run."""
    from lmjax.optim.optimizers import OPTIMIZERS
    from lmjax.optim.schedules import SCHEDULES

    choose(OPTIMIZERS, config.optimizer, 'optim.optimizer')
    choose(SCHEDULES, config.schedule, 'optim.schedule')
    require(0 < config.learning_rate < float('inf'), 'optim.learning_rate', config.learning_rate, 'must be above 0; try 1e-3')
    require(config.eps > 0, 'optim.eps', config.eps, 'must be above 0; try 1e-8')
    for name in ('momentum', 'beta1', 'beta2', 'ema'):
        value = getattr(config, name)
        require(0 <= value < 1, f'optim.{name}', value, 'a decay rate is at least 0 and below 1')
    for name in ('weight_decay', 'clip_norm', 'warmup_steps', 'cooldown_steps'):
        value = getattr(config, name)
        require(0 <= value < float('inf'), f'optim.{name}', value, 'must not be negative; 0 turns it off')
    require(0 <= config.layer_decay <= 1, 'optim.layer_decay', config.layer_decay, 'use a factor in 0 to 1, as 0.9')
    require(0 <= config.final_fraction <= 1, 'optim.final_fraction', config.final_fraction, 'must be in 0 to 1')
    if steps is not None:
        _validate_phases(config, steps)


def _validate_phases(config: OptimConfig, steps: int) -> None:
    warmup, cooldown = config.warmup_steps, config.cooldown_steps
    remedy = f'the run has only {steps} steps; try {steps // 10}'
    require(warmup < steps or warmup == 0, 'optim.warmup_steps', warmup, remedy)
    if config.schedule == 'wsd':
        left = steps - warmup
        remedy = f'warm-up leaves {left} of {steps} steps; try {min(steps // 5, left)}'
        require(cooldown <= left, 'optim.cooldown_steps', cooldown, remedy)
