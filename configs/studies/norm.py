"""Does RMSNorm do better or worse than LayerNorm in a small GPT on characters?

    python -m experiments.study --config=configs/studies/norm.py:shakespeare.txt --workdir=studies/norm

201,280 parameters beside the table of characters, width 64, 400 steps of 32 windows. Each norm is tuned over five learning
rates on two seeds and compared on eight others; a difference of up to 0.01 nats a character would not matter.
Any field is a flag, as --config.seeds=16 or --config.base.train.steps=1000. docs/studies/norm.md says what came out.
"""

from configs import gpt_char
from lmjax import Study


def get_config(path: str = 'shakespeare.txt') -> Study:
    base = gpt_char.get_config()
    base.name = 'norm'
    base.data.source = f'text:{path}'
    base.model.width = 64
    base.train.steps, base.train.batch_size = 400, 32
    base.train.eval_every, base.train.eval_batches = 100, 8
    return Study(
        base=base,
        arms=(('model.norm=layer',), ('model.norm=rms',)),
        seeds=8,
        tune=('optim.learning_rate=6e-3,1.2e-2,2.4e-2,4.8e-2,9.6e-2',),
        margin=0.01,
    )
