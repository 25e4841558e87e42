"""What the transformer refuses, how it starts, and options that no law can see."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import TransformerConfig
from lmjax.types import Inputs

TINY = TransformerConfig(width=8, depth=2, heads=2)


def make(**changes):
    model = build(dataclasses.replace(TINY, **changes), vocab_size=11, seq_len=8)
    return model._replace(init=jax.jit(model.init))  # several times as quick as op by op


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'width': 10, 'heads': 4}, r'model\.width=10: must divide by model\.heads=4; try model\.heads=2'),
        ({'heads': 2, 'kv_heads': 3}, r'model\.kv_heads=3: must divide model\.heads=2; try 1'),
        ({'width': 6, 'heads': 2}, r"model\.head_width=3: must be even with model\.position='rotary'; try 4"),
        ({'max_length': 4}, r'model\.max_length=4: must be at least 8 with data\.seq_len=8'),
        ({'dropout': 1.0}, r'model\.dropout=1\.0: must be in \[0, 1\)'),
        ({'rotary_fraction': 0.3}, r'model\.rotary_fraction=0\.3: must rotate an even number of the 4 channels'),
        ({'rotary_fraction': 1.5}, r'model\.rotary_fraction=1\.5: must be above 0 and at most 1'),
        ({'rotary_factor': 0.5}, r'model\.rotary_factor=0\.5: must be at least 1'),
        ({'rotary_low': 5.0}, r'model\.rotary_low=5\.0: must be below model\.rotary_high=4\.0'),
        ({'rotary_scaling': 'yarn'}, r"model\.rotary_scaling='yarn': no such choice; choose one of: none, linear, llama3"),
        ({'block': 'parallel', 'norm_place': 'post'}, r"model\.block='parallel': needs model\.residual='add'"),
        ({'global_every': 2}, r'model\.global_every=2: says which layers have no window; set model\.window'),
        ({'depth': 0}, r'model\.depth=0: must be at least 1'),
        ({'window': -1}, r'model\.window=-1: must not be negative'),
        ({'norm': 'batch'}, r"model\.norm='batch': no such choice; choose one of: layer, rms, rms_plus_one, none"),
        ({'feed_forward': 'mish'}, r"model\.feed_forward='mish'"),
        ({'remat': 'some'}, r"model\.remat='some'"),
        ({'kind': 'mamba'}, r"model\.kind='mamba': no such choice; choose one of: transformer"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(changes, message):
    with pytest.raises(UsageError, match=message):
        make(**changes)


def test_a_built_network_does_not_follow_its_config():
    config = dataclasses.replace(TINY)
    model = build(config, vocab_size=11, seq_len=8)
    config.tied = False
    assert 'head' not in jax.eval_shape(lambda key: model.init(key, {}), jax.random.key(0))


def spread(tree):
    return {jax.tree_util.keystr(p, simple=True, separator='/'): float(x.std()) for p, x in jax.tree.leaves_with_path(tree)}


def test_initial_spread_is_the_published_one():
    gpt2 = spread(make(width=64, init='gpt2').init(jax.random.key(0), {}))
    np.testing.assert_allclose(gpt2['layers/0/attention/w_q'], 0.02, rtol=0.05)
    np.testing.assert_allclose(gpt2['layers/1/feed_forward/w_down'], 0.02 / 2, rtol=0.05)
    uniform = make(width=64, init='uniform_0.1', tied=False, head_bias=True).init(jax.random.key(0), {})
    for weight in (uniform['embedding']['tokens'], uniform['head']['w']):
        assert 0.099 < float(jnp.abs(weight).max()) <= 0.1
    assert not uniform['head']['b'].any()
    xavier = (6 / (64 + 256)) ** 0.5
    assert 0.99 * xavier < float(uniform['layers']['0']['feed_forward']['w_up'].max()) <= xavier


def test_layers_and_parameters_start_apart():
    params = make(width=64).init(jax.random.key(0), {})
    a, b = (params['layers'][i]['attention'] for i in '01')
    for one, other in ((a['w_q'], b['w_q']), (a['w_q'], a['w_k'])):
        correlation = np.corrcoef(np.ravel(one), np.ravel(other))[0, 1]
        assert abs(correlation) < 5 / 64


def test_init_scale_multiplies_matrices_alone():
    model = make(bias=True, norm='layer')
    one, three = (model.init(jax.random.key(0), {'init_scale': scale}) for scale in (1.0, 3.0))
    ratio = spread(jax.tree.map(lambda a, b: jnp.where(a == 0, b, b / a) - 3.0, one, three))
    assert max(abs(ratio[name]) for name in ratio if '/w_' in name or 'tokens' in name) < 1e-5
    np.testing.assert_array_equal(three['final_norm']['scale'], one['final_norm']['scale'])


def test_a_window_longer_than_the_position_table_is_an_error():
    model = make(position='learned')
    params = model.init(jax.random.key(0), {})
    with pytest.raises((TypeError, ValueError)):
        model.apply(params, Inputs(jnp.zeros((1, 9), jnp.int32)))


def test_parameters_are_float32_and_computation_as_asked():
    model = make(dtype='bfloat16', tied=False)
    params = model.init(jax.random.key(0), {})
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
    hidden = model.apply(params, Inputs(jnp.zeros((1, 3), jnp.int32))).hidden
    assert hidden.dtype == jnp.bfloat16
    assert model.score(params, hidden).dtype == jnp.float32


@pytest.mark.slow
def test_gradients_against_finite_differences():
    """Along a random direction through all parameters, in the network with most of the options."""
    model = make(norm='layer', feed_forward='swiglu', kv_heads=1, qk_norm=True, bias=True, init='fan_in', final_logit_cap=5.0)
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 9)), jnp.int32)

    @jax.jit
    def loss(params):
        return -model.score(params, model.apply(params, Inputs(ids[:, :-1])).hidden, ids[:, 1:]).logprob.mean()

    params = model.init(jax.random.key(0), {})
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    direction = jax.tree.unflatten(treedef, [jnp.asarray(rng.standard_normal(x.shape), jnp.float32) for x in leaves])
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), jax.jit(jax.grad(loss))(params), direction)))
    step = 3e-3
    ahead, behind = (loss(jax.tree.map(lambda p, d, s=s: p + s * step * d, params, direction)) for s in (1, -1))
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=5e-3)


@pytest.mark.parametrize('scan_layers', [False, True])
def test_every_second_layer_sees_past_the_window(scan_layers):
    """With windows of 2 in 4 layers a token is moved by 4 others at most; with two global layers by all."""
    ids = jnp.asarray([[1, 2, 3, 4, 5, 6, 7, 8]])

    def moved(**changes):
        model = make(depth=4, window=2, attention='einsum', scan_layers=scan_layers, **changes)
        params = model.init(jax.random.key(0), {'init_scale': 20.0})
        one, other = (model.apply(params, Inputs(x)).hidden[0] for x in (ids, ids.at[0, 0].set(9)))
        return [t for t in range(8) if not np.array_equal(one[t], other[t])]

    assert moved() == [0, 1, 2, 3, 4]
    assert moved(global_every=2) == list(range(8))


def test_open_tokens_are_seen_as_an_encoder_sees_them():
    """All open: an encoder with the same parameters. A prefix open: its tokens see each other alone, whatever follows."""
    plain = {'position': 'learned', 'norm': 'layer', 'feed_forward': 'gelu_tanh', 'bias': True, 'attention': 'einsum'}
    decoder, encoder = make(**plain), make(**plain, causal=False)
    apply, encode = jax.jit(decoder.apply), jax.jit(encoder.apply)
    params = decoder.init(jax.random.key(0), {'init_scale': 1.0})
    rng = np.random.default_rng(0)
    ids, ones = jnp.asarray(np.stack([rng.permutation(11)[:8] for _ in range(2)]), jnp.int32), jnp.ones((2, 8), jnp.int32)
    every = apply(params, Inputs(ids, open=ones > 0)).hidden
    np.testing.assert_allclose(every, encode(params, Inputs(ids)).hidden, rtol=2e-5, atol=2e-5)
    prefix = apply(params, Inputs(ids, open=jnp.arange(8)[None] < 3 * ones)).hidden
    alone = encode(params, Inputs(ids[:, :3])).hidden
    np.testing.assert_allclose(prefix[:, :3], alone, rtol=2e-5, atol=2e-5)
    cache = decoder.init_cache(params, 2, 8)
    first = apply(params, Inputs(ids[:, :3], open=ones[:, :3] > 0), cache)
    rest = apply(params, Inputs(ids[:, 3:]), first.cache)
    cached = jnp.concatenate([first.hidden, rest.hidden], axis=1)
    np.testing.assert_allclose(cached, prefix, rtol=2e-5, atol=2e-5)


def test_where_all_is_seen_a_changed_token_changes_everything():
    encoder = make(causal=False, init='fan_in')
    assert not encoder.traits.causal
    params, ids = encoder.init(jax.random.key(0), {}), jnp.arange(8)[None]
    before, after = (encoder.apply(params, Inputs(x)).hidden for x in (ids, ids.at[:, 5].set(9)))
    assert (np.abs(before - after).max(axis=-1) > 1e-6).all()
