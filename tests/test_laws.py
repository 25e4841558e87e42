"""The laws that hold for every network, each stated once.

To put a network under them, add a row to NETWORKS (and its parameter count to COUNTS) in networks.py. `model.traits` decides
which laws apply to it.
"""

import dataclasses
from functools import lru_cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from given_source import given_source
from networks import COUNTS, NETWORKS, TIME, VOCAB

from lmjax.models import build
from lmjax.models.params import count_params
from lmjax.models.stack import stack_layers, unstack_layers
from lmjax.ops.flops import count_flops
from lmjax.types import Inputs

ONES = jnp.ones((2, TIME), jnp.int32)

# no residual and no norm: gradients shrink, which is what it is there to show; rotations commute, so that texts of the same
# tokens lead to one place
HARDLY_TRAINABLE = {'textbook', 'rotate'}
# The laws that compile gradients twice: some networks meet them at once, these in slow, the others in full.
DEARER_LAWS_FAST = {'gpt2', 'lstm', 'ngram'}
DEARER_LAWS_SLOW = {'alternating', 'encoder_decoder'}
every_network = pytest.mark.parametrize('name', NETWORKS)
LATER = {name: pytest.mark.slow if name in DEARER_LAWS_SLOW else pytest.mark.full for name in NETWORKS}
fewer_networks = pytest.mark.parametrize(
    'name', [name if name in DEARER_LAWS_FAST else pytest.param(name, marks=LATER[name]) for name in NETWORKS]
)


def quick_jit(f):
    """jit for small programs that run a few times: compiled in half of the time."""
    return jax.jit(f, compiler_options={'xla_backend_optimization_level': 0})


def make(config):
    """The network of a config; what an encoder-decoder reads is in no row."""
    return given_source(build(config, vocab_size=VOCAB, seq_len=TIME), (VOCAB - 1, VOCAB - 2, VOCAB - 1))


@lru_cache
def network(name):
    """A network of the table with parameters and compiled functions, made once for all laws."""
    config = NETWORKS[name]
    model = make(config)
    params = quick_jit(lambda key: model.init(key, {'init_scale': 1.0}))(jax.random.key(0))
    if model.fit:
        params = model.fit(np.concatenate([tokens(20, seed=1).ravel(), tokens(2).ravel()]))

    def logits(params, inputs, cache=None):
        output = model.apply(params, inputs, cache=cache)
        return model.score(params, output.hidden), output.cache

    tolerance = 3e-2 if getattr(config, 'dtype', '') == 'bfloat16' else 2e-5
    return SimpleNamespace(config=config, model=model, params=params, logits=quick_jit(logits), tolerance=tolerance)


def tokens(rows, seed=0):
    """Rows of distinct tokens, none of them a source's."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(np.stack([rng.permutation(VOCAB - 2)[:TIME] for _ in range(rows)]), jnp.int32)


def require_trait(net, trait):
    if not getattr(net.model.traits, trait):
        pytest.skip(f'its traits say: not {trait}')


def alone(net, ids):
    """Logits of a few tokens by themselves."""
    if not net.model.traits.causal:
        return net.logits(net.params, Inputs(ids))[0]
    filled = jnp.pad(ids, ((0, 0), (0, TIME - ids.shape[1])))  # what follows changes nothing, and the shape is compiled already
    return net.logits(net.params, Inputs(filled))[0][:, : ids.shape[1]]


def mean_loss(model, params, ids, key=None, hparams=None):
    output = model.apply(params, Inputs(ids[:, :-1]), key=key, hparams=hparams or {})
    return -model.score(params, output.hidden, ids[:, 1:]).logprob.mean()


def assert_trees_close(actual, expected, tolerance):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), actual, expected)


@every_network
def test_parameter_count_is_the_one_by_hand(name):
    net = network(name)
    require_trait(net, 'trainable')
    assert count_params(net.params) == COUNTS[name]


@every_network
def test_axes_name_every_dimension(name):
    net = network(name)
    ranks = jax.tree.map(len, net.model.axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert ranks == jax.tree.map(jnp.ndim, net.params)
    cache = net.model.init_cache(net.params, 2, TIME)
    ranks = jax.tree.map(len, net.model.cache_axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert ranks == jax.tree.map(jnp.ndim, cache)


@fewer_networks
def test_no_gradient_flows_from_a_later_token(name):
    """Tokens of a row are distinct, so each row of the input table belongs to one position."""
    net = network(name)
    require_trait(net, 'causal')
    require_trait(net, 'trainable')
    ids = tokens(1)
    shape = jax.eval_shape(net.logits, net.params, Inputs(ids))[0].shape

    def influence(t):
        def weighed(params):
            hidden = net.model.apply(params, Inputs(ids)).hidden[0, t].astype(jnp.float32)
            return (hidden * jnp.sin(1.0 + jnp.arange(hidden.size))).sum()

        grads = jax.grad(weighed)(net.params)
        by_token = jax.tree.map(
            lambda names, g: jnp.abs(jnp.moveaxis(g, names.index('vocab'), 0)).reshape(VOCAB, -1).sum(-1)
            if 'vocab' in names else jnp.zeros(VOCAB),
            net.model.axes, grads, is_leaf=lambda leaf: isinstance(leaf, tuple),
        )  # fmt: skip
        return sum(jax.tree.leaves(by_token))

    influence_TxV = np.asarray(quick_jit(lambda: jax.lax.map(influence, jnp.arange(shape[1])))())
    influence_TxS = influence_TxV[:, np.asarray(ids[0])]
    assert (influence_TxS[np.triu_indices(TIME, 1)] == 0).all()
    assert (np.diag(influence_TxS) > 0).mean() > 0.5  # dead ReLUs may hide a few


@every_network
def test_a_changed_token_changes_nothing_before_it(name):
    net = network(name)
    require_trait(net, 'causal')
    ids = tokens(2)
    changed = ids.at[:, 5].set((ids[:, 5] + 1) % VOCAB)
    before, after = (net.logits(net.params, Inputs(x))[0] for x in (ids, changed))
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert not np.array_equal(before[:, 5:], after[:, 5:])


@every_network
def test_cached_decoding_equals_the_full_pass(name):
    """Token by token; and in two steps, from rows of 3 and 5 tokens padded on the left."""
    net = network(name)
    require_trait(net, 'cached')
    ids = tokens(2)
    expected, _ = net.logits(net.params, Inputs(ids))
    cache = net.model.init_cache(net.params, 2, TIME)
    for t in range(TIME):
        step, cache = net.logits(net.params, Inputs(ids[:, t : t + 1], segments=ONES[:, :1]), cache)
        np.testing.assert_allclose(step[:, 0], expected[:, t], rtol=net.tolerance, atol=net.tolerance)

    pad = jnp.zeros((2,), jnp.int32)
    prompt = jnp.stack([jnp.concatenate([pad, ids[0, :3]]), ids[1, :5]])
    segments = jnp.asarray([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    cache = net.model.init_cache(net.params, 2, TIME)
    first, cache = net.logits(net.params, Inputs(prompt, segments=segments), cache)
    np.testing.assert_allclose(first[0, 2:], expected[0, :3], rtol=net.tolerance, atol=net.tolerance)
    np.testing.assert_allclose(first[1], expected[1, :5], rtol=net.tolerance, atol=net.tolerance)
    following = jnp.stack([ids[0, 3], ids[1, 5]])[:, None]
    second, _ = net.logits(net.params, Inputs(following, segments=ONES[:, :1]), cache)
    wanted = jnp.stack([expected[0, 3], expected[1, 5]])
    np.testing.assert_allclose(second[:, 0], wanted, rtol=net.tolerance, atol=net.tolerance)


@every_network
def test_packing_never_leaks_across_segments(name):
    """A document in a row with another scores as it does alone."""
    net = network(name)
    ids = tokens(2)
    segments = jnp.asarray([[1, 1, 1, 2, 2, 2, 2, 2]] * 2)
    packed, _ = net.logits(net.params, Inputs(ids, segments=segments))
    np.testing.assert_allclose(packed[:, 3:], alone(net, ids[:, 3:]), rtol=net.tolerance, atol=net.tolerance)
    joined, _ = net.logits(net.params, Inputs(ids))
    assert not np.allclose(joined[:, 3:], packed[:, 3:], rtol=net.tolerance, atol=net.tolerance)


@every_network
def test_padding_never_changes_a_real_position(name):
    """Whatever stands in padded places, on either side."""
    net = network(name)
    ids = tokens(2)
    expected = alone(net, ids[:, :5])
    right = jnp.asarray([[1] * 5 + [0] * 3] * 2)
    for other in (ids, ids.at[:, 5:].set(0)):
        padded, _ = net.logits(net.params, Inputs(other, segments=right))
        assert np.isfinite(padded).all()
        np.testing.assert_allclose(padded[:, :5], expected, rtol=net.tolerance, atol=net.tolerance)
    shifted, _ = net.logits(net.params, Inputs(jnp.roll(ids, 3, axis=1), segments=right[:, ::-1]))
    np.testing.assert_allclose(shifted[:, 3:], expected, rtol=net.tolerance, atol=net.tolerance)


@fewer_networks
def test_replicas_equal_lone_runs(name):
    net = network(name)
    require_trait(net, 'vmappable')
    require_trait(net, 'trainable')
    ids, row_keys = tokens(2), jax.random.split(jax.random.key(3), 2)

    def run(key, scale, rate):
        hparams = {'init_scale': scale, 'dropout': rate}
        params = net.model.init(key, hparams)
        return jax.value_and_grad(lambda p: mean_loss(net.model, p, ids, row_keys, hparams))(params)

    each = (jax.random.split(jax.random.key(1), 2), jnp.asarray([1.0, 0.5]), jnp.asarray([0.1, 0.4]))
    together, lone = quick_jit(jax.vmap(run))(*each), quick_jit(run)
    for i in range(2):
        expected = lone(*(x[i] for x in each))
        assert_trees_close(jax.tree.map(lambda x, i=i: x[i], together), expected, net.tolerance)
    assert abs(together[0][0] - together[0][1]) > 1e-4


@fewer_networks
def test_dropout_is_keyed_by_row(name):
    """A row's noise does not depend on the batch that it travels in, and evaluation has none."""
    net = network(name)
    require_trait(net, 'trainable')
    ids, keys = tokens(4), jax.random.split(jax.random.key(3), 4)
    apply = quick_jit(
        lambda ids, keys, rate: net.model.apply(net.params, Inputs(ids), key=keys, hparams={'dropout': rate}).hidden
    )
    whole = apply(ids, keys, 0.5).astype(jnp.float32)
    halves = jnp.concatenate([apply(ids[:2], keys[:2], 0.5), apply(ids[2:], keys[2:], 0.5)]).astype(jnp.float32)
    np.testing.assert_allclose(whole, halves, rtol=net.tolerance, atol=net.tolerance)
    evaluated = quick_jit(lambda: net.model.apply(net.params, Inputs(ids), hparams={'dropout': 0.5}).hidden)().astype(
        jnp.float32
    )
    np.testing.assert_allclose(apply(ids, keys, 0.0), evaluated, rtol=net.tolerance, atol=net.tolerance)
    assert not np.allclose(whole, evaluated, atol=1e-3)
    assert not np.allclose(whole, apply(ids, keys[::-1], 0.5), atol=1e-3)


def layered(net, **changes):
    """The network with its layers run otherwise, and the same parameters laid out for it."""
    config = dataclasses.replace(net.config, **changes)
    return make(config), laid_out(net.params, config.scan_layers)


def laid_out(params, stacked):
    """Parameters (or gradients) with the layers of each stack stacked or apart."""
    params, layers = dict(params), params['layers']
    names = sorted(layers) if '0' in layers else None
    if names and stacked:
        params['layers'] = stack_layers([layers[name] for name in names])
    if not names and not stacked:
        params['layers'] = unstack_layers(layers, len(jax.tree.leaves(layers)[0]))
    if 'encoder' in params:
        params['encoder'] = laid_out(params['encoder'], stacked)
    return params


def loss_and_grads(model, params, ids):
    keys = jax.random.split(jax.random.key(5), len(ids))
    return jax.value_and_grad(lambda p: mean_loss(model, p, ids, keys, {'dropout': 0.1}))(params)


def run(model, params, ids):
    return quick_jit(lambda params: loss_and_grads(model, params, ids))(params)


@fewer_networks
def test_scan_over_layers_equals_the_loop(name):
    net = network(name)
    if not hasattr(net.config, 'scan_layers'):
        pytest.skip('it has no scan over layers')
    (loop_loss, loop), (scan_loss, scan) = (
        run(*layered(net, scan_layers=scanned, dtype='float32'), tokens(2)) for scanned in (False, True)
    )
    assert_trees_close((scan_loss, scan), (loop_loss, laid_out(loop, True)), 2e-5)
    loop_init, scan_init = (
        quick_jit(layered(net, scan_layers=scanned)[0].init)(jax.random.key(7), {}) for scanned in (False, True)
    )
    assert_trees_close(scan_init, laid_out(loop_init, True), 0.0)


@pytest.mark.parametrize(
    ('name', 'remat'),
    [
        ('gpt2', 'full'),
        pytest.param('gpt2', 'dots', marks=pytest.mark.slow),
        pytest.param('rotary_window', 'dots', marks=pytest.mark.slow),  # in a scan
        pytest.param('rotary_window', 'full', marks=pytest.mark.full),
        pytest.param('grouped', 'full', marks=pytest.mark.full),
    ],
)
def test_rematerialisation_changes_work_but_no_number(name, remat):
    net = network(name)
    (kept, params), (again, _) = layered(net, remat='none'), layered(net, remat=remat)
    assert_trees_close(run(again, params, tokens(2)), run(kept, params, tokens(2)), net.tolerance)
    work = [count_flops(lambda p, m=m: loss_and_grads(m, p, tokens(2)), params) for m in (kept, again)]
    assert work[1] > work[0]


IN_TIME = {'gpt2', 'bfloat16', 'elman', 'gru'} | DEARER_LAWS_SLOW  # for CI; the others wait for the full run
WHEN = {name: pytest.mark.slow if name in IN_TIME else pytest.mark.full for name in sorted(set(NETWORKS) - HARDLY_TRAINABLE)}


@pytest.mark.parametrize('name', [pytest.param(name, marks=mark) for name, mark in WHEN.items()])
def test_overfits_32_tokens(name):
    net = network(name)
    require_trait(net, 'trainable')
    ids = jnp.concatenate([jnp.arange(4)[:, None], tokens(4)], axis=1)  # the first token tells the rows apart
    tx = optax.adam(1e-2)

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(lambda p: mean_loss(net.model, p, ids))(params)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), loss

    _, losses = quick_jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, 400))(net.params)
    assert losses[0] > 1.5
    assert losses[-1] < 0.1
