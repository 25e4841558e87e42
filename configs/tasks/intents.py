"""What a conversation is about: one of 21 topics, most of them rare, from the lines of a short dialog.

    python -m experiments.finetune --config=configs/tasks/intents.py:dialogs.jsonl --init=hf:DIR --workdir=runs/intents
    python -m experiments.evaluate --workdir=runs/intents --data='labelled:dialogs.jsonl#turns,topic@0/10'

The file is .jsonl with a list of strings `turns` and a string `topic`. Rows whose number modulo 10 is 1 validate, those with 0
are left for the test above, and the others train. With --init=none the small encoder of sentiment.py learns from scratch, on
its own words. docs/tasks.md says what both reach. MiniLM has 22.7 million parameters.
"""

from configs.tasks import sentiment
from lmjax import Config


def get_config(path: str = 'dialogs.jsonl') -> Config:
    config = sentiment.get_config(path)
    config.name = 'intents'
    config.data.source = f'labelled:{path}#turns,topic@2-9/10'
    config.data.valid_source = f'labelled:{path}#turns,topic@1/10'
    config.data.buckets, config.data.unseen_labels = 6, 'leave_out'
    config.optim.learning_rate, config.optim.warmup_steps = 2e-4, 50
    config.train.epochs, config.train.eval_epochs = 4, 1
    config.train.metric, config.train.load_best = 'accuracy', True
    return config
