"""How text is sampled."""

import dataclasses


@dataclasses.dataclass
class SamplingConfig:
    max_new_tokens: int = 200
    num_samples: int = 1
    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0  # 1: off
    min_p: float = 0.0  # 0: off
    repetition_penalty: float = 1.0  # 1: off (Keskar et al. 2019)
    greedy: bool = False
    stop: tuple[str, ...] = ()
    seed: int = 0
