"""Fill in the middle: a small language model of Python functions that reads on both sides of a gap.

    python -m experiments.make_gaps --output=gaps.jsonl
    python -m experiments.finetune --config=configs/tasks/infill.py:gaps.jsonl --init=none --workdir=runs/infill
    python -m experiments.evaluate --workdir=runs/infill --data='infill:gaps.jsonl@0/10' --predictions=told.jsonl
    python -m experiments.compare --first=told.jsonl --score=exact

The file is .jsonl with strings `text` to learn from, of which each half the time is cut in two random places, and `prefix`,
`suffix` and `middle` to test on. Rows whose number modulo 10 is 1 validate, those with 0 are left for the test above, and the
others train. 821,120 parameters. docs/tasks.md says what they reach, and how `objective.kind=complete` learns the
lines themselves after that.
"""

from lmjax import (
    Config,
    DataConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
)


def get_config(path: str = 'gaps.jsonl') -> Config:
    return Config(
        name='infill',
        data=DataConfig(
            source=f'jsonl:{path}#text@2-9/10',
            valid_source=f'jsonl:{path}#text@1/10',
            tokenizer='byte',
            specials=('prefix', 'suffix', 'middle'),
            seq_len=320,
            layout='documents',
            buckets=6,
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
        ),
        objective=ObjectiveConfig(kind='infill', infill_rate=0.5),
        optim=OptimConfig(
            optimizer='muon',
            learning_rate=0.02,
            schedule='linear',
            warmup_steps=20,
            final_fraction=0.0,
            momentum=0.95,
            weight_decay=0.1,
        ),
        train=TrainConfig(steps=0, epochs=5, batch_size=16, eval_batch_size=64, eval_every=0, eval_epochs=1),
        sample=SamplingConfig(max_new_tokens=100, greedy=True),
        log=LogConfig(prompts=('def ',)),
        next_step='fill a gap: python -m experiments.predict --workdir=WORKDIR --input=FILE, lines of ["before", "after"]',
    )
