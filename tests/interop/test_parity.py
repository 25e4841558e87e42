"""Every family against transformers: the same numbers from the same weights, in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import IDS, assert_close, assert_decodes_step_by_step, assert_same_gradients, forward, imported, there_and_back
from zoo import FIRST, ODD

from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import stream
from lmjax.models import build
from lmjax.types import Inputs

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')


def each(fast):
    """A case for each network of the zoo: some at once, the first shape of each family in slow, the whole grid in full."""
    marks = {name: [pytest.mark.slow] for name in FIRST} | {name: [] for name in fast}
    return pytest.mark.parametrize('name', [pytest.param(name, marks=marks.get(name, [pytest.mark.full])) for name in ODD])


families = each(fast=FIRST)
dear = each(fast=['llama', 'gemma2'])  # what compiles most


def logits_of(model, ids, **more):
    with torch.no_grad():
        return model(torch.tensor(ids), **more).logits.numpy()


@families
def test_logits(zoo, name):
    model, folder = zoo(name)
    assert_close(imported(folder).logits(IDS), logits_of(model, IDS))


@families
def test_padded_rows_are_as_if_they_were_alone(zoo, name):
    """Padded on the left, as for generation, and given to transformers with its mask and positions."""
    model, folder = zoo(name)
    run = imported(folder)
    segments = np.ones_like(IDS)
    segments[0, :9] = 0
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0)
    ours = np.asarray(forward(folder)(run.params, Inputs(IDS, positions, segments)))
    theirs = logits_of(model, IDS, attention_mask=torch.tensor(segments), position_ids=torch.tensor(positions))
    assert_close(ours[0, 9:], theirs[0, 9:])
    assert_close(ours[1], theirs[1])
    assert_close(ours[0, 9:], logits_of(model, IDS[:1, 9:])[0])


@dear
def test_packed_documents_are_as_if_they_were_alone(zoo, name):
    model, folder = zoo(name)
    run = imported(folder)
    segments = np.repeat([[1, 2, 3]], 2, axis=0).repeat([7, 13, 4], axis=1)
    ours = np.asarray(forward(folder)(run.params, Inputs(IDS, None, segments)))
    for start, end in ((0, 7), (7, 20), (20, 24)):
        assert_close(ours[:, start:end], logits_of(model, IDS[:, start:end]))


@dear
def test_loss_and_gradients(zoo, name):
    model, folder = zoo(name)
    run = imported(folder)

    def loss(params):
        hidden = run.model.apply(params, Inputs(jnp.asarray(IDS[:, :-1]))).hidden
        return -run.model.score(params, hidden, jnp.asarray(IDS[:, 1:])).logprob.mean()

    value, slopes = jax.jit(jax.value_and_grad(loss))(run.params)
    model.zero_grad()
    theirs = model(torch.tensor(IDS), labels=torch.tensor(IDS)).loss
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), atol=1e-4)
    assert_same_gradients(ODD[name][0], run.config.model, slopes, model)


@dear
def test_decoding_through_the_cache_step_by_step(zoo, name):
    model, folder = zoo(name)

    def theirs(ids, past):
        with torch.no_grad():
            return model(torch.tensor(ids), past_key_values=past, use_cache=True)

    assert_decodes_step_by_step(imported(folder), None, theirs)


@dear
def test_greedy_continuation_of_64_tokens(zoo, name):
    model, folder = zoo(name)
    run = imported(folder)
    prompt = IDS[:1, :7]
    theirs = model.generate(torch.tensor(prompt), max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0)
    sampling = SamplingConfig(max_new_tokens=64, greedy=True)
    ours = np.concatenate(list(stream(run.model, run.params, list(prompt), sampling, context=run.context)), axis=1)
    assert ours.tolist() == theirs[:, 7:].tolist()


@dear
@pytest.mark.parametrize('scan_layers', [False, True])
def test_there_and_back_again_bitwise_and_transformers_loads_it(zoo, name, scan_layers, tmp_path):
    from transformers import AutoModelForCausalLM

    model, folder = zoo(name)
    loaded, config, params = there_and_back(model, folder, scan_layers, str(tmp_path / 'again'), auto=AutoModelForCausalLM)
    assert not loaded.training
    np.testing.assert_array_equal(logits_of(loaded, IDS), logits_of(model, IDS))
    if scan_layers:
        one = build(config.model, vocab_size=37, seq_len=24)
        hidden = jax.jit(one.apply)(params, Inputs(jnp.asarray(IDS))).hidden
        assert_close(jax.jit(one.score)(params, hidden), logits_of(model, IDS))
