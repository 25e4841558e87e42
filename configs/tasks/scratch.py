"""Whether a sentence praises or blames, learned from nothing by an LSTM, a GRU or a small transformer.

    python -m experiments.finetune --config=configs/tasks/scratch.py:lstm,reviews.jsonl --init=none --workdir=runs/lstm

After the colon stand the network (lstm, gru or transformer) and the file, or a glob as reviews/{a,b}.jsonl; columns and rows
are as in sentiment.py. On its own words, at most 8,000: 1,163,842, 1,131,074 and 1,221,250 parameters. The outcome is the best
of 3 epochs by accuracy: later ones learn the texts by heart. docs/tasks.md says what they reach.
"""

from configs.tasks import sentiment
from lmjax import Config, RecurrentConfig, TransformerConfig
from lmjax.config import choose

NETWORKS = {
    'lstm': RecurrentConfig(cell='lstm', embedding=128, hidden=128, depth=1, dropout=0.5, tied=True),
    'gru': RecurrentConfig(cell='gru', embedding=128, hidden=128, depth=1, dropout=0.5, tied=True),
    'transformer': TransformerConfig(causal=False, width=128, depth=1, heads=4, dropout=0.3),
}


def get_config(argument: str = 'lstm,sentiment.jsonl') -> Config:
    name, _, path = argument.partition(',')
    config = sentiment.get_config(path or 'sentiment.jsonl')
    config.name, config.model = f'scratch-{name}', choose(NETWORKS, name, 'config argument')
    config.data.vocab_size, config.data.buckets = 8000, 6
    config.optim.learning_rate, config.optim.warmup_steps = 3e-3, 50
    config.train.batch_size, config.train.epochs, config.train.eval_epochs = 32, 3, 1
    config.train.metric, config.train.load_best = 'accuracy', True
    return config
