"""Captions of pictures, or transcripts of sounds: frames stand before a text, and a small network from scratch tells it.

    python -m experiments.make_emoji --font=NotoColorEmoji.ttf --names=data.json --folder=emoji
    python -m experiments.finetune --config=configs/tasks/captions.py:pictures:emoji/rows.jsonl --init=none --workdir=runs/emoji
    python -m experiments.evaluate --workdir=runs/emoji --data='pictures:emoji/rows.jsonl@0/10'
    python -m experiments.retrieve --workdir=runs/emoji --data='pictures:emoji/rows.jsonl@0/10' --among=100

The file is .jsonl, .csv or .tsv with columns `picture` (a file, relative to this one) and `caption`, or after `sounds:` with
`sound` (WAV) and `transcript`. Rows whose number modulo 10 is 1 validate, those with 0 are left for the test above, and the
others train. All 568,192 parameters are trained; with --init=hf:DIR or gguf:FILE those of that network, and a new encoder of
frames. docs/tasks.md says what that reaches.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(rows: str = 'pictures:emoji/rows.jsonl') -> Config:
    return Config(
        name='captions',
        data=DataConfig(
            source=f'{rows}@2-9/10',
            valid_source=f'{rows}@1/10',
            tokenizer='bpe',
            vocab_size=1024,
            lowercase=True,
            seq_len=32,
            layout='documents',
            picture_size=32,
            patch_size=8,
        ),
        model=TransformerConfig(width=128, depth=2, heads=4, dropout=0.2),
        objective=ObjectiveConfig(kind='caption'),
        optim=OptimConfig(learning_rate=1e-3, schedule='cosine', warmup_steps=50, weight_decay=0.1),
        train=TrainConfig(steps=0, epochs=12, batch_size=32, eval_batch_size=64, eval_epochs=2, log_every=20, load_best=True),
        log=LogConfig(prompts=()),
        next_step='ask it: python -m experiments.predict --workdir=WORKDIR --input=FILE, the name of a picture a line',
    )
