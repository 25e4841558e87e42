"""A network that reads a source, as small as can be: each target token sees the source through weights of its place alone."""

import jax
import jax.numpy as jnp

from lmjax.ops.losses import token_scores
from lmjax.types import Model, Output, Traits

WIDTH = 16
AXES = {'source': ('vocab', 'embed'), 'target': ('vocab', 'embed'), 'places': (None, None), 'head': ('embed', 'vocab')}


def build(config, *, vocab_size, seq_len):
    most = 2 * seq_len + 2

    def init(key, hparams):
        shapes = {'source': (vocab_size, WIDTH), 'target': (vocab_size, WIDTH)}
        shapes |= {'places': (most, most), 'head': (WIDTH, vocab_size)}
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, shape) / 4 for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    def apply(params, inputs, cache=None, key=None, hparams=None):
        source, mask = inputs.source_ids, inputs.source_mask
        if source is None:  # the work of a forward pass is counted without one
            source, mask = inputs.ids, jnp.ones(inputs.ids.shape, bool)
        T, S = inputs.ids.shape[1], source.shape[1]
        seen_BxTxS = jnp.where(mask[:, None], params['places'][None, :T, :S], -1e30)
        read_BxTxD = jnp.einsum('bts,bsd->btd', jax.nn.softmax(seen_BxTxS), params['source'][source])
        return Output(read_BxTxD + params['target'][inputs.ids])

    def score(params, hidden, ids=None):
        if ids is None:
            return jnp.einsum('btd,dv->btv', hidden, params['head'])
        return token_scores(lambda rows: rows @ params['head'], hidden, ids, vocab_size=vocab_size)

    return Model(init, apply, score, None, AXES, None, Traits(cached=False, sourced=True), vocab_size)
