"""Streams of tokens against a loop that reads everything again for each token."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from conftest import V, summary

from lmjax.config import UsageError
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import STOPPED, row_keys, stream
from lmjax.generate.sampling import knobs_of, sample
from lmjax.models import build
from lmjax.models.config import NgramConfig, RecurrentConfig, TransformerConfig
from lmjax.types import Inputs

GREEDY = SamplingConfig(greedy=True, max_new_tokens=21)
DRAWN = SamplingConfig(temperature=1.3, top_k=9, repetition_penalty=1.2, max_new_tokens=21, seed=5)
PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7]]
draw = jax.jit(sample)


def generate(network, prompts, sampling, **kwargs):
    model, params = network
    chunks = list(stream(model, params, [np.array(prompt) for prompt in prompts], sampling, **kwargs))
    return np.concatenate(chunks, axis=1)


def literally(network, prompt, sampling, *, row, context=None):
    """One row, one token at a time, no cache, no padding."""
    table = np.asarray(network[1]['table'])
    ids, start = list(prompt), 0
    for step in range(sampling.max_new_tokens):
        if context and len(ids) - start > context:
            start = len(ids) - context // 2
        window = ids[start:]
        seen = np.isin(np.arange(V), ids)[None]
        logits = table[summary(window, range(len(window)))][None]
        key = jax.random.fold_in(row_keys(sampling.seed, np.arange(row + 1))[row], step)
        ids.append(int(draw(logits, seen, knobs_of(sampling), key[None])[0]))
    return ids[len(prompt) :]


@pytest.mark.parametrize('sampling', [GREEDY, DRAWN], ids=['greedy', 'drawn'])
@pytest.mark.parametrize('context', [None, 64, 7])
def test_equals_the_literal_loop(network, sampling, context):
    got = generate(network, PROMPTS, sampling, context=context)
    want = [literally(network, prompt, sampling, row=row, context=context) for row, prompt in enumerate(PROMPTS)]
    np.testing.assert_array_equal(got, want)


def test_a_prompt_longer_than_the_context_keeps_its_end(network):
    prompt = np.random.default_rng(1).integers(0, V, 100).tolist()
    want = literally(network, prompt, GREEDY, row=0, context=7)
    np.testing.assert_array_equal(generate(network, [prompt], GREEDY, context=7), [want])


def test_a_row_depends_neither_on_its_batch_nor_on_the_chunk(network):
    together = generate(network, PROMPTS, DRAWN, context=7)
    assert len({tuple(row) for row in generate(network, PROMPTS[:1] * 3, DRAWN).tolist()}) == 3  # rows draw differently
    np.testing.assert_array_equal(generate(network, PROMPTS[:1], DRAWN, context=7), together[:1])
    np.testing.assert_array_equal(generate(network, PROMPTS[:2], DRAWN, context=7, chunk=5), together[:2])
    shorter = generate(network, PROMPTS[:1], dataclasses.replace(DRAWN, max_new_tokens=13), context=7)
    np.testing.assert_array_equal(shorter, together[:1, :13])
    other = generate(network, PROMPTS[:1], dataclasses.replace(DRAWN, seed=6), context=7)
    assert not np.array_equal(other, together[:1])


def test_tokens_come_as_they_are_made(network):
    model, params = network
    chunks = stream(model, params, [np.array([1])], GREEDY, chunk=8)
    assert [chunk.shape for chunk in chunks] == [(1, 1), (1, 8), (1, 8), (1, 4)]
    endless = stream(model, params, [np.array([1])], dataclasses.replace(GREEDY, max_new_tokens=10**9), context=7)
    assert sum(chunk.size for chunk in itertools.islice(endless, 5)) >= 5


def test_each_shape_is_compiled_once(network):
    model, _ = network
    short = dataclasses.replace(DRAWN, max_new_tokens=40)
    generate(network, [[1, 2, 3]], short, context=16, chunk=4)
    traced = list(model.apply.shapes)
    assert ((1, 16), (1, 32)) in traced
    assert ((1, 1), (1, 32)) in traced
    for prompt, change in (([4], {'seed': 3}), ([5, 6], {'top_p': 0.5, 'greedy': True}), ([7] * 9, {'max_new_tokens': 37})):
        generate(network, [prompt], dataclasses.replace(short, **change), context=16, chunk=4)
    assert model.apply.shapes == traced


def test_a_row_stops_at_its_stop_token_and_the_stream_when_all_have(network):
    free = generate(network, PROMPTS, DRAWN)
    stop = free[0, 6]  # a token of every row, so that each stops somewhere
    ends = [row.tolist().index(stop) for row in free if stop in row]
    assert len(ends) >= 2
    got = generate(network, PROMPTS, DRAWN, stop_ids=(stop,))
    for row, want in zip(got.tolist(), free.tolist(), strict=True):
        end = want.index(stop) if stop in want else len(want)
        assert row[: end + 1] == want[: end + 1]
        assert set(row[end + 1 :]) <= {STOPPED}
    alone = generate(network, PROMPTS[:1], DRAWN, stop_ids=(stop,), chunk=2)
    assert alone.shape[1] <= free[0].tolist().index(stop) + 2


REAL = {
    'transformer': TransformerConfig(width=8, depth=2, heads=2, position='learned', init='fan_in', scan_layers=True),
    'recurrent': RecurrentConfig(embedding=8, hidden=8, depth=2, cell='gru', init='orthogonal', initial_state='learned'),
    'ngram': NgramConfig(order=3),
}


@pytest.mark.parametrize('kind', REAL)
def test_real_networks_equal_the_literal_loop(kind):
    """Learned positions end at the context, which is shorter than the text; recurrent networks have no such limit."""
    model = build(REAL[kind], vocab_size=V, seq_len=8)
    tokens = np.random.default_rng(2).integers(0, V, 400)
    params = model.fit(tokens) if model.fit else jax.jit(model.init)(jax.random.key(0), {'init_scale': 1.0})
    prompts, context, length = [[1, 2], [3, 5, 7, 9, 2]], 8, 8 if kind == 'transformer' else 26

    @jax.jit
    def logits_at(ids, at):
        """The whole window without a cache, padded on the right."""
        hidden = model.apply(params, Inputs(ids)).hidden
        return model.score(params, jax.lax.dynamic_slice_in_dim(hidden, at, 1, axis=1))[:, 0]

    got = generate((model, params), prompts, DRAWN, context=context)
    for row, prompt in enumerate(prompts):
        ids, start = list(prompt), 0
        for step in range(DRAWN.max_new_tokens):
            if len(ids) - start > length:
                start = len(ids) - context // 2
            window = np.array([(ids[start:] + [0] * length)[:length]], np.int32)
            key = jax.random.fold_in(row_keys(DRAWN.seed, np.arange(2))[row], step)
            seen = np.isin(np.arange(V), ids)[None]
            ids.append(int(draw(logits_at(window, len(ids) - start - 1), seen, knobs_of(DRAWN), key[None])[0]))
        assert got[row].tolist() == ids[len(prompt) :]


def test_bad_prompts_and_settings_are_refused_at_once(network):
    model, params = network
    for prompts, sampling, message in (
        ([np.zeros(0, int)], GREEDY, r'prompt=\[\]: needs at least one token'),
        ([np.array([V])], GREEDY, 'prompt=11: ids must lie in the vocabulary'),
        ([np.array([1])], dataclasses.replace(GREEDY, top_p=2.0), r'sample\.top_p=2\.0: '),
    ):
        with pytest.raises(UsageError, match=message):
            stream(model, params, prompts, sampling)
    with pytest.raises(UsageError, match='context=1: '):
        stream(model, params, [np.array([1])], GREEDY, context=1)
