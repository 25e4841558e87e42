"""The training workloads, each as an ordinary config of lmjax."""

from __future__ import annotations

import dataclasses

import lmjax
from lmjax import Config, DataConfig, OptimConfig, RecurrentConfig, TrainConfig, TransformerConfig


@dataclasses.dataclass
class Workload:
    title: str
    config: Config
    vocab_size: int
    needs_gpu: bool = False

    @property
    def batch_shape(self) -> tuple[int, int]:
        return self.config.train.batch_size, self.config.data.seq_len


def _workload(
    title: str,
    model: lmjax.ModelConfig,
    *,
    vocab_size: int,
    batch_size: int,
    seq_len: int,
    optim: OptimConfig | None = None,
    needs_gpu: bool = False,
) -> Workload:
    config = Config(
        data=DataConfig(seq_len=seq_len),
        model=model,
        optim=optim or OptimConfig(optimizer='adam', learning_rate=1e-3, schedule='constant'),
        train=TrainConfig(steps=1_000_000, batch_size=batch_size),
    )
    return Workload(title, config, vocab_size, needs_gpu)


def _gpt(**sizes: int) -> TransformerConfig:
    """nanoGPT's block: learned positions, LayerNorm, exact GELU, tied head, no biases."""
    return TransformerConfig(**sizes, position='learned', norm='layer', feed_forward='gelu', tied=True, bias=False)


WORKLOADS = {
    'a': _workload(
        'LSTM LM, 256/512 x 2',
        RecurrentConfig(cell='lstm', embedding=256, hidden=512, depth=2),
        vocab_size=10_000,
        batch_size=20,
        seq_len=35,
    ),
    'b': _workload(
        '2017 transformer LM, 200 x 2',
        TransformerConfig(
            width=200,
            depth=2,
            heads=2,
            ff_width=200,
            position='sinusoidal',
            norm='layer',
            norm_place='post',
            final_norm=False,
            feed_forward='relu',
            tied=False,
            embed_scale=True,
            bias=True,
            head_bias=True,
            init='uniform_0.1',
        ),
        vocab_size=28_782,
        batch_size=20,
        seq_len=35,
    ),
    'c': _workload('GPT, 128 x 4', _gpt(width=128, depth=4, heads=4), vocab_size=85, batch_size=12, seq_len=64),
    'd': _workload('GPT, 384 x 6', _gpt(width=384, depth=6, heads=6), vocab_size=85, batch_size=8, seq_len=256),
    'e': _workload(
        'GPT-2 small, bf16',
        TransformerConfig(
            width=768,
            depth=12,
            heads=12,
            position='learned',
            norm='layer',
            feed_forward='gelu_tanh',
            tied=True,
            bias=True,
            dtype='bfloat16',
        ),
        vocab_size=50_304,  # 50,257 rounded up to a multiple of 64, as is usual on GPUs; the same on both sides
        batch_size=16,
        seq_len=1024,
        needs_gpu=True,
    ),
}
