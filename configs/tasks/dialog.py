"""Answers in a dialog: a network that was taught to chat learns those of a file, by low-rank changes of its weights.

    python -m experiments.finetune --config=configs/tasks/dialog.py:dialogs.jsonl --init=gguf:FILE --workdir=runs/dialog
    python -m experiments.evaluate --workdir=runs/dialog --data='chats:dialogs.jsonl#turns@0/10'
    python -m experiments.generate --workdir=runs/dialog --chat --prompt='What is AI?'

The file is .jsonl with a list `turns`: strings, the user's first, or messages with `role` and `content`. The checkpoint's
template writes them, and only what the assistant says is scored. Rows whose number modulo 10 is 1 validate, those with 0 are
left for the test above, and the others train. Of SmolLM2's 134,515,008 parameters all stay; 2,442,240 others are learned
and saved. docs/tasks.md says what that reaches.
"""

from lmjax import AdaptConfig, Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig


def get_config(path: str = 'dialogs.jsonl', column: str = 'turns') -> Config:
    return Config(
        name='dialog',
        data=DataConfig(
            source=f'chats:{path}#{column}@2-9/10',
            valid_source=f'chats:{path}#{column}@1/10',
            tokenizer='library',
            seq_len=256,
            layout='packed',
        ),
        objective=ObjectiveConfig(kind='instruct'),
        optim=OptimConfig(learning_rate=3e-4, schedule='linear', warmup_steps=5, final_fraction=0.0),
        adapt=AdaptConfig(kind='lora', rank=8, alpha=16.0),
        train=TrainConfig(steps=0, epochs=1, batch_size=4, eval_every=0, log_every=5),
        log=LogConfig(prompts=()),
        next_step="ask it: python -m experiments.generate --workdir=WORKDIR --chat --prompt='QUESTION'",
    )
