"""The transformer's parts against PyTorch's own, with the same weights: values and gradients."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmjax.models import build
from lmjax.models.attention import Context
from lmjax.models.blocks import Block
from lmjax.models.config import TransformerConfig
from lmjax.models.families import FAMILIES
from lmjax.models.params import apply_params, init_params
from lmjax.ops.activations import ACTIVATIONS
from lmjax.ops.attention import Score, Sight, attend
from lmjax.ops.norms import layer_norm, rms_norm
from lmjax.types import Inputs

torch = pytest.importorskip('torch')
F = torch.nn.functional
B, T, D, H, V = 2, 6, 8, 2, 11


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def leaf(x):
    return torch.tensor(np.asarray(x), requires_grad=True)


def close(actual, expected, tolerance=2e-5):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def check(ours, theirs, *arrays):
    """Same value and, for a random weighing of the output, same gradients by every argument."""
    tensors = [leaf(x) for x in arrays]
    expected = theirs(*tensors)
    weigh = draw(*expected.shape, seed=9)
    (expected * torch.tensor(weigh)).sum().backward()
    actual, pull = jax.vjp(ours, *map(jnp.asarray, arrays))
    close(actual, expected)
    for grad, tensor in zip(pull(jnp.asarray(weigh)), tensors, strict=True):
        close(grad, tensor.grad)


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [('relu', F.relu), ('gelu', F.gelu), ('gelu_tanh', lambda x: F.gelu(x, approximate='tanh')), ('silu', F.silu)],
)
def test_activations(ours, theirs):
    check(ACTIVATIONS[ours], theirs, 3 * draw(5, 7))


def test_norms():
    x, scale, bias = draw(3, D), draw(D, seed=1), draw(D, seed=2)
    check(lambda x, s, b: layer_norm(x, s, b, eps=1e-5), lambda x, s, b: F.layer_norm(x, (D,), s, b, 1e-5), x, scale, bias)
    check(lambda x, s: rms_norm(x, s, eps=1e-5), lambda x, s: F.rms_norm(x, (D,), s, 1e-5), x, scale)


@pytest.mark.parametrize('how', ['einsum', 'blocked', 'auto'])
def test_attention(how):
    def theirs(q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)

    def ours(q, k, v):
        return attend(q, k, v, sight=Sight(), score=Score(scale=4**-0.5), how=how)

    check(ours, theirs, *(draw(B, T, H, 4, seed=i) for i in range(3)))


def encoder_layer(params):
    """PyTorch's layer of 2017 with a block's weights: Linear keeps them outputs first, and q, k, v in one."""
    layer = torch.nn.TransformerEncoderLayer(D, H, 12, dropout=0.0, batch_first=True)
    a, f = params['attention'], params['feed_forward']
    values = {
        'self_attn.in_proj_weight': jnp.concatenate([a[f'w_{n}'].reshape(D, D).T for n in 'qkv']),
        'self_attn.in_proj_bias': jnp.concatenate([a[f'b_{n}'].reshape(D) for n in 'qkv']),
        'self_attn.out_proj.weight': a['w_o'].reshape(D, D).T,
        'self_attn.out_proj.bias': a['b_o'],
        'linear1.weight': f['w_up'].T,
        'linear1.bias': f['b_up'],
        'linear2.weight': f['w_down'].T,
        'linear2.bias': f['b_down'],
        'norm1.weight': params['attention_norm']['scale'],
        'norm1.bias': params['attention_norm']['bias'],
        'norm2.weight': params['feed_forward_norm']['scale'],
        'norm2.bias': params['feed_forward_norm']['bias'],
    }
    layer.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in values.items()})
    return layer


def dense(w, b, outputs):
    return {'weight': w.reshape(-1, outputs).T, 'bias': b.reshape(-1)}


def attention(q, k, v):
    """A MultiheadAttention's tensors from our projections, q with the output's and k, v where they are."""
    return {
        'in_proj_weight': jnp.concatenate([x.reshape(D, D).T for x in (q['w_q'], k['w_k'], v['w_v'])]),
        'in_proj_bias': jnp.concatenate([x.reshape(D) for x in (q['b_q'], k['b_k'], v['b_v'])]),
        'out_proj.weight': q['w_o'].reshape(D, D).T,
        'out_proj.bias': q['b_o'],
    }


def stack_of_2017(params, name):
    """The tensors of one of nn.Transformer's two stacks, by its names."""
    found = {f'{name}.norm.weight': params['final_norm']['scale'], f'{name}.norm.bias': params['final_norm']['bias']}
    for i, layer in params['layers'].items():
        own, f = layer['attention'], layer['feed_forward']
        parts = {'self_attn': attention(own, own, own), 'linear1': dense(f['w_up'], f['b_up'], 12)}
        parts['linear2'] = dense(f['w_down'], f['b_down'], D)
        norms = ['attention_norm', 'feed_forward_norm']
        if name == 'decoder':
            parts['multihead_attn'] = attention(layer['cross_attention'], layer['cross_keys'], layer['cross_keys'])
            norms.insert(1, 'cross_attention_norm')
        for number, norm in enumerate(norms, start=1):
            parts[f'norm{number}'] = {'weight': layer[norm]['scale'], 'bias': layer[norm]['bias']}
        found |= {f'{name}.layers.{i}.{part}.{leaf}': x for part, leaves in parts.items() for leaf, x in leaves.items()}
    return found


def test_encoder_decoder_of_2017():
    """nn.Transformer between a shared embedding with sinusoids and a tied head, one source padded: loss and gradients."""
    sizes = {'width': D, 'depth': 2, 'encoder_depth': 3, 'heads': H, 'ff_width': 12, 'dropout': 0.0}
    config = dataclasses.replace(FAMILIES['seq2seq_2017'].model, **sizes)
    model = build(config, vocab_size=V, seq_len=T)
    params = randomised(jax.jit(model.init)(jax.random.key(0), {}))
    ids, targets, source = (np.random.default_rng(i).integers(0, V, (B, T)) for i in range(3))
    mask = np.arange(T)[None] < np.array([[T], [4]])

    def loss(params):
        hidden = model.apply(params, Inputs(jnp.asarray(ids), source_ids=source, source_mask=mask)).hidden
        return -model.score(params, hidden, jnp.asarray(targets)).logprob.mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(params)

    theirs = torch.nn.Transformer(D, H, 3, 2, 12, dropout=0.0, batch_first=True)
    tensors = stack_of_2017(params['encoder'], 'encoder') | stack_of_2017(params, 'decoder')
    theirs.load_state_dict({name: torch.tensor(np.asarray(x)) for name, x in tensors.items()})
    embedding = leaf(params['embedding']['tokens'])
    angles = torch.arange(T)[:, None] * (1e4 ** (-torch.arange(0, D, 2) / D))[None]
    sinusoids = torch.stack([angles.sin(), angles.cos()], -1).reshape(T, D)
    read, written = (embedding[torch.tensor(x)] * math.sqrt(D) + sinusoids for x in (source, ids))
    padding, causal = torch.tensor(~mask), torch.nn.Transformer.generate_square_subsequent_mask(T)
    more = {'src_key_padding_mask': padding, 'memory_key_padding_mask': padding}
    hidden = theirs(read, written, tgt_mask=causal, tgt_is_causal=True, **more)
    expected = F.cross_entropy((hidden @ embedding.T).reshape(-1, V), torch.tensor(targets).reshape(-1))
    expected.backward()

    close(value, expected)
    close(grads['embedding']['tokens'], embedding.grad)
    slopes = stack_of_2017(grads['encoder'], 'encoder') | stack_of_2017(grads, 'decoder')
    found = dict(theirs.named_parameters())
    assert set(slopes) == set(found)
    for name, slope in slopes.items():
        close(slope, found[name].grad)


def randomised(params):
    """Parameters none of which is 0 or 1, as fresh biases and scales are."""
    leaves, treedef = jax.tree.flatten(params)
    return jax.tree.unflatten(treedef, [leaf + 0.3 * draw(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


def test_language_model_of_2017():
    """Embedding times sqrt(width), sinusoids, a stack of TransformerEncoderLayer, a biased head: loss and gradients."""
    config = TransformerConfig(
        width=D, depth=2, heads=H, ff_width=12, position='sinusoidal', norm='layer', norm_place='post', final_norm=False,
        feed_forward='relu', tied=False, embed_scale=True, bias=True, head_bias=True, init='uniform_0.1',
    )  # fmt: skip
    model = build(config, vocab_size=V, seq_len=T)
    params = randomised(jax.jit(model.init)(jax.random.key(0), {}))
    ids, targets = (np.random.default_rng(i).integers(0, V, (B, T)) for i in range(2))

    def loss(params):
        return -model.score(params, model.apply(params, Inputs(jnp.asarray(ids))).hidden, jnp.asarray(targets)).logprob.mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(params)

    embedding, head, bias = leaf(params['embedding']['tokens']), leaf(params['head']['w']), leaf(params['head']['b'])
    layers = [encoder_layer(params['layers'][str(i)]) for i in range(2)]
    rates = 1e4 ** (-torch.arange(0, D, 2) / D)
    angles = torch.arange(T)[:, None] * rates[None]
    x = embedding[torch.tensor(ids)] * math.sqrt(D) + torch.stack([angles.sin(), angles.cos()], -1).reshape(T, D)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(T)
    for layer in layers:
        x = layer(x, src_mask=mask, is_causal=True)
    expected = F.cross_entropy((x @ head + bias).reshape(-1, V), torch.tensor(targets).reshape(-1))
    expected.backward()

    close(value, expected)
    close(grads['embedding']['tokens'], embedding.grad)
    close(grads['head']['w'], head.grad)
    close(grads['head']['b'], bias.grad)
    for i, layer in enumerate(layers):
        ours, theirs = grads['layers'][str(i)], dict(layer.named_parameters())
        fused = jnp.concatenate([ours['attention'][f'w_{n}'].reshape(D, D).T for n in 'qkv'])
        close(fused, theirs['self_attn.in_proj_weight'].grad)
        close(ours['attention']['b_v'].reshape(D), theirs['self_attn.in_proj_bias'].grad[2 * D :])
        close(ours['attention']['w_o'].reshape(D, D).T, theirs['self_attn.out_proj.weight'].grad)
        close(ours['feed_forward']['w_up'].T, theirs['linear1.weight'].grad)
        close(ours['feed_forward']['b_down'], theirs['linear2.bias'].grad)
        close(ours['attention_norm']['scale'], theirs['norm1.weight'].grad)
        close(ours['feed_forward_norm']['bias'], theirs['norm2.bias'].grad)


def test_gpt_block():
    """x + A(LN(x)), then x + W_down GELU(W_up LN(x)), without biases, as in small reimplementations of GPT-2."""
    config = TransformerConfig(width=D, depth=1, heads=H, position='learned', norm='layer', feed_forward='gelu')
    block = Block(config)
    params = randomised(init_params(block, jax.random.key(0), jax.ShapeDtypeStruct((1, D), jnp.float32)))
    flat, treedef = jax.tree.flatten(params)

    def ours(x, *leaves):
        context = Context(B, jnp.arange(T)[None])
        return apply_params(block, jax.tree.unflatten(treedef, leaves), x.reshape(B * T, D), context)[0].reshape(B, T, D)

    def theirs(x, *leaves):
        p = jax.tree.unflatten(treedef, leaves)
        a, f = p['attention'], p['feed_forward']
        y = F.layer_norm(x, (D,), p['attention_norm']['scale'])
        q, k, v = ((y @ a[f'w_{n}'].reshape(D, D)).view(B, T, H, D // H).transpose(1, 2) for n in 'qkv')
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)
        x = x + heads @ a['w_o'].reshape(D, D)
        return x + F.gelu(F.layer_norm(x, (D,), p['feed_forward_norm']['scale']) @ f['w_up']) @ f['w_down']

    check(ours, theirs, draw(B, T, D), *flat)
