"""Decoding against transformers: the hypotheses of beam search, and the distribution that each sampler leaves."""

import functools

import jax
import numpy as np
import pytest

import lmjax
from lmjax.generate.beams import search
from lmjax.generate.config import SamplingConfig
from lmjax.generate.sampling import knobs_of, process

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

PROMPTS = [[5, 9, 2, 30, 9], [17], [8, 8, 11, 23, 4, 36, 19, 3, 6]]
ENDS = (1, 7, 20)


@functools.lru_cache
def imported(folder):
    return lmjax.load('hf:' + folder)


def until_end(tokens, ends):
    """The tokens up to the first that ends; nothing of the padding after it."""
    first = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return [int(token) for token in tokens[: first + 1]]


def assert_same_hypotheses(zoo, name, sampling, ends):
    """Ours of all prompts at once, theirs of each alone: the same tokens, and scores to the rounding of sums."""
    theirs, folder = zoo(name)
    run = imported(folder)
    ours = search(run.model, run.params, [np.array(p) for p in PROMPTS], sampling, context=run.context, stop_ids=ends)
    for row, prompt in enumerate(PROMPTS):
        found = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            num_beams=sampling.num_beams,
            num_return_sequences=sampling.num_samples,
            length_penalty=sampling.length_penalty,
            early_stopping=sampling.early_stopping,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=list(ends) or None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        want = [until_end(tokens, ends) for tokens in found.sequences[:, len(prompt) :].tolist()]
        assert [until_end(tokens[tokens >= 0], ends) for tokens in ours.tokens[row]] == want
        np.testing.assert_allclose(ours.score[row], found.sequences_scores.numpy(), rtol=1e-4)


BEAMS = {
    'plain': {},
    'short': {'length_penalty': -1.0},
    'summed': {'length_penalty': 0.0},
    'long': {'length_penalty': 2.0},
    'early': {'early_stopping': True},
    'early and long': {'early_stopping': True, 'length_penalty': 1.5},
    'penalised': {'repetition_penalty': 1.3},
    'best two': {'num_samples': 2},
}


@pytest.mark.slow
@pytest.mark.parametrize('case', BEAMS)
@pytest.mark.parametrize('name', ['llama', 'gpt2'])
def test_beam_search(zoo, name, case):
    settings = {'num_beams': 4, 'num_samples': 4, 'max_new_tokens': 20} | BEAMS[case]
    assert_same_hypotheses(zoo, name, SamplingConfig(**settings), ENDS)


@pytest.mark.slow
@pytest.mark.parametrize('ends', [(), (7,)])
@pytest.mark.parametrize('name', ['llama', 'gpt2'])
def test_beam_search_with_one_end_or_none(zoo, name, ends):
    sampling = SamplingConfig(num_beams=3, num_samples=3, max_new_tokens=32, length_penalty=0.7)
    assert_same_hypotheses(zoo, name, sampling, ends)


PROCESSORS = {  # in the order in which both apply them
    'repetition_penalty': lambda value: transformers.RepetitionPenaltyLogitsProcessor(value),
    'temperature': lambda value: transformers.TemperatureLogitsWarper(value),
    'top_k': lambda value: transformers.TopKLogitsWarper(value),
    'top_p': lambda value: transformers.TopPLogitsWarper(value),
    'min_p': lambda value: transformers.MinPLogitsWarper(value),
}
ALONE = [('repetition_penalty', 0.8), ('repetition_penalty', 1.4), ('temperature', 0.6), ('temperature', 1.9)]
ALONE += [('top_k', 1), ('top_k', 12), ('top_p', 0.2), ('top_p', 0.93), ('min_p', 0.03), ('min_p', 0.5)]
CHAINS = [{field: value} for field, value in ALONE] + [
    {'temperature': 0.7, 'top_p': 0.9},
    {'top_k': 9, 'top_p': 0.8},
    {'repetition_penalty': 1.2, 'temperature': 0.8, 'top_k': 40, 'top_p': 0.95, 'min_p': 0.02},
    {'repetition_penalty': 0.9, 'temperature': 1.5, 'top_k': 25, 'top_p': 0.7, 'min_p': 0.1},
]
compiled = jax.jit(process)


@pytest.mark.parametrize('settings', CHAINS, ids=lambda settings: ' '.join(f'{k}={v}' for k, v in settings.items()))
def test_samplers_leave_the_same_distribution(settings):
    """The same tokens survive, with the same probabilities."""
    rng = np.random.default_rng(3)
    logits, prompts = rng.normal(scale=2.5, size=(16, 101)).astype(np.float32), rng.integers(0, 101, (16, 30))
    seen = np.zeros(logits.shape, bool)
    np.put_along_axis(seen, prompts, True, axis=1)
    chain = transformers.LogitsProcessorList([PROCESSORS[field](settings[field]) for field in PROCESSORS if field in settings])
    want = chain(torch.tensor(prompts), torch.tensor(logits))
    got = compiled(logits, seen, knobs_of(SamplingConfig(**settings)))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(want.numpy()))
    np.testing.assert_allclose(jax.nn.softmax(got), torch.softmax(want, dim=-1).numpy(), atol=1e-6)
