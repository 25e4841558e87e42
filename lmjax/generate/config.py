"""How text is sampled, or searched for with beams."""

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
    num_beams: int = 1  # 1: off; more: the num_samples likeliest continuations that beam search finds, instead of drawn ones
    length_penalty: float = 1.0  # beams are ranked by log-probability / length ** this: above 0 favours long ones
    early_stopping: bool = False  # whether a search ends with num_beams finished hypotheses, though others may be better
    stop: tuple[str, ...] = ()
    language: str = ''  # in which a network that was trained on several goes on; empty: the first
    seed: int = 0
