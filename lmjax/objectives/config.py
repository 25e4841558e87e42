"""What is minimised."""

import dataclasses


@dataclasses.dataclass
class ObjectiveConfig:
    kind: str = 'causal'  # a row of OBJECTIVES
    label_smoothing: float = 0.0  # mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7)
    z_loss: float = 0.0  # weight of log(Z)^2 (PaLM, Chowdhery et al. 2022, section 5)
