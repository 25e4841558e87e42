"""A word-level LSTM language model: vocabulary 10,000, embedding 256, hidden 512, 2 layers; Adam 1e-3, 10 epochs.

    python -m experiments.train --config=configs/lstm_lm.py --workdir=runs/lstm_lm

One bias a gate, so 11,364,112 parameters at 10,000 words (PyTorch keeps two biases a gate, whose sum is ours).

19,310 steps on the standard library, hours on 2 CPU cores. Measured: 500 steps give 3.773 nats a word, perplexity 43.5.

    python -m experiments.train --config=configs/lstm_lm.py --workdir=runs/lstm_lm_short --config.train.steps=500
"""

from lmjax import Config, DataConfig, OptimConfig, RecurrentConfig, TrainConfig


def get_config() -> Config:
    return Config(
        name='lstm_lm',
        data=DataConfig(source='stdlib', tokenizer='word', vocab_size=10_000, seq_len=35, order='contiguous'),
        model=RecurrentConfig(cell='lstm', embedding=256, hidden=512, depth=2),
        optim=OptimConfig(optimizer='adam', learning_rate=1e-3, schedule='constant', clip_norm=1.0),
        train=TrainConfig(steps=0, epochs=10, batch_size=20, carry=True, eval_every=0, eval_batch_size=20),
    )
