"""Changes of weights beside a base: what they are at birth, what they may become, and on which networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.classifiers import ROWS, with_row_classifier
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.models.params import count_params
from lmjax.optim.adapters import ADAPTATIONS, flat, learner, merged, with_noise
from lmjax.optim.config import AdaptConfig
from lmjax.types import Inputs

KEY = jax.random.key(0)
SIZES = {'width': 8, 'heads': 2, 'depth': 2}
NETWORKS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=2),
    'gru': RecurrentConfig(hidden=6, embedding=4, depth=1, cell='gru'),
    'transformer': TransformerConfig(**SIZES, bias=True),
    'scanned': TransformerConfig(**SIZES, bias=True, scan_layers=True),
    'encoder-decoder': TransformerConfig(**SIZES, encoder_depth=1),
}


def network(name):
    model = build(NETWORKS[name], vocab_size=11, seq_len=6)
    return model, model.init(jax.random.fold_in(KEY, 7), {})


def loss_of(model):
    ids_BxT = jnp.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 1]])
    sources = {'source_ids': ids_BxT} if model.traits.sourced else {}

    def loss(params):
        hidden = model.apply(params, Inputs(ids_BxT[:, :-1], **sources)).hidden
        return -model.score(params, hidden, ids_BxT[:, 1:]).logprob.mean()

    return loss


def shaken(learned):
    """What could have been learned: no array is as it was born."""
    keys = iter(jax.random.split(jax.random.key(5), len(jax.tree.leaves(learned))))
    return jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), learned)


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('kind', ADAPTATIONS)
def test_a_change_begins_as_none_and_lowers_the_loss(kind, name):
    model, base = network(name)
    config = AdaptConfig(kind=kind, rank=2)
    learns = learner(model, base, config)
    learned = learns.init(KEY, {})
    assert jax.tree.structure(learned) == jax.tree.structure(learns.axes, is_leaf=lambda x: isinstance(x, tuple))
    born = merged(base, learned, model.axes, config)
    for path, leaf in flat(base).items():
        np.testing.assert_allclose(flat(born)[path], leaf, rtol=1e-6, err_msg=path)
    loss = jax.jit(jax.value_and_grad(loss_of(learns)))
    first, _ = loss(learned)
    assert first == pytest.approx(float(loss_of(model)(base)), rel=1e-5)
    for _ in range(60):
        value, grads = loss(learned)
        learned = jax.tree.map(lambda leaf, grad: leaf - 0.02 * jnp.sign(grad), learned, grads)
    assert value < first - 0.02
    whole = merged(base, learned, model.axes, config)
    assert float(loss_of(model)(whole)) == pytest.approx(float(loss(learned)[0]), rel=1e-5)


def test_a_low_rank_change_is_of_the_rank_and_size_asked_for():
    model, base = network('transformer')
    config = AdaptConfig(kind='lora', rank=2, alpha=6.0, targets=('w_q', 'w_up'))
    learns = learner(model, base, config)
    learned = learns.init(KEY, {})
    assert count_params(learned) == 2 * (2 * (8 + 8) + 2 * (8 + 32))
    assert {path.split('/')[-2] for path in flat(learned)} == {'w_q', 'w_up'}
    learned = shaken(learned)
    whole, before = (flat(tree) for tree in (merged(base, learned, model.axes, config), base))
    path = 'layers/1/feed_forward/w_up'
    change = np.asarray(whole[path] - before[path])
    assert np.linalg.matrix_rank(change, tol=1e-5) == 2
    a, b = (flat(learned)[f'{path}/lora_{side}'] for side in 'ab')
    np.testing.assert_allclose(change, 3.0 * a @ b, rtol=1e-4, atol=1e-6)
    assert all((whole[name] == before[name]).all() for name in before if not name.endswith(('w_q', 'w_up')))


@pytest.mark.parametrize('kind', ADAPTATIONS)
def test_a_stack_of_layers_changes_as_each_layer_does(kind):
    (looped, one), (scanned, _) = network('transformer'), network('scanned')
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
    layers = [one['layers'][number] for number in sorted(one['layers'])]
    config = AdaptConfig(kind=kind, rank=2)
    learned = shaken(learner(looped, one, config).init(KEY, {}))
    each = merged(one, learned, looped.axes, config)['layers']
    stacked = {**one, 'layers': stack(layers)}
    told = {**learned, 'layers': stack([learned['layers'][number] for number in sorted(learned['layers'])])}
    found = merged(stacked, told, scanned.axes, config)['layers']
    for path, leaf in flat(stack([each[number] for number in sorted(each)])).items():
        np.testing.assert_allclose(flat(found)[path], leaf, rtol=1e-5, atol=1e-6, err_msg=path)


def test_a_directed_change_keeps_or_learns_the_length_of_each_column():
    model, base = network('transformer')
    config = AdaptConfig(kind='dora', rank=2, targets=('w_down',))
    learned = shaken(learner(model, base, config).init(KEY, {}))
    path = 'layers/0/feed_forward/w_down'
    was, now = (np.linalg.norm(flat(tree)[path], axis=0) for tree in (base, merged(base, learned, model.axes, config)))
    np.testing.assert_allclose(now, was * (1 + flat(learned)[f'{path}/length']), rtol=1e-4)


def test_mixout_takes_numbers_of_the_base_and_is_what_was_learned_on_average():
    model, base = network('transformer')
    config = AdaptConfig(kind='mixout', mix=0.7, targets=('w_down',))
    learned = learner(model, base, config).init(KEY, {})
    assert {path.removesuffix('/own') for path in flat(learned)} == set(flat(base))  # all else learns whole
    learned, path = shaken(learned), 'layers/0/feed_forward/w_down'
    w, u = flat(learned)[f'{path}/own'], flat(base)[path]
    seen = [flat(with_noise(key, base, learned, model.axes, config)) for key in jax.random.split(KEY, 300)]
    mixed = np.stack([one[f'{path}/own'] for one in seen])
    is_base = np.isclose(mixed, u, atol=1e-5)
    np.testing.assert_allclose(np.where(is_base, u, (w - 0.7 * u) / 0.3), mixed, rtol=1e-4, atol=1e-5)
    assert is_base.mean() == pytest.approx(0.7, abs=0.01)
    spread = np.abs(w - u).mean() * np.sqrt(0.7 / 0.3 / 300)
    assert np.abs(mixed.mean(axis=0) - w).mean() < 1.5 * spread
    for other in (leaf for leaf in flat(learned) if not leaf.startswith(f'{path}/') and not leaf.endswith('/own')):
        np.testing.assert_array_equal(seen[0][other], flat(learned)[other])


def test_parameters_are_learned_whole_by_pattern_or_where_the_base_lacks_them():
    bare, base = network('transformer')
    model = with_row_classifier(bare, outputs=3, pooling='mean')
    config = AdaptConfig(kind='ia3', targets=('w_v',), whole=('norm',))
    learned = learner(model, base, config).init(KEY, {})
    own = flat(learned)
    assert {path.split('/')[-1] for path in own} == {'scale', 'w', 'b'}
    np.testing.assert_array_equal(own[f'{ROWS}/w'], flat(model.init(KEY, {}))[f'{ROWS}/w'])
    np.testing.assert_array_equal(own['final_norm/scale'], base['final_norm']['scale'])
    assert own['layers/0/attention/w_v/scale'].shape == (2, 4)
    whole = merged(base, shaken(learned), model.axes, config)
    assert jax.tree.structure(whole) == jax.tree.structure(model.init(KEY, {}))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'targets': ('w_p',)}, r"adapt\.targets='w_p': matches no parameter; "),
        ({'targets': ('b_q',)}, r"adapt\.targets='b_q': matches no parameter; "),
        ({'whole': ('nrom',)}, r"adapt\.whole='nrom': matches no parameter; "),
        ({'kind': 'lore'}, r"adapt\.kind='lore': no such choice; choose one of: lora, dora, ia3"),
    ],
)
def test_what_finds_nothing_is_refused(fields, message):
    model, base = network('transformer')
    with pytest.raises(UsageError, match=message):
        learner(model, base, AdaptConfig(**({'kind': 'lora'} | fields)))
