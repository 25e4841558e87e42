"""One conformance suite over every row of OPTIMIZERS, then what sets single rows apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lmjax.config import UsageError
from lmjax.optim import build_optimizer
from lmjax.optim.config import OptimConfig
from lmjax.optim.optimizers import OPTIMIZERS, clip_by_norm

NAMES = list(OPTIMIZERS)
DEPTH, STEPS = 3, 5
HPARAMS = {'learning_rate': 0.05, 'beta1': 0.9, 'beta2': 0.95, 'momentum': 0.8, 'weight_decay': 0.1}
LAYER = {
    'w': (('embed', 'mlp'), (4, 6)),
    'q': (('embed', 'heads', 'head_width'), (4, 2, 2)),
    'scale': (('embed',), (4,)),
}
TABLE = (('vocab', 'embed'), (7, 4))


def is_pair(node):
    return isinstance(node, tuple)


LAYER_AXES = jax.tree.map(lambda pair: pair[0], LAYER, is_leaf=is_pair)
SCANNED_AXES = {
    'table': TABLE[0],
    'layers': jax.tree.map(lambda pair: ('layers', *pair[0]), LAYER, is_leaf=is_pair),
    'gain': (),
}
LOOPED_AXES = {'table': TABLE[0], 'layers': {str(i): LAYER_AXES for i in range(DEPTH)}, 'gain': ()}
SHAPES = {
    'table': TABLE[1],
    'layers': jax.tree.map(lambda pair: (DEPTH, *pair[1]), LAYER, is_leaf=is_pair),
    'gain': (),
}


def tree(seed, shapes=SHAPES):
    """Random numbers in the shape of the scanned parameters; layers of unlike size, so that mixing them shows."""
    flat, structure = jax.tree.flatten(shapes, is_leaf=is_pair)
    rng = np.random.default_rng(seed)
    leaves = [rng.normal(size=shape).astype(np.float32) for shape in flat]
    sizes = np.array([0.1, 1.0, 30.0], np.float32)
    scaled = [leaf * sizes.reshape(-1, *[1] * (leaf.ndim - 1)) if leaf.shape[:1] == (DEPTH,) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, scaled)


def loop(scanned):
    """The same parameters with each layer apart."""
    layers = {str(i): jax.tree.map(lambda leaf, i=i: leaf[i], scanned['layers']) for i in range(DEPTH)}
    return scanned | {'layers': layers}


@functools.cache
def trainer(name, axes='scanned', clip_norm=50.0):
    """(params, gradients of each step, hparams) -> (params, state), jitted."""
    tree_of = {'scanned': SCANNED_AXES, 'looped': LOOPED_AXES}[axes]
    make_tx = build_optimizer(OptimConfig(optimizer=name, warmup_steps=1, clip_norm=clip_norm), tree_of, steps=STEPS)

    def run(params, grads_of_steps, hparams):
        tx = make_tx(hparams)

        def step(carry, grads):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), grads_of_steps)[0]

    return jax.jit(run)


def gradients():
    return jax.tree.map(lambda *leaves: np.stack(leaves), *[tree(100 + step) for step in range(STEPS)])


def close(left, right, rtol=2e-6, atol=1e-7):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), left, right)


@pytest.mark.parametrize('name', NAMES)
def test_decreases_a_quadratic(name):
    target = tree(1)
    make_tx = build_optimizer(OptimConfig(optimizer=name, schedule='linear'), SCANNED_AXES, steps=100)
    tx = make_tx(HPARAMS | {'weight_decay': 0.0})
    # all entries equally far, since most steps are of one size, on random sides, since Muon moves by full ranks
    start = jax.tree.map(lambda leaf, side: leaf + np.float32(0.3) * np.sign(side), target, tree(2))

    def loss(params):
        return sum(jnp.sum((p - t) ** 2) for p, t in zip(jax.tree.leaves(params), jax.tree.leaves(target), strict=True))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    end = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=100)[0][0])(start)
    assert loss(end) < 0.05 * loss(start)


@pytest.mark.parametrize('name', NAMES)
def test_the_state_is_a_pytree_of_finite_arrays(name):
    _, state = trainer(name)(tree(0), gradients(), HPARAMS)
    leaves = jax.tree.leaves(state)
    assert len(leaves) >= 1
    for leaf in leaves:
        assert isinstance(leaf, jax.Array)
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize('name', NAMES)
def test_one_update_is_the_same_scanned_and_looped(name):
    params, grads = tree(0), gradients()
    scanned, _ = trainer(name)(params, grads, HPARAMS)
    steps = [loop(jax.tree.map(lambda leaf, s=s: leaf[s], grads)) for s in range(STEPS)]
    looped_grads = jax.tree.map(lambda *leaves: np.stack(leaves), *steps)
    looped, _ = trainer(name, axes='looped')(loop(params), looped_grads, HPARAMS)
    close(loop(scanned), looped, rtol=1e-5, atol=1e-6)


USED = {
    'sgd': {'momentum'},
    'adam': {'beta1', 'beta2'},
    'adamw': {'beta1', 'beta2'},
    'adafactor': set(),
    'lion': {'beta1', 'beta2'},
    'muon': {'momentum', 'beta1', 'beta2'},
}


@pytest.mark.parametrize('name', NAMES)
def test_replicas_with_their_own_hparams_equal_lone_runs(name):
    """One replica as it is and one for each hyperparameter with that one changed; what is not read changes nothing."""
    run, params, grads = trainer(name), tree(0), gradients()
    changed = [HPARAMS] + [HPARAMS | {key: 0.7 * HPARAMS[key]} for key in HPARAMS]
    stacked = {key: np.array([hparams[key] for hparams in changed], np.float32) for key in HPARAMS}
    together = jax.jit(jax.vmap(run, in_axes=(None, None, 0)))(params, grads, stacked)
    each = [jax.tree.map(lambda leaf, r=r: np.asarray(leaf)[r], together) for r in range(len(changed))]
    for replica, hparams in zip(each, changed, strict=True):
        close(replica, run(params, grads, hparams), rtol=1e-5, atol=1e-6)
    for key, replica in zip(HPARAMS, each[1:], strict=True):
        pairs = zip(jax.tree.leaves(each[0][0]), jax.tree.leaves(replica[0]), strict=True)
        assert any((a != b).any() for a, b in pairs) == (key in USED[name] | {'learning_rate', 'weight_decay'}), key


@pytest.mark.parametrize('name', NAMES)
def test_zero_gradients_and_zero_decay_leave_parameters(name):
    params = tree(0)
    zeros = jax.tree.map(np.zeros_like, gradients())
    after, _ = trainer(name)(params, zeros, HPARAMS | {'weight_decay': 0.0})
    jax.tree.map(np.testing.assert_array_equal, after, params)


@pytest.mark.parametrize('name', NAMES)
def test_decay_alone_shrinks_matrices_only(name):
    params = tree(0)
    zeros = jax.tree.map(np.zeros_like, gradients())
    after, _ = trainer(name)(params, zeros, HPARAMS)
    for weight, before in [(after['layers']['w'], params['layers']['w']), (after['table'], params['table'])]:
        assert np.linalg.norm(weight) < 0.995 * np.linalg.norm(before)
    np.testing.assert_array_equal(after['layers']['scale'], params['layers']['scale'])
    np.testing.assert_array_equal(after['gain'], params['gain'])


@pytest.mark.parametrize('name', ['sgd', 'adamw'])  # one whose decay joins the gradient, one whose joins the update
def test_a_missing_weight_decay_is_none(name):
    without = {key: value for key, value in HPARAMS.items() if key != 'weight_decay'}
    params, grads = tree(0), gradients()
    off = trainer(name)(params, grads, HPARAMS | {'weight_decay': 0.0})
    missing = trainer(name)(params, grads, without)
    assert jax.tree.structure(off) == jax.tree.structure(missing)
    close(off, missing, rtol=1e-6)


def first_step(name, p, g, h):
    """The first update by the papers' formulas, in float64, for a weight that decays; gradients are not clipped."""
    decay = h['weight_decay'] * p
    if name == 'sgd':
        return g + decay
    if name == 'lion':
        return np.sign((1 - h['beta1']) * g) + decay
    total = g + decay if name == 'adam' else g
    m = (1 - h['beta1']) * total / (1 - h['beta1'])
    v = (1 - h['beta2']) * total**2 / (1 - h['beta2'])
    direction = m / (np.sqrt(v) + 1e-8)
    return direction + decay if name == 'adamw' else direction


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw', 'lion'])
def test_the_first_step_equals_its_formula(name):
    params, grads = tree(0), tree(1)
    make_tx = build_optimizer(OptimConfig(optimizer=name, warmup_steps=1), SCANNED_AXES, steps=10)
    tx = make_tx(HPARAMS)
    updates = jax.jit(lambda grads, params: tx.update(grads, tx.init(params), params)[0])(grads, params)
    for leaf, p, g in [(updates['table'], params['table'], grads['table'])] + [
        (updates['layers'][key], params['layers'][key], grads['layers'][key]) for key in ('w', 'q')
    ]:
        wanted = -0.5 * HPARAMS['learning_rate'] * first_step(name, np.float64(p), np.float64(g), HPARAMS)
        np.testing.assert_allclose(leaf, wanted, rtol=5e-6, atol=1e-7)


def test_the_schedule_is_read_from_the_first_step_on():
    make_tx = build_optimizer(OptimConfig(optimizer='sgd', schedule='linear', final_fraction=0.0), {'w': ('embed',)}, steps=4)
    tx = make_tx(HPARAMS | {'momentum': 0.0, 'learning_rate': 2.0})
    params = {'w': jnp.zeros(1)}
    state, sizes = tx.init(params), []
    for _ in range(5):
        updates, state = tx.update({'w': jnp.ones(1)}, state, params)
        sizes.append(-float(updates['w'][0]))
    assert sizes == [2.0, 1.5, 1.0, 0.5, 0.0]


def test_clipping_scales_all_gradients_by_one_factor():
    tx = clip_by_norm(2.0)
    large = {'a': jnp.array([3.0, 0.0]), 'b': jnp.array([[4.0]])}
    clipped, _ = tx.update(large, tx.init(large))
    np.testing.assert_allclose(clipped['a'], [1.2, 0], rtol=1e-6)
    np.testing.assert_allclose(clipped['b'], [[1.6]], rtol=1e-6)
    for factor in (0.0, 1e-20, 0.3):
        small = jax.tree.map(lambda leaf, f=factor: leaf * f, large)
        jax.tree.map(np.testing.assert_array_equal, tx.update(small, tx.init(small))[0], small)


def test_clipping_is_part_of_the_optimizer():
    params, grads = tree(0), gradients()
    free, clipped = (trainer('sgd', clip_norm=norm)(params, grads, HPARAMS)[0] for norm in (50.0, 1.0))
    assert abs(np.asarray(free['table']) - clipped['table']).max() > 0.01


def test_adafactor_factors_the_second_moment_of_every_layer():
    """Shazeer and Stern 2018, algorithm 4, in numpy; each layer by itself."""
    axes = {'w': ('layers', 'embed', 'mlp')}
    rng = np.random.default_rng(0)
    params = {'w': jnp.asarray(rng.normal(size=(2, 128, 130)) * np.array([0.1, 5]).reshape(2, 1, 1), jnp.float32)}
    grads = [rng.normal(size=(2, 128, 130)) * np.array([1e-3, 40]).reshape(2, 1, 1) for _ in range(2)]
    tx = build_optimizer(OptimConfig(optimizer='adafactor', schedule='constant'), axes, steps=2)(HPARAMS)
    update = jax.jit(tx.update)
    p, state = params, tx.init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 700  # 2 x (128 + 130) and some counters
    wanted = np.float64(params['w'])
    row, column = np.zeros((2, 128)), np.zeros((2, 130))
    for step, g in enumerate(grads):
        updates, state = update({'w': jnp.asarray(g, jnp.float32)}, state, p)
        p = optax.apply_updates(p, updates)
        decay = 1 - (step + 1) ** -0.8
        for layer in range(2):
            row[layer] = decay * row[layer] + (1 - decay) * (g[layer] ** 2 + 1e-30).mean(1)
            column[layer] = decay * column[layer] + (1 - decay) * (g[layer] ** 2 + 1e-30).mean(0)
            u = g[layer] / np.sqrt(np.outer(row[layer], column[layer]) / row[layer].mean())
            u /= max(1, np.sqrt((u**2).mean()))
            size = max(1e-3, np.sqrt((wanted[layer] ** 2).mean()))
            wanted[layer] -= HPARAMS['learning_rate'] * (size * u + HPARAMS['weight_decay'] * wanted[layer])
        np.testing.assert_allclose(p['w'], wanted, rtol=1e-5, atol=1e-5)


def test_adafactor_takes_stacks_of_unlike_depth():
    axes = {'encoder': ('layers', 'embed', 'mlp'), 'decoder': ('layers', 'embed', 'mlp')}
    params = {'encoder': jnp.ones((2, 4, 6)), 'decoder': jnp.ones((3, 4, 6))}
    tx = build_optimizer(OptimConfig(optimizer='adafactor'), axes, steps=2)(HPARAMS)
    updates, _ = jax.jit(lambda params: tx.update(params, tx.init(params), params))(params)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)


def test_muon_leaves_tables_vectors_and_scalars_to_adamw():
    params, grads = tree(0), gradients()
    muon, adamw = (trainer(name)(params, grads, HPARAMS)[0] for name in ('muon', 'adamw'))
    close(muon['table'], adamw['table'])
    close(muon['gain'], adamw['gain'])
    close(muon['layers']['scale'], adamw['layers']['scale'])
    for key in ('w', 'q'):
        assert (muon['layers'][key] != adamw['layers'][key]).any()


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(UsageError, match=r"optim\.optimizer='adamm': .*adamw"):
        build_optimizer(OptimConfig(optimizer='adamm'), LOOPED_AXES, steps=1)


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw'])
def test_parity_with_pytorch(name):
    torch = pytest.importorskip('torch')
    rows = {
        'sgd': (torch.optim.SGD, {'momentum': HPARAMS['momentum']}),
        'adam': (torch.optim.Adam, {'betas': (HPARAMS['beta1'], HPARAMS['beta2'])}),
        'adamw': (torch.optim.AdamW, {'betas': (HPARAMS['beta1'], HPARAMS['beta2'])}),
    }
    cls, kwargs = rows[name]
    # every parameter decays there; the schedule is ours, so the peak throughout
    axes = {'a': ('embed', 'mlp'), 'b': ('mlp', 'embed')}
    params = {'a': tree(0)['layers']['w'][1], 'b': tree(1)['table']}
    config = OptimConfig(optimizer=name, schedule='constant', clip_norm=3.0)
    tx = build_optimizer(config, axes, steps=STEPS)(HPARAMS)
    update, state = jax.jit(tx.update), tx.init(params)
    theirs = {key: torch.nn.Parameter(torch.tensor(np.asarray(leaf))) for key, leaf in params.items()}
    optimizer = cls(theirs.values(), lr=HPARAMS['learning_rate'], weight_decay=HPARAMS['weight_decay'], **kwargs)
    for step in range(STEPS):
        grads = {'a': tree(step)['layers']['w'][2], 'b': tree(step + 50)['table']}
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for key, parameter in theirs.items():
            parameter.grad = torch.tensor(np.asarray(grads[key]))
        torch.nn.utils.clip_grad_norm_(theirs.values(), 3.0)
        optimizer.step()
    close(params, {key: parameter.detach().numpy() for key, parameter in theirs.items()}, rtol=5e-6, atol=1e-6)
