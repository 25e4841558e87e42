"""What is minimised."""

import dataclasses

from lmjax.config import free


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
    infill_rate: float = 0.5  # infill: share of rows whose middle stands last (Bavarian et al. 2022, section 4.1)
    preference: str = 'dpo'  # prefer: a row of PREFERENCES: dpo, ipo, orpo
    beta: float = 0.1  # prefer: how strongly dpo and ipo hold to the reference; of orpo the weight of the odds
    shuffle_sentences: bool = True  # denoise: the source's sentences stand in random order
    z_loss: float = 0.0  # weight of log(Z)^2 (PaLM, Chowdhery et al. 2022, section 5)
    classes: tuple[str, ...] = ()  # classify, multilabel, tag: their names; empty: those of the training text
    class_weights: tuple[float, ...] = ()  # classify: of each class in the loss, in their order; empty: all 1
    balanced: bool = False  # classify: class_weights are made from the training text, so that no class outweighs another
    pooling: str = 'mean'  # of a text, where it becomes a vector: a row of POOLINGS: mean, first, last, pooler
    word_token: str = 'first'  # tag: which token of a word tells its tag: first, last
    drop_tokens: float = 0.0  # classify, multilabel, regress, contrastive: share of a text's tokens that training leaves out
    swap_tokens: float = 0.0  # the same: share of tokens that training swaps with a neighbour
    temperature: float = 0.05  # contrastive, match: cosines are divided by it
    # distill, and the reference of prefer, where empty is what the run starts from: a run's folder, hf:DIR, hf:NAME or
    # gguf:FILE; it may move, but stays the same network
    teacher: str = free('')
    reads: str = 'causal'  # distill: the row of OBJECTIVES by which both read a text: causal, masked, prefix, spans, ...
    soft_weight: float = 0.5  # distill: of the teacher's distribution; the rest is the text's. 0: the text alone
    soft_temperature: float = 2.0  # distill: logits of both are divided by it
    hidden: str = ''  # distill: a row of HIDDEN_LOSSES, what of the final hidden states is learned: cosine, relation; or none
    hidden_weight: float = 1.0  # distill: of that, per scored token, added to the loss
