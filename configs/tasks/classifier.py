"""Classes of texts with the values that a usual trainer has: what people know, for a table of their own.

    python -m experiments.finetune --config=configs/tasks/classifier.py:texts.csv --init=hf:DIR --workdir=runs/classifier

The file is .csv, .tsv or .jsonl with columns `text` and `label`. 3 epochs of batches of 16 (64 in evaluation), AdamW at 5e-5
falling linearly to 0, seed 42, a line every 10 steps; after each epoch an evaluation and a checkpoint, of which 3 stay: the
newest two and the one with the best accuracy, which is the outcome. Every tenth text validates, unless data.valid_source names
a file for that. With --init=none the small encoder below learns from scratch (501,186 parameters for 6,288 words).
"""

from lmjax import Config, DataConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(path: str = 'texts.csv') -> Config:
    return Config(
        name='classifier',
        seed=42,
        data=DataConfig(
            source=f'labelled:{path}', tokenizer='word', lowercase=True, seq_len=128, layout='documents', buckets=8
        ),
        model=TransformerConfig(causal=False, width=64, depth=2, heads=4, dropout=0.1),
        objective=ObjectiveConfig(kind='classify', pooling='mean'),
        optim=OptimConfig(optimizer='adamw', learning_rate=5e-5, schedule='linear', weight_decay=0.01, clip_norm=1.0),
        train=TrainConfig(
            steps=0,
            epochs=3,
            batch_size=16,
            eval_batch_size=64,
            eval_epochs=1,
            log_every=10,
            keep_latest=2,
            keep_best=1,
            metric='accuracy',
            load_best=True,
        ),
        next_step='what it says of a text of yours: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
