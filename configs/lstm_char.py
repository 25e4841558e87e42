"""One LSTM of 128 on one-hot characters with a softmax layer: 120,533 parameters at 85 characters.

    python -m experiments.train --config=configs/lstm_char.py --workdir=runs/lstm_char

Orthogonal recurrent initialisation, forget bias 1, batch 64, 10 epochs.

208,350 parameters at the 222 characters of the standard library, 120,533 at 85. Measured on that library (Python 3.11, one run
of its 24,233 steps, an hour on a busy CPU): 1.282 nats a character, 1.850 bits per byte on the held-out tenth.
"""

from lmjax import Config, DataConfig, OptimConfig, RecurrentConfig, TrainConfig


def get_config() -> Config:
    return Config(
        name='lstm_char',
        data=DataConfig(source='stdlib', tokenizer='char', seq_len=64),
        model=RecurrentConfig(cell='lstm', embedding=0, hidden=128, depth=1, init='orthogonal', forget_bias=1.0),
        optim=OptimConfig(optimizer='adam', learning_rate=2e-3, schedule='constant', clip_norm=1.0),
        train=TrainConfig(steps=0, epochs=10, batch_size=64, eval_every=0, eval_batch_size=256),
    )
