"""A line in another language, learned from nothing by a small encoder-decoder.

    python -m experiments.finetune --config=configs/tasks/translation.py:lines.jsonl#en,it --init=none --workdir=runs/en-it
    python -m experiments.evaluate --workdir=runs/en-it --data='jsonl:lines.jsonl#en,it@0/10' --predictions=en-it.jsonl
    python -m experiments.compare --first=en-it.jsonl --score=bleu
    echo 'documentation for MIT Kerberos' | python -m experiments.predict --workdir=runs/en-it --input=-

The file is .jsonl; after # stand the fields of the source and of the target. Rows whose number modulo 10 is 1 validate, those
with 0 are left for the test above, and the others train. 4,252,800 parameters, 6,000 tokens for both languages. What is told is
the likeliest token each time; --config.sample.greedy=false --config.sample.num_beams=4 searches, several times as slowly.
docs/tasks.md says what it reaches.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, SamplingConfig, TrainConfig, TransformerConfig


def get_config(argument: str = 'lines.jsonl#en,it') -> Config:
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
        sample=SamplingConfig(greedy=True, max_new_tokens=64),
        log=LogConfig(prompts=('documentation for MIT Kerberos', 'utilities for the Plexus framework - documentation')),
        next_step='what it makes of a text of yours: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
