"""Any published network, by name, trained from scratch.

Decoders: GPT-2, GPT-3, Pythia, Llama, Mistral, Qwen, Gemma 2, SmolLM2. Encoders, as masked language models: BERT, RoBERTa,
DistilBERT, MiniLM. Encoder-decoders: T5, which tells hidden spans, and BART and the first transformer, which tell the text that
noise has left them.

    python -m experiments.train --config=configs/family.py:llama3-tiny --workdir=runs/llama3-tiny
    python -m experiments.inspect --config=configs/family.py:gpt2-xl

The names are the rows of `lmjax/models/families.py`. A name that ends in -tiny is the family's blocks at width 64, which train
on a laptop: llama3-tiny has 217,664 parameters and reaches 2.89 bits per byte on the standard library after 200 steps. The
others are meant for accelerators; learning rate and tokens a step are those of Brown et al. 2020, table 2.1, at that width.
"""

import dataclasses

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig
from lmjax.config import choose
from lmjax.models.families import FAMILIES

LONGEST_WINDOW = 2048  # longer contexts are reached by training on, not from scratch
RECIPES = {  # width up to which it holds -> learning rate, tokens a step
    64: (3e-3, 1 << 11),
    768: (6e-4, 1 << 19),
    1024: (3e-4, 1 << 19),
    1536: (2.5e-4, 1 << 19),
    2048: (2e-4, 1 << 20),
    2560: (1.6e-4, 1 << 20),
    4096: (1.2e-4, 1 << 21),
    5140: (1e-4, 1 << 21),
    12288: (6e-5, 1 << 22),
}


def get_config(name: str = 'gpt2') -> Config:
    family = choose(FAMILIES, name, 'family')
    is_tiny = name.endswith('-tiny')
    ends = bool(family.model.encoder_depth and family.model.max_length)  # both sides of an encoder-decoder have a token more
    seq_len = min(family.context - ends, LONGEST_WINDOW)
    learning_rate, tokens = next(recipe for width, recipe in RECIPES.items() if family.model.width <= width)
    model = dataclasses.replace(family.model, dtype='float32' if is_tiny else 'bfloat16')
    kind = objective_of(name, model)
    specials = ('mask',) if kind in ('masked', 'denoise') else ()
    sentinels = 100 if kind == 'spans' else 0
    words = family.vocab_size - len(specials) - sentinels
    return Config(
        name=name,
        data=DataConfig(
            source='stdlib', tokenizer='bpe', vocab_size=words, specials=specials, sentinels=sentinels, seq_len=seq_len
        ),
        model=model,
        objective=ObjectiveConfig(kind=kind, mask_fraction=0.3 if kind == 'denoise' else 0.15),
        log=LogConfig(prompts=('' if kind == 'causal' else 'self.<mask> = name',)),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=learning_rate,
            schedule='cosine',
            warmup_steps=20 if is_tiny else 2000,
            final_fraction=0.1,
            beta2=0.95,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(
            steps=200 if is_tiny else 100_000,
            batch_size=tokens // seq_len // 8 * 8,
            accumulate=1 if is_tiny else tokens // seq_len // 8,
            eval_every=50 if is_tiny else 1000,
            eval_batches=10,
            eval_batch_size=8,
        ),
    )


def objective_of(name: str, model: TransformerConfig) -> str:
    """What the family was first trained on, or what is nearest to that on plain text."""
    if model.encoder_depth:
        return 'spans' if name.startswith('t5') else 'denoise'
    return 'causal' if model.causal else 'masked'
