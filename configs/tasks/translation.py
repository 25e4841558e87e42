"""A sentence in another language, learned from nothing by a small encoder-decoder.

python -m experiments.finetune --config=configs/tasks/translation.py:pairs.jsonl#en,it --init=none --workdir=runs/translation
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, SamplingConfig, TrainConfig, TransformerConfig


def get_config(argument: str = 'pairs.jsonl#en,it') -> Config:
    return Config(
        name='translation',
        data=DataConfig(
            source=f'jsonl:{argument}@2-9/10',
            valid_source=f'jsonl:{argument}@1/10',
            tokenizer='bpe',
            vocab_size=6000,
            specials=('separator', 'start', 'end'),
            seq_len=96,
            layout='documents',
            buckets=6,
        ),
        model=TransformerConfig(
            width=192,
            depth=3,
            encoder_depth=3,
            heads=6,
            position='relative',
            relative_distance=32,
            norm='rms',
            feed_forward='geglu_tanh',
            dropout=0.1,
            init='fan_in',
        ),
        objective=ObjectiveConfig(kind='seq2seq', label_smoothing=0.1),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=2e-3,
            schedule='cosine',
            warmup_steps=200,
            beta2=0.98,
            weight_decay=0.05,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=5000, batch_size=64, eval_batch_size=64, eval_every=1000, eval_batches=16, keep_latest=5),
        sample=SamplingConfig(num_beams=4, max_new_tokens=64),
        log=LogConfig(prompts=('documentation for MIT Kerberos', 'utilities for the Plexus framework - documentation')),
        next_step='what it makes of a text of yours: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
