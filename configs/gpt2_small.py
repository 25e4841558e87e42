"""GPT-2 small (Radford et al. 2019): 12 layers, width 768, 124,439,808 parameters at its vocabulary of 50,257.

    python -m experiments.train --config=configs/gpt2_small.py --workdir=runs/gpt2_small

Meant for an accelerator: bfloat16 computation, 480 windows of 1,024 tokens a step in 40 microbatches. To see it run on a CPU:

    python -m experiments.train --config=configs/gpt2_small.py --workdir=runs/gpt2_tiny --config.train.steps=2 \
        --config.train.batch_size=2 --config.train.accumulate=1 --config.data.seq_len=64 --config.train.eval_batches=1

124,439,808 parameters at 50,257 tokens. Not trained to the end on the machine that measured the other presets.
"""

from lmjax import Config, DataConfig, OptimConfig, TrainConfig, TransformerConfig


def get_config() -> Config:
    return Config(
        name='gpt2_small',
        data=DataConfig(source='stdlib', tokenizer='bpe', vocab_size=50257, seq_len=1024),
        model=TransformerConfig(
            width=768,
            depth=12,
            heads=12,
            position='learned',
            norm='layer',
            feed_forward='gelu_tanh',
            tied=True,
            bias=True,
            init='gpt2',
            dtype='bfloat16',
        ),
        optim=OptimConfig(
            optimizer='adamw',
            learning_rate=6e-4,
            schedule='cosine',
            warmup_steps=2000,
            final_fraction=0.1,
            beta2=0.95,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        train=TrainConfig(steps=100_000, batch_size=480, accumulate=40, eval_every=1000, eval_batches=50, eval_batch_size=12),
    )
