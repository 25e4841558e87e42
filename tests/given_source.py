"""Encoder-decoders as networks that the laws of all can be tried on."""

import jax.numpy as jnp


def given_source(model, tokens):
    """The network with the same source in every row: these tokens and one of padding. Others are themselves."""
    if not model.traits.sourced:
        return model

    def source(rows):
        return jnp.asarray([[*tokens, 0]] * rows), jnp.asarray([[*([True] * len(tokens)), False]] * rows)

    def apply(params, inputs, cache=None, **more):
        ids, mask = source(len(inputs.ids))
        return model.apply(params, inputs._replace(source_ids=ids, source_mask=mask), cache, **more)

    def init_cache(params, rows, length):
        return model.init_cache(params, rows, length, source(rows))

    return model._replace(apply=apply, init_cache=init_cache)
