"""Whether a sentence praises or blames: a classifier on top of any network, from a file of labelled texts.

    python -m experiments.finetune --config=configs/tasks/sentiment.py:reviews.jsonl --init=hf:DIR --workdir=runs/sentiment
    python -m experiments.evaluate --workdir=runs/sentiment --data='labelled:reviews.jsonl#text,label@0/10'
    python -m experiments.predict --workdir=runs/sentiment --input=texts.txt

The file is .jsonl, .csv or .tsv with columns `text` and `label`. Rows whose number modulo 10 is 1 validate, those with 0 are
left for the test above, and the others train. With --init=none the small encoder below learns from scratch, on its own words:
501,186 parameters for the 6,288 words of 2,400 sentences. docs/tasks.md says what both reach.
"""

from lmjax import Config, DataConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(path: str = 'sentiment.jsonl') -> Config:
    return Config(
        name='sentiment',
        data=DataConfig(
            source=f'labelled:{path}#text,label@2-9/10',
            valid_source=f'labelled:{path}#text,label@1/10',
            tokenizer='word',
            lowercase=True,
            seq_len=64,
            layout='documents',
            buckets=10,
        ),
        model=TransformerConfig(causal=False, width=64, depth=2, heads=4, dropout=0.1),
        objective=ObjectiveConfig(kind='classify', pooling='mean'),
        optim=OptimConfig(optimizer='adamw', learning_rate=1e-4, schedule='linear', warmup_steps=45, weight_decay=0.01),
        train=TrainConfig(steps=0, epochs=3, batch_size=16, eval_batch_size=64, eval_every=150),
        next_step='what it says of a text of yours: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
