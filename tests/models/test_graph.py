"""Embeddings of a graph: each scoring against its formula, what is known of them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import GraphConfig
from lmjax.models.graph import ROWS, SCORINGS
from lmjax.types import Inputs

V, D = 7, 6


def network(scoring, **settings):
    model = build(GraphConfig(scoring=scoring, width=D, **settings), vocab_size=V, seq_len=2)
    return model, model.init(jax.random.key(1), {})


def scores(model, params, head, relation):
    """Of every entity as the tail."""
    hidden = model.apply(params, Inputs(jnp.array([[head, relation]]))).hidden
    return np.asarray(model.score(params, hidden[:, 1:]))[0, 0]


def complex_of(row):
    return np.asarray(row[: D // 2]) + 1j * np.asarray(row[D // 2 :])


BY_HAND = {
    'transe': lambda h, r, t: -np.abs(h + r - t).sum(),
    'distmult': lambda h, r, t: (h * r * t).sum(),
    'complex': lambda h, r, t: (complex_of(h) * complex_of(r) * complex_of(t).conj()).sum().real,
    'rotate': lambda h, r, t: -np.abs(complex_of(h) * np.exp(1j * r) - complex_of(t)).sum(),
}


@pytest.mark.parametrize('scoring', SCORINGS)
def test_scores_are_those_of_the_paper(scoring):
    model, params = network(scoring)
    entities, relations = np.asarray(params['entities'], np.float64), np.asarray(params['relations'], np.float64)
    for head, relation in ((0, 1), (3, 3), (6, 2)):
        expected = [BY_HAND[scoring](entities[head], relations[relation], tail) for tail in entities]
        np.testing.assert_allclose(scores(model, params, head, relation), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('scoring', SCORINGS)
def test_a_path_follows_one_relation_after_the_other(scoring):
    """And token scores agree with the logits, for more rows than are worked out at once."""
    model, params = network(scoring)
    ids = jax.random.randint(jax.random.key(2), (ROWS + 3, 3), 0, V)
    output = model.apply(params, Inputs(ids))
    at = params['entities'][ids[:, 0]]
    for step in (1, 2):
        at = SCORINGS[scoring].follow(at, params['relations'][ids[:, step]])
        np.testing.assert_allclose(output.hidden[:, step], at, rtol=1e-5, atol=1e-6)
    logits = np.asarray(model.score(params, output.hidden), np.float64)
    logprob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(logprob, np.asarray(ids)[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(model.score(params, output.hidden, ids).logprob, expected, rtol=1e-4, atol=1e-5)


def test_complex_of_real_numbers_is_distmult_of_half_the_width():
    model, params = network('complex')
    real = jax.tree.map(lambda x: x.at[:, D // 2 :].set(0.0), params)
    small = build(GraphConfig(scoring='distmult', width=D // 2), vocab_size=V, seq_len=2)
    half = jax.tree.map(lambda x: x[:, : D // 2], real)
    np.testing.assert_allclose(scores(model, real, 2, 4), scores(small, half, 2, 4), rtol=1e-5)


def test_distmult_is_blind_to_direction_and_complex_is_not():
    for scoring, alike in (('distmult', True), ('complex', False)):
        model, params = network(scoring)
        there, back = scores(model, params, 0, 5)[3], scores(model, params, 3, 5)[0]
        assert np.isclose(there, back, rtol=1e-4) == alike


def test_a_rotation_changes_no_length_and_can_be_undone():
    model, params = network('rotate')
    hidden = model.apply(params, Inputs(jnp.array([[2, 4]]))).hidden[0]
    np.testing.assert_allclose(*(np.abs(complex_of(x)) for x in hidden), rtol=1e-5)
    back = SCORINGS['rotate'].follow(hidden[1:], -params['relations'][4:5])
    np.testing.assert_allclose(back[0], hidden[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('scoring', ['complex', 'distmult', 'rotate'])
def test_the_penalty_is_of_cubes_of_what_is_read(scoring):
    model, params = network(scoring)
    ids, segments = jnp.array([[0, 1], [5, 6]]), jnp.array([[1, 1], [0, 0]])  # the second row is padding
    amount, share = model.apply(params, Inputs(ids, segments=segments), hparams={'n3': 0.3}).aux['n3']
    size = (lambda x: np.abs(x)) if scoring == 'distmult' else lambda x: np.abs(complex_of(x))
    relation = 0.0 if scoring == 'rotate' else (size(params['relations'][1]) ** 3).sum()
    np.testing.assert_allclose(amount, 2 * (size(params['entities'][0]) ** 3).sum() + relation, rtol=1e-4)
    assert share == 0.3
    assert not model.apply(params, Inputs(ids)).aux


def test_what_cannot_be_built_is_refused():
    for change, message in (
        ({'scoring': 'compex'}, "model.scoring='compex'"),
        ({'scoring': 'rotate', 'width': 5}, 'model.width=5: must be even'),
        ({'width': 0}, 'model.width=0'),
        ({'dropout': 1.0}, 'model.dropout=1.0'),
    ):
        with pytest.raises(UsageError, match=message):
            build(GraphConfig(**change), vocab_size=V, seq_len=2)
    build(GraphConfig(scoring='transe', width=5), vocab_size=V, seq_len=2)
