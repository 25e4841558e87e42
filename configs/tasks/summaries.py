"""The first line of a docstring from the rest of it, learned from nothing by a small encoder-decoder.

    python -m experiments.make_summaries --output=summaries.jsonl
    python -m experiments.finetune --config=configs/tasks/summaries.py:summaries.jsonl --init=none --workdir=runs/summaries
    python -m experiments.evaluate --workdir=runs/summaries --data='jsonl:summaries.jsonl#document,summary@0/10' \\
        --predictions=summaries0.jsonl

The file is .jsonl with strings `document` and `summary`. Rows whose number modulo 10 is 1 validate, those with 0 are left for
the test above, and the others train; a pair of more than 192 tokens is left out.
1,435,776 parameters, 4,000 tokens. docs/tasks.md says what they reach.
"""

from configs.tasks import translation
from lmjax import Config


def get_config(path: str = 'summaries.jsonl') -> Config:
    config = translation.get_config(f'{path}#document,summary')
    config.name = 'summaries'
    config.data.vocab_size, config.data.seq_len, config.data.buckets = 4000, 192, 4
    config.model.width, config.model.depth, config.model.encoder_depth, config.model.heads = 128, 2, 2, 4
    config.model.dropout = 0.3
    config.optim.warmup_steps = 50
    config.train.steps, config.train.epochs, config.train.eval_every, config.train.eval_epochs = 0, 12, 0, 2
    config.train.batch_size, config.train.keep_latest = 32, 2
    config.train.load_best = True
    config.sample.max_new_tokens, config.log.prompts = 32, ()
    return config
