"""A small network of words, for entry points that score them."""

import jax

import lmjax
from lmjax.data.tokenizers import tokenizer_class
from lmjax.models import build

SETUP = 'import scored_network; run = scored_network.network(); lmjax.load = lambda *_, **__: run'


def network():
    config = lmjax.Config(model=lmjax.TransformerConfig(width=8, depth=1, heads=2), data=lmjax.DataConfig(seq_len=32))
    tokenizer = tokenizer_class('bpe').train(['the cat and a dog sat and the dog sat on a cat ' * 40], [], 280)
    model = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=32)
    return lmjax.Run('runs/none', config, model, jax.jit(model.init)(jax.random.key(0), {}), tokenizer)
