"""Rates by pattern and by layer: against rates made by hand, the same for stacked layers, and what is frozen stays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lmjax import Config, DataConfig, OptimConfig, RecurrentConfig, TransformerConfig
from lmjax.config import UsageError
from lmjax.models import build
from lmjax.objectives.likelihood import loss
from lmjax.optim import build_optimizer
from lmjax.optim.config import validate
from lmjax.optim.masks import paths
from lmjax.optim.rates import layer_rates, pattern_rates
from lmjax.training.network import learner_of, network_of
from lmjax.types import Batch, Inputs

HPARAMS = {'learning_rate': 0.5, 'beta1': 0.9, 'beta2': 0.99, 'momentum': 0.9, 'weight_decay': 0.1}
TRANSFORMER = TransformerConfig(width=8, depth=3, heads=2)


def shapes(config):
    model = build(config, vocab_size=7, seq_len=4)
    return model, jax.eval_shape(model.init, jax.random.key(0), {})


def by_path(tree, axes):
    return dict(zip(paths(axes), jax.tree.leaves(tree), strict=True))


def test_the_first_pattern_that_is_found_decides():
    model, _ = shapes(TRANSFORMER)
    found = by_path(pattern_rates(('w_q=0.25', 'layers/0=0', 'embed=2'), model.axes), model.axes)
    assert found['layers/0/attention/w_q'] == 0.25
    assert found['layers/0/attention/w_k'] == 0
    assert found['embedding/tokens'] == 2
    assert found['layers/1/attention/w_k'] == found['final_norm/scale'] == 1


@pytest.mark.parametrize(
    ('rules', 'message'),
    [
        (('embedding',), 'no rule; write PATTERN=FACTOR'),
        (('embedding=fast',), 'no rule'),
        (('embedding=-1',), 'no rule'),
        (('=1',), 'no rule'),
        (('embeding=0',), r"optim\.rates='embeding': matches no parameter; did you mean"),
        (('.=0', 'embedding=1'), 'patterns before it match all'),
        (('(=1',), 'not a regular expression'),
    ],
)
def test_rules_that_decide_nothing_are_refused(rules, message):
    config = Config(data=DataConfig(), model=TRANSFORMER, optim=OptimConfig(rates=rules))
    with pytest.raises(UsageError, match=message):
        learner_of(config, network_of(config, 7))
    with pytest.raises(UsageError, match=r'optim\.layer_decay'):
        validate(OptimConfig(layer_decay=1.5))


def test_each_layer_is_slower_than_the_one_above_it():
    model, params = shapes(TRANSFORMER)
    found = by_path(layer_rates(0.5, model.axes, params), model.axes)
    assert found['final_norm/scale'] == 1
    assert [found[f'layers/{i}/attention/w_q'] for i in (2, 1, 0)] == [0.5, 0.25, 0.125]
    assert found['embedding/tokens'] == 0.0625
    model, params = shapes(RecurrentConfig(embedding=4, hidden=4, depth=2, tied=False))
    found = by_path(layer_rates(0.5, model.axes, params), model.axes)
    assert (found['head/w'], found['layers/1/w_h'], found['layers/0/w_h'], found['embedding/tokens']) == (1, 0.5, 0.25, 0.125)


def test_an_encoder_and_a_decoder_have_layers_of_their_own():
    model, params = shapes(TransformerConfig(width=8, depth=1, encoder_depth=2, heads=2))
    found = by_path(layer_rates(0.5, model.axes, params), model.axes)
    assert found['encoder/layers/0/attention/w_q'] == 0.25
    assert found['layers/0/attention/w_q'] == found['encoder/layers/1/attention/w_q'] == 0.5
    assert found['embedding/tokens'] == 0.125


def updated(scan_layers, **optim):
    model, _ = shapes(TransformerConfig(width=8, depth=3, heads=2, scan_layers=scan_layers))
    params = model.init(jax.random.key(0), {})
    make_tx = build_optimizer(OptimConfig(optimizer='adamw', schedule='constant', **optim), model.axes, steps=3)
    tx = make_tx(HPARAMS)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    return model, params, optax.apply_updates(params, updates)


def test_stacked_layers_learn_as_those_apart():
    _, before, apart = updated(False, layer_decay=0.5)
    model, _, stacked = updated(True, layer_decay=0.5)
    for name, leaf in by_path(stacked, model.axes).items():
        if name.startswith('layers/'):
            rows = [apart['layers'][str(i)] for i in range(3)]
            for part in name.split('/')[1:]:
                rows = [row[part] for row in rows]
            np.testing.assert_allclose(leaf, np.stack(rows), rtol=1e-5, atol=1e-6)
    plain = updated(False)[2]
    for i, factor in enumerate((0.125, 0.25, 0.5)):
        moved = [
            tree['layers'][str(i)]['attention']['w_q'] - before['layers'][str(i)]['attention']['w_q'] for tree in (apart, plain)
        ]
        np.testing.assert_allclose(moved[0], factor * moved[1], rtol=1e-4, atol=1e-6)


def test_what_is_frozen_stays_and_has_no_gradient():
    rules = ('layers/2=1', '.=0')
    model, before, after = updated(False, rates=rules)
    config = Config(data=DataConfig(seq_len=4), model=TRANSFORMER, optim=OptimConfig(rates=rules))
    batch = Batch(Inputs(np.array([[1, 2, 3]])), np.array([[2, 3, 4]]), np.ones((1, 3), np.float32))
    held, free = learner_of(config, network_of(config, 7)), build(TRANSFORMER, vocab_size=7, seq_len=4)
    grads, all_grads = (by_path(jax.grad(lambda p, m=m: loss(m, p, batch, {}, None)[0])(before), m.axes) for m in (held, free))
    was, now = (by_path(tree, model.axes) for tree in (before, after))
    for name in was:
        learns = name.startswith('layers/2/')
        assert bool(np.array_equal(was[name], now[name])) != learns, name
        np.testing.assert_allclose(grads[name], all_grads[name] if learns else 0 * all_grads[name], rtol=1e-5, atol=1e-7)
    assert float(np.abs(all_grads['embedding/tokens']).max()) > 0
