"""A masked language model: an encoder that tells hidden tokens of Python's standard library from all that is around them.

    python -m experiments.train --config=configs/mlm.py --workdir=runs/mlm
    python -m experiments.generate --workdir=runs/mlm --prompt='for i in <mask>(len(items)):'

2,558,080 parameters; on the standard library 4.47 nats a hidden token (perplexity 87) on its held-out tenth.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config() -> Config:
    return Config(
        name='mlm',
        data=DataConfig(source='stdlib', tokenizer='bpe', vocab_size=4096, specials=('mask',), seq_len=128),
        model=TransformerConfig(
            causal=False,
            width=192,
            depth=4,
            heads=6,
            position='rotary',
            norm='rms',
            feed_forward='swiglu',
            qk_norm=True,
            init='gpt2',
        ),
        objective=ObjectiveConfig(kind='masked'),
        optim=OptimConfig(
            optimizer='muon',
            learning_rate=0.02,
            beta1=0.9,
            beta2=0.98,
            momentum=0.95,
            schedule='wsd',
            warmup_steps=20,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=600, batch_size=16, eval_every=100, eval_batches=20),
        log=LogConfig(prompts=('def __init__(self, name):\n        self.name = <mask>\n', 'for i in <mask>(len(items)):\n')),
        next_step='hide whole words with --config.objective.whole_words=True and another --workdir',
    )
