"""What every comparison with transformers shares."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import lmjax
from lmjax.interop.checkpoints import plan
from lmjax.interop.formats import FORMATS
from lmjax.interop.huggingface import export_folder, import_folder
from lmjax.types import Inputs

IDS = np.random.default_rng(0).integers(5, 37, (2, 24))


@functools.lru_cache
def imported(folder):
    return lmjax.load('hf:' + folder)


@functools.lru_cache
def forward(folder):
    """Logits of Inputs, compiled."""
    model = imported(folder).model
    return jax.jit(lambda params, inputs: model.score(params, model.apply(params, inputs).hidden))


def assert_close(ours, theirs):
    """The issue's bound: 1e-4 absolute, and 1e-5 of the spread."""
    worst = np.abs(np.asarray(ours) - theirs).max()
    assert worst <= min(1e-4, 1e-5 * theirs.std()), worst


def assert_same_gradients(model_type, config, slopes, model):
    """Ours, laid out as theirs, against those of a network of transformers after its backward pass."""
    flat = {jax.tree_util.keystr(p, simple=True, separator='/'): np.asarray(g) for p, g in jax.tree.leaves_with_path(slopes)}
    found = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    for (name, paths, layout), _ in plan(FORMATS[model_type], config, 37):
        ours = layout.pack(tuple(flat[path] for path in paths))
        theirs = found.pop(name if name in found else 'lm_head.weight')  # GPT-NeoX's head is called so in memory
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=name)
    assert not found


def assert_same_weights(model, loaded):
    """Two networks of transformers, name by name and bit for bit."""
    before, after = model.state_dict(), loaded.state_dict()
    assert set(before) == set(after)
    for name, value in before.items():
        assert value.equal(after[name]), name


def there_and_back(model, folder, scan_layers, again, auto=None):
    """What transformers loads (as `auto`) of a network that we read and wrote again, bit for bit; our config, parameters."""
    config, params, _ = import_folder(folder, scan_layers=scan_layers)
    export_folder(config, params, None, again)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of transformers about itself
        loaded = (auto or type(model)).from_pretrained(again, attn_implementation='eager').eval()
    assert_same_weights(model, loaded)
    assert_reads_again(again, config, params)
    return loaded, config, params


def assert_decodes_step_by_step(run, source, theirs):
    """Six tokens at once, then one at a time; `theirs`(ids, past) goes through the cache of transformers."""
    apply, score = jax.jit(run.model.apply), jax.jit(run.model.score)
    cache, past, start = run.model.init_cache(run.params, 2, 24, source), None, 0
    for end in (6, *range(7, 25)):
        out = apply(run.params, Inputs(jnp.asarray(IDS[:, start:end])), cache)
        cache = out.cache
        found = theirs(IDS[:, start:end], past)
        past, start = found.past_key_values, end
        assert_close(score(run.params, out.hidden), found.logits.numpy())


def assert_reads_again(folder, config, params):
    """An exported folder, imported layer by layer, against what was exported."""
    again = import_folder(folder)
    scan_layers = config.model.scan_layers
    assert dataclasses.replace(again.config.model, scan_layers=scan_layers) == config.model
    if not scan_layers:
        jax.tree.map(np.testing.assert_array_equal, again.params, params)
