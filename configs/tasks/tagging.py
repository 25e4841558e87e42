"""What part of speech each word of a sentence is, learned from nothing by a small transformer that sees all of it.

    python -m experiments.finetune --config=configs/tasks/tagging.py:brown.jsonl --init=none --workdir=runs/tagging
    python -m experiments.evaluate --workdir=runs/tagging --data='tagged:brown.jsonl#tokens,tags@0/10'
    echo 'The old man the boats .' | python -m experiments.predict --workdir=runs/tagging --input=-

The file is .jsonl with lists `tokens` and `tags`, or CoNLL's columns (.conll, .conllu) with --config.data.source. Rows whose
number modulo 10 is 1 validate, those with 0 are left for the test above, and the others train. 1,653,204 parameters on the
Brown corpus; docs/tasks.md says what they reach.
"""

from lmjax import Config, DataConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(path: str = 'brown.jsonl') -> Config:
    return Config(
        name='tagging',
        data=DataConfig(
            source=f'tagged:{path}#tokens,tags@2-9/10',
            valid_source=f'tagged:{path}#tokens,tags@1/10',
            tokenizer='bpe',
            vocab_size=8192,
            seq_len=128,
            layout='documents',
            buckets=8,
        ),
        model=TransformerConfig(
            causal=False, width=128, depth=3, heads=4, position='rotary', norm='rms', feed_forward='swiglu', dropout=0.3
        ),
        objective=ObjectiveConfig(kind='tag'),
        optim=OptimConfig(
            optimizer='adamw', learning_rate=2e-3, schedule='cosine', warmup_steps=100, weight_decay=0.05, clip_norm=1.0
        ),
        train=TrainConfig(
            steps=0, epochs=8, batch_size=32, eval_batch_size=64, eval_epochs=1, metric='accuracy', load_best=True
        ),
        next_step='the tags of words of yours: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
