"""Answers that stand in a text: a network is told a question and the text, and learns where the answer begins and ends.

    python -m experiments.make_answers --output=answers.jsonl
    python -m experiments.finetune --config=configs/tasks/answers.py:answers.jsonl --init=hf:DIR --workdir=runs/answers
    python -m experiments.evaluate --workdir=runs/answers --data='answers:answers.jsonl@0/10' --predictions=told.jsonl
    python -m experiments.compare --first=told.jsonl --score=f1

The file is .jsonl, .csv or .tsv with columns `question`, `context` and `answer`: a string of the context, or empty, or as SQuAD
has it. Rows whose number modulo 10 is 1 validate, those with 0 are left for the test above, and the others train. All
parameters are trained. docs/tasks.md says what that reaches.
"""

from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config(path: str = 'answers.jsonl') -> Config:
    return Config(
        name='answers',
        data=DataConfig(
            source=f'answers:{path}@2-9/10',
            valid_source=f'answers:{path}@1/10',
            tokenizer='bpe',
            vocab_size=2048,
            specials=('separator',),
            seq_len=128,
            layout='documents',
            buckets=6,
        ),
        model=TransformerConfig(causal=False, width=128, depth=2, heads=4, dropout=0.1, token_types=2),
        objective=ObjectiveConfig(kind='span'),
        optim=OptimConfig(learning_rate=1e-4, schedule='linear', warmup_steps=30, final_fraction=0.0, weight_decay=0.01),
        train=TrainConfig(steps=0, epochs=2, batch_size=16, eval_batch_size=64, eval_every=0, log_every=10),
        log=LogConfig(prompts=()),
        next_step='ask it: python -m experiments.predict --workdir=WORKDIR --input=FILE, a file of QUESTION<TAB>TEXT',
    )
