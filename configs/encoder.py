"""A small encoder to fine-tune: a masked language model of English, pre-trained on a dictionary.

    python -m experiments.train --config=configs/encoder.py:dictionary.txt --workdir=runs/encoder
    python -m experiments.finetune --config=configs/tasks/sentiment.py:reviews.jsonl --init=runs/encoder --workdir=runs/tuned

After the colon stands a file of text, a paragraph a line; docs/pretrain-finetune.md makes one of a dictionary of 28 MB.
5,261,824 parameters; 3.007 nats a hidden token (perplexity 20.2) on the last tenth of that text.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(path: str = 'dictionary.txt') -> Config:
    return Config(
        name='encoder',
        data=DataConfig(
            source=f'text:{path}', tokenizer='bpe', vocab_size=8192, specials=('mask',), lowercase=True, seq_len=64
        ),
        model=TransformerConfig(
            causal=False,
            width=256,
            depth=4,
            heads=4,
            position='rotary',
            norm='rms',
            feed_forward='swiglu',
            init='fan_in',
        ),
        objective=ObjectiveConfig(kind='masked'),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=1e-3,
            beta2=0.98,
            schedule='cosine',
            warmup_steps=300,
            weight_decay=0.01,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=6000, batch_size=64, eval_every=500, eval_batches=20),
        log=LogConfig(prompts=('the film was<mask>, a waste of time.', 'a man who is very<mask>.')),
        next_step='fine-tune it: docs/pretrain-finetune.md',
    )
