"""What is minimised."""

import dataclasses


@dataclasses.dataclass
class ObjectiveConfig:
    kind: str = 'causal'  # a row of OBJECTIVES
    label_smoothing: float = 0.0  # mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7)
    mask_fraction: float = 0.15  # of a row's tokens, those that are hidden (BART's denoise: 0.3) and, if masked, scored
    mask_replaced: float = 0.8  # masked: of these, become the mask
    mask_random: float = 0.1  # of these, become a random token; the rest stay
    whole_words: bool = False  # masked: hide all tokens of a word or none
    pairs: str = (
        ''  # masked: rows are two texts, and it is told whether the second is the next, or in which order they are: next, order
    )
    span_length: float = 3.0  # spans, denoise: tokens in a hidden span, on average
    shuffle_sentences: bool = True  # denoise: the source's sentences stand in random order
    z_loss: float = 0.0  # weight of log(Z)^2 (PaLM, Chowdhery et al. 2022, section 5)
