"""Whether a text entails a hypothesis: a classifier of two texts, which can then choose among classes that it never saw.

    python -m experiments.zero_shot --data='labelled:talks.jsonl#turns,topic@2-9/10' --without=food,sports --pairs=pairs.jsonl
    python -m experiments.finetune --config=configs/tasks/entailment.py:pairs.jsonl --init=hf:DIR --workdir=runs/entailment
    python -m experiments.zero_shot --data='labelled:talks.jsonl#turns,topic@0/10' --only=food,sports --workdir=runs/entailment

The file is .jsonl with strings `premise`, `hypothesis` and `label`. Rows whose number modulo 10 is 1 validate, those with
0 are left for a test, and the others train. With --init=none the small encoder of sentiment.py learns from scratch. MiniLM has
22.7 million parameters. docs/tasks.md says what it reaches.
"""

from configs.tasks import sentiment
from lmjax import Config


def get_config(path: str = 'pairs.jsonl') -> Config:
    config = sentiment.get_config(path)
    config.name = 'entailment'
    config.data.source = f'labelled:{path}#premise,hypothesis,label@2-9/10'
    config.data.valid_source = f'labelled:{path}#premise,hypothesis,label@1/10'
    config.data.buckets = 6
    config.train.eval_every, config.train.eval_epochs = 0, 1
    config.train.metric, config.train.load_best = 'accuracy', True
    config.next_step = 'choose among classes: python -m experiments.zero_shot --workdir=WORKDIR --data=labelled:FILE'
    return config
