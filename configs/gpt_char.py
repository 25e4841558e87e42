"""A small GPT on characters: nanoGPT's recipe for a CPU (4 layers, width 128, context 64, 2,000 steps of 12 windows).

    python -m experiments.train --config=configs/gpt_char.py --workdir=runs/gpt_char

On Shakespeare (or any text of your own):

    python -m experiments.train --config=configs/gpt_char.py --workdir=runs/shakespeare \
        --config.data.source=text:shakespeare.txt --config.data.tokenizer=char

824,192 parameters at the 222 characters of the standard library, 806,656 at Shakespeare's 85.
Measured on Shakespeare's complete works, the whole last tenth, seeds 0 to 2: 1.886, 1.887, 1.888 nats a character;
on Python 3.11's library (one run) 1.647 nats a character, 2.376 bits per byte.
"""

from lmjax import Config, DataConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config() -> Config:
    return Config(
        name='gpt_char',
        data=DataConfig(source='stdlib', tokenizer='char', seq_len=64, order='random'),
        model=TransformerConfig(
            width=128,
            depth=4,
            heads=4,
            position='learned',
            norm='layer',
            norm_place='pre',
            feed_forward='gelu',
            tied=True,
            bias=False,
            init='gpt2',
        ),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=1e-3,
            schedule='cosine',
            warmup_steps=100,
            final_fraction=0.1,
            beta1=0.9,
            beta2=0.99,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=2000, batch_size=12, eval_every=500, eval_batch_size=128),
    )
