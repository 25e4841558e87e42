"""A small T5: an encoder-decoder that tells hidden spans of Python's standard library from all that is around them.

    python -m experiments.train --config=configs/t5_spans.py --workdir=runs/t5_spans
    python -m experiments.generate --workdir=runs/t5_spans --prompt='for i in <mask>(len(items)):'

4,922,112 parameters; on the standard library 4.35 nats a token of a target, its sentinels counted (perplexity 77.5).
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, SamplingConfig, TrainConfig, TransformerConfig


def get_config() -> Config:
    return Config(
        name='t5_spans',
        data=DataConfig(source='stdlib', tokenizer='bpe', vocab_size=4096, sentinels=8, seq_len=64),
        model=TransformerConfig(
            width=192,
            depth=4,
            encoder_depth=4,
            heads=6,
            position='relative',
            norm='rms',
            feed_forward='geglu_tanh',
            qk_norm=True,
            init='fan_in',
        ),
        objective=ObjectiveConfig(kind='spans'),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=2e-3,
            beta2=0.98,
            schedule='cosine',
            warmup_steps=20,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=800, batch_size=32, eval_every=100, eval_batches=20),
        sample=SamplingConfig(greedy=True, max_new_tokens=16),
        log=LogConfig(prompts=('def __init__(self, name):\n        self.name = <mask>\n', 'for i in <mask>(len(items)):\n')),
        next_step='hide more: --config.objective.mask_fraction=0.3 --config.data.sentinels=16 and another --workdir',
    )
