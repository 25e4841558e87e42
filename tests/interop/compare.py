"""What every comparison with transformers shares."""

import dataclasses
import functools

import jax
import numpy as np

import lmjax
from lmjax.interop.checkpoints import plan
from lmjax.interop.formats import FORMATS
from lmjax.interop.huggingface import import_folder

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


def assert_reads_again(folder, config, params):
    """An exported folder, imported layer by layer, against what was exported."""
    again = import_folder(folder)
    scan_layers = config.model.scan_layers
    assert dataclasses.replace(again.config.model, scan_layers=scan_layers) == config.model
    if not scan_layers:
        jax.tree.map(np.testing.assert_array_equal, again.params, params)
