"""Answers that people prefer: a network that goes on with text learns from pairs of answers, and stays near what it was.

    python -m experiments.finetune --config=configs/tasks/preferences.py:pairs.jsonl --init=WORKDIR --workdir=runs/preferred
    python -m experiments.evaluate --workdir=runs/preferred --data='preferred:pairs.jsonl@0/10' --predictions=told.jsonl
    python -m experiments.compare --first=told.jsonl --second=before.jsonl

The file is .jsonl with `prompt` (a string, or a list of messages) and the strings `chosen` and `rejected`. Rows whose number
modulo 10 is 1 validate, those with 0 are left for the test above, and the others train. `objective.preference` is
dpo, ipo or orpo. All parameters learn; `--config.adapt.kind=lora` keeps them. docs/tasks.md says what it reaches.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig


def get_config(path: str = 'pairs.jsonl') -> Config:
    return Config(
        name='preferences',
        data=DataConfig(
            source=f'preferred:{path}@2-9/10',
            valid_source=f'preferred:{path}@1/10',
            tokenizer='library',
            seq_len=512,
            layout='documents',
            buckets=4,
        ),
        objective=ObjectiveConfig(kind='prefer', preference='dpo', beta=0.1),
        optim=OptimConfig(learning_rate=1e-4, schedule='linear', warmup_steps=10, final_fraction=0.0),
        train=TrainConfig(steps=0, epochs=1, batch_size=8, eval_batch_size=32, eval_every=0, log_every=5),
        log=LogConfig(prompts=()),
        next_step='which of two answers it finds the likelier: python -m experiments.predict --workdir=WORKDIR --input=FILE',
    )
