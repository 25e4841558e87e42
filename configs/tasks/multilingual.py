"""One language model of several languages: texts of each have a share, and may be told apart by a vector of their language.

    python -m experiments.finetune --config=configs/tasks/multilingual.py:pairs.jsonl --init=none --workdir=runs/both
    python -m experiments.evaluate --workdir=runs/both --data='languages:it=jsonl:pairs.jsonl#it@0/10'
    python -m experiments.generate --workdir=runs/both --language=it --prompt='un'

The file is .jsonl with strings `en` and `it`. Rows whose number modulo 10 is 1 validate, those with 0 are left for the test
above, and the others train. `data.balance` below 1 shows the smaller language more often, `model.token_types=0` leaves out the
vectors of languages. 820,992 parameters. docs/tasks.md says what they reach, beside a model for each language.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, SamplingConfig, TrainConfig, TransformerConfig


def rows(path: str, share: str) -> str:
    """Both languages' texts of those rows."""
    return ';'.join(f'{name}=jsonl:{path}#{name}@{share}' for name in ('en', 'it'))


def get_config(path: str = 'pairs.jsonl') -> Config:
    return Config(
        name='multilingual',
        data=DataConfig(
            source=f'languages:{rows(path, "2-9/10")}',
            valid_source=f'languages:{rows(path, "1/10")}',
            tokenizer='byte',
            seq_len=96,
            layout='documents',
            buckets=4,
        ),
        model=TransformerConfig(
            width=128,
            depth=4,
            heads=4,
            position='rotary',
            norm='rms',
            feed_forward='squared_relu',
            qk_norm=True,
            tied=True,
            bias=False,
            init='gpt2',
            token_types=2,
        ),
        objective=ObjectiveConfig(kind='languages'),
        optim=OptimConfig(
            optimizer='muon',
            learning_rate=0.02,
            schedule='linear',
            warmup_steps=20,
            final_fraction=0.0,
            momentum=0.95,
            weight_decay=0.1,
        ),
        train=TrainConfig(steps=1500, batch_size=32, eval_batch_size=64, eval_every=0),
        sample=SamplingConfig(max_new_tokens=60, temperature=0.8),
        log=LogConfig(prompts=('',)),
        next_step='the other language: python -m experiments.generate --workdir=WORKDIR --language=it --prompt=un',
    )
