"""Embeddings of a graph's entities and relations, behind the same contract as the networks.

The first token of a text is an entity and each one after it a relation: the hidden state at a position is the vector to which
the path so far leads (Guu et al. 2015, section 3), and scores are how near it each entity lies. So a head and a relation are a
text of two tokens, and its tail is the token that follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.config import choose, require
from lmjax.ops.dropout import dropout, fold_name
from lmjax.ops.losses import token_scores
from lmjax.types import Inputs, Model, Output, Traits

if TYPE_CHECKING:
    from lmjax.models.config import GraphConfig
    from lmjax.types import Array, HParams, Tree

ROWS = 64  # queries whose distances from all entities are worked out at once
AXES = {'entities': ('vocab', 'embed'), 'relations': ('vocab', 'embed')}


class Scoring(NamedTuple):
    """A way to follow a relation, and to tell how near an entity is; N x D and V x D, relations N x D (rotate: N x D / 2)."""

    follow: Callable[[Any, Any], Any]  # vectors, relations -> vectors
    near: Callable[[Any, Any], Any]  # vectors N x D, entities V x D -> N x V
    is_complex: bool = False  # the first half of a vector is real, the second imaginary
    turns: bool = False  # relations are angles


def halves(x: Any) -> tuple[Any, Any]:
    return tuple(jnp.split(x, 2, axis=-1))  # type: ignore[return-value]


def times(x: Any, y: Any) -> Any:
    """The product of complex vectors."""
    (a, b), (c, d) = halves(x), halves(y)
    return jnp.concatenate([a * c - b * d, a * d + b * c], axis=-1)


def turned(x: Any, angles: Any) -> Any:
    return times(x, jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1))


def modulus(x: Any) -> Any:
    """Of complex vectors, ... x D / 2."""
    real, imaginary = halves(x)
    return jnp.sqrt(real**2 + imaginary**2 + 1e-12)


def product_of(vectors: Any, entities: Any) -> Any:
    return vectors @ entities.T


def minus_distance(size: Callable[[Any], Any], vectors: Any, entities: Any) -> Any:
    """Of each vector from each entity: the sum of `size` of their difference, some vectors at a time."""
    one = jax.checkpoint(lambda vector: -size(vector[None] - entities).sum(-1))
    return jax.lax.map(one, vectors, batch_size=ROWS)


SCORINGS = {
    'transe': Scoring(jnp.add, partial(minus_distance, jnp.abs)),  # Bordes et al. 2013, eq. 1 with d = L1
    'distmult': Scoring(jnp.multiply, product_of),  # Yang et al. 2015, eq. 2 with a diagonal matrix
    'complex': Scoring(times, product_of, is_complex=True),  # Trouillon et al. 2016, eq. 9
    'rotate': Scoring(turned, partial(minus_distance, modulus), is_complex=True, turns=True),  # Sun et al. 2019, eq. 4
}


def build(config: GraphConfig, *, vocab_size: int, seq_len: int) -> Model:
    """The embeddings of a config; `seq_len` does not matter to them. Raises UsageError for what cannot be built."""
    scoring = choose(SCORINGS, config.scoring, 'model.scoring')
    require(config.width >= 1, 'model.width', config.width, 'must be at least 1')
    remedy = f'must be even: model.scoring={config.scoring!r} is of complex numbers'
    require(config.width % 2 == 0 or not scoring.is_complex, 'model.width', config.width, remedy)
    require(0.0 <= config.dropout < 1.0, 'model.dropout', config.dropout, 'must be in [0, 1)')

    def logits_of(params: Tree, hidden_CxD: Any) -> Any:
        return scoring.near(hidden_CxD.astype(jnp.float32), params['entities'])

    def score(params: Tree, hidden_BxTxD: Any, ids_BxT: Any = None) -> Any:
        if ids_BxT is not None:
            return token_scores(partial(logits_of, params), hidden_BxTxD, ids_BxT, vocab_size=vocab_size)
        B, T, D = hidden_BxTxD.shape
        return logits_of(params, hidden_BxTxD.reshape(B * T, D)).reshape(B, T, vocab_size)

    return Model(
        init=partial(init, config, scoring, vocab_size),
        apply=partial(apply, config, scoring),
        score=score,
        init_cache=partial(init_cache, config),
        axes=AXES,
        cache_axes={'vector': ('batch', 'embed'), 'segment': ('batch',)},
        traits=Traits(recurrent=True),
        vocab_size=vocab_size,
    )


def init(config: GraphConfig, scoring: Scoring, vocab_size: int, key: Any, hparams: HParams) -> Tree:
    """Gaussian of variance 1 / width; angles are uniform."""
    own, other = jax.random.split(key)
    scale, width = hparams.get('init_scale', config.init_scale), config.width
    gaussian = scale / math.sqrt(width) * jax.random.normal(own, (2, vocab_size, width), jnp.float32)
    if scoring.turns:
        angles = jax.random.uniform(other, (vocab_size, width // 2), jnp.float32, -math.pi, math.pi)
        return {'entities': gaussian[0], 'relations': angles}
    return {'entities': gaussian[0], 'relations': gaussian[1]}


def init_cache(config: GraphConfig, params: Tree, batch: int, length: int = 0, source: Any = None) -> Tree:
    """Nowhere yet; its size does not depend on `length`."""
    return {'vector': jnp.zeros((batch, config.width), jnp.float32), 'segment': jnp.zeros((batch,), jnp.int32)}


def apply(
    config: GraphConfig,
    scoring: Scoring,
    params: Tree,
    inputs: Inputs,
    cache: Tree = None,
    key: Any = None,
    hparams: HParams = MappingProxyType({}),
) -> Output:
    """Hidden is the vector to which each token leads, B x T x D; a path begins where the segment changes.

    With `hparams['n3']` an auxiliary loss is that multiple of the sum of |x|^3 over the numbers of the entities and relations
    that are read (Lacroix et al. 2018, eq. 6); a head counts twice, being the tail of the query that asks the other way.
    """
    ids_BxT = jnp.asarray(inputs.ids)
    before = init_cache(config, params, len(ids_BxT)) if cache is None else cache
    segments_BxT = jnp.ones(ids_BxT.shape, jnp.int32) if inputs.segments is None else jnp.asarray(inputs.segments, jnp.int32)
    begins_BxT = segments_BxT != jnp.concatenate([before['segment'][:, None], segments_BxT[:, :-1]], axis=1)
    entities_BxTxD, relations_BxTxR = params['entities'][ids_BxT], params['relations'][ids_BxT]
    rate = hparams.get('dropout')
    if rate is not None and key is not None:
        entities_BxTxD = dropout(entities_BxTxD, fold_name(key, 'entities'), rate)
        relations_BxTxR = dropout(relations_BxTxR, fold_name(key, 'relations'), rate)

    def step(vector_BxD: Any, token: tuple[Any, ...]) -> tuple[Any, Any]:
        entity_BxD, relation_BxR, begins_B = token
        vector_BxD = jnp.where(begins_B[:, None], entity_BxD, scoring.follow(vector_BxD, relation_BxR))
        return vector_BxD, vector_BxD

    by_time = tuple(jnp.swapaxes(x, 0, 1) for x in (entities_BxTxD, relations_BxTxR, begins_BxT))
    last_BxD, hidden_TxBxD = jax.lax.scan(step, before['vector'], by_time)
    aux = {}
    if 'n3' in hparams:
        read_BxT = cubes(scoring, begins_BxT, entities_BxTxD, relations_BxTxR)
        aux['n3'] = ((read_BxT * (segments_BxT > 0)).sum(), hparams['n3'])
    return Output(jnp.swapaxes(hidden_TxBxD, 0, 1), {'vector': last_BxD, 'segment': segments_BxT[:, -1]}, aux)


def cubes(scoring: Scoring, begins_BxT: Array, entities_BxTxD: Array, relations_BxTxR: Array) -> Any:
    """The sum of |x|^3 over what each token is read as, of an entity twice that, B x T; angles have none."""
    size = modulus if scoring.is_complex else jnp.abs
    of_relations = 0.0 if scoring.turns else (size(relations_BxTxR) ** 3).sum(-1)
    return jnp.where(begins_BxT, 2.0 * (size(entities_BxTxD) ** 3).sum(-1), of_relations)
