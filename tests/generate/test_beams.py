"""Beam search against every continuation there is, against sums worked out by hand, and against a greedy loop."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import V, summary

from lmjax.config import UsageError
from lmjax.data.tokenizers import WordTokenizer
from lmjax.generate.beams import search, stream_best
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import STOPPED
from lmjax.generate.text import generate
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.types import Inputs, Model, Output, Traits

PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7]]
FOUR = SamplingConfig(num_beams=4, num_samples=4, max_new_tokens=12, repetition_penalty=1.3)


def hypotheses(network, prompts, sampling, **kwargs):
    """Of each prompt, (tokens, score) from the best to the worst."""
    found = search(*network, [np.array(prompt) for prompt in prompts], sampling, **kwargs)
    assert (np.diff(found.tokens == STOPPED, axis=-1) >= 0).all()  # nothing comes after the end
    rows = [[[int(t) for t in row if t != STOPPED] for row in beams] for beams in found.tokens]
    return [list(zip(beams, scores, strict=True)) for beams, scores in zip(rows, found.score.tolist(), strict=True)]


def tokens_of(found):
    return [tokens for tokens, _ in found]


TINY = 4  # tokens, of which the last one ends
REAL = {
    'layer': TransformerConfig(width=8, depth=1, heads=2, position='learned', scan_layers=False),
    'scanned': TransformerConfig(width=8, depth=2, heads=2, position='learned', scan_layers=True),
    'lstm': RecurrentConfig(embedding=8, hidden=8, depth=2, cell='lstm', initial_state='learned'),
}


@pytest.mark.parametrize('kind', REAL)
def test_enough_beams_find_the_best_of_all_continuations(kind):
    """With 4^2 beams nothing that three tokens can say is lost; without a length penalty nothing is stopped too early."""
    model = build(REAL[kind], vocab_size=TINY, seq_len=8)
    shapes, rng = jax.eval_shape(model.init, jax.random.key(0), {}), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)
    sampling = SamplingConfig(num_beams=TINY**2, num_samples=TINY**2, max_new_tokens=3, length_penalty=0.0)
    prompts = [[0, 2, 1, 1, 0], [1, 2]]
    found = hypotheses((model, params), prompts, sampling, context=8, stop_ids=(TINY - 1,))
    continuations = list(itertools.product(range(TINY), repeat=3))
    logits = jax.jit(lambda ids: model.score(params, model.apply(params, Inputs(ids)).hidden))
    for prompt, ours in zip(prompts, found, strict=True):
        ids = np.array([[*prompt, *tokens, *[0] * (5 - len(prompt))] for tokens in continuations])
        logprob = np.asarray(jax.nn.log_softmax(logits(ids)))
        scores = {}
        for row, tokens in enumerate(continuations):
            length = tokens.index(TINY - 1) + 1 if TINY - 1 in tokens else 3
            at = len(prompt) - 1 + np.arange(length)
            scores[tokens[:length]] = logprob[row, at, tokens[:length]].sum()
        best = sorted(scores, key=scores.get, reverse=True)[: TINY**2]
        assert tokens_of(ours) == [list(tokens) for tokens in best]
        np.testing.assert_allclose([score for _, score in ours], [scores[tokens] for tokens in best], rtol=1e-4)


@pytest.fixture(scope='module')
def chain():
    """(model, params) of a Markov chain: tokens a, b and the end."""
    params = {'table': jnp.log(jnp.array([[0.5, 0.1, 0.4], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))}

    def apply(params, inputs, cache=None, key=None, hparams=None):
        return Output(inputs.ids[..., None], cache)

    def score(params, hidden, ids=None):
        return params['table'][hidden[..., 0]]

    model = Model(
        None,
        apply,
        score,
        lambda params, batch, *_: {'none': jnp.zeros(batch)},
        {},
        {'none': ('batch',)},
        Traits(),
        3,
    )
    return model, params


A, B, END = range(3)


@pytest.mark.parametrize(
    ('length_penalty', 'early_stopping', 'want'),
    [
        (0.0, False, {(END,): 0.4, (A, END): 0.2}),
        (1.0, False, {(A, A, A): 0.125 ** (1 / 3), (A, A, END): 0.1 ** (1 / 3)}),
        (1.0, True, {(A, END): 0.2 ** (1 / 2), (END,): 0.4}),
        (-1.0, False, {(END,): 0.4, (A, END): 0.2**2}),
    ],
)
def test_ends_and_length_penalties_by_hand(chain, length_penalty, early_stopping, want):
    """After `a`: end 0.4 is finished; a end 0.2 is finished and a a 0.25 runs on; a a end 0.1 and a a a 0.125 come last."""
    sampling = SamplingConfig(
        num_beams=2, num_samples=2, max_new_tokens=3, length_penalty=length_penalty, early_stopping=early_stopping
    )
    (found,) = hypotheses(chain, [[A]], sampling, stop_ids=(END,))
    assert tokens_of(found) == [list(tokens) for tokens in want]
    np.testing.assert_allclose([score for _, score in found], np.log(list(want.values())), rtol=1e-5)


@pytest.mark.parametrize(
    ('settings', 'table', 'want'),
    [
        # The end 0.5 and a 0.3 are the two best; b 0.2 takes the place of what ended, and b end 0.18 beats a a 0.15.
        (
            {'max_new_tokens': 2, 'length_penalty': 0.0},
            [[0.5, 0.1, 0.4], [0.05, 0.05, 0.9], [0.3, 0.2, 0.5]],
            [[END], [B, END]],
        ),
        # Two have ended; a a 0.05 is worse than they are, so it stops there, though sixteen a's would rank above all.
        ({'length_penalty': 2.0}, [[0.1, 0.1, 0.8], [0.05, 0.05, 0.9], [0.5, 0.4, 0.1]], [[A, END], [B, END]]),
    ],
    ids=['the next best runs on', 'no running beam is better'],
)
def test_where_beams_have_ended(chain, settings, table, want):
    sampling = SamplingConfig(**{'num_beams': 2, 'num_samples': 2, 'max_new_tokens': 16} | settings)
    (found,) = hypotheses((chain[0], {'table': jnp.log(jnp.array(table))}), [[END]], sampling, stop_ids=(END,))
    assert tokens_of(found) == want


def test_the_repetition_penalty_acts_on_log_probabilities(chain):
    sampling = SamplingConfig(num_beams=2, num_samples=2, max_new_tokens=2, repetition_penalty=2.0, length_penalty=0.0)
    (found,) = hypotheses(chain, [[A]], sampling, stop_ids=(END,))
    assert tokens_of(found) == [[END], [A, END]]  # the prompt's a counts 0.5 ** 2, the end after it 0.4
    np.testing.assert_allclose([score for _, score in found], np.log([0.4, 0.1]), rtol=1e-5)


def test_fewer_are_found_where_fewer_are_possible(chain):
    sampling = SamplingConfig(num_beams=4, num_samples=4, max_new_tokens=1)
    (found,) = hypotheses(chain, [[A]], sampling)
    assert tokens_of(found) == [[A], [END], [B], []]
    assert found[-1][1] == -math.inf
    words = WordTokenizer(['a', 'b', '<eos>', '<unk>'])
    assert [sample.text for sample in generate(*chain, words, 'a', sampling).samples] == [' a', '\n', ' b']


def test_one_beam_is_greedy_decoding(network):
    table = np.asarray(network[1]['table'])
    found = hypotheses(network, PROMPTS, SamplingConfig(max_new_tokens=12))
    for prompt, ((tokens, _),) in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        for _ in range(12):
            ids.append(int(table[summary(ids, range(len(ids)))].argmax()))
        assert tokens == ids[len(prompt) :]


def test_a_score_is_the_mean_of_what_its_own_tokens_get(network):
    table = np.asarray(network[1]['table'], np.float64)
    logprob = table - np.log(np.exp(table).sum(-1, keepdims=True))
    for prompt, beams in zip(PROMPTS, hypotheses(network, PROMPTS, FOUR, stop_ids=(2, 7)), strict=True):
        for tokens, score in beams:
            total = 0.0
            for at, token in enumerate(tokens, start=len(prompt)):
                seen = [*prompt, *tokens][:at]
                total += logprob[summary(seen, range(at)), token] * (FOUR.repetition_penalty if token in seen else 1.0)
            np.testing.assert_allclose(score, total / len(tokens), rtol=1e-5)


def test_hypotheses_are_sorted_distinct_and_the_first_of_more(network):
    found = hypotheses(network, PROMPTS, FOUR, stop_ids=(2, 7))
    for beams in found:
        scores = [score for _, score in beams]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(tokens) for tokens in tokens_of(beams)}) == 4
        assert all({2, 7}.isdisjoint(tokens[:-1]) for tokens in tokens_of(beams))
        assert all(len(tokens) == 12 or tokens[-1] in (2, 7) for tokens in tokens_of(beams))
    assert len({len(tokens) for beams in found for tokens in tokens_of(beams)}) > 2
    two = hypotheses(network, PROMPTS, dataclasses.replace(FOUR, num_samples=2), stop_ids=(2, 7))
    assert [tokens_of(beams) for beams in two] == [tokens_of(beams)[:2] for beams in found]


@pytest.mark.parametrize('early_stopping', [False, True])
def test_what_a_prompt_gets_does_not_depend_on_its_companions(network, early_stopping):
    sampling = dataclasses.replace(FOUR, early_stopping=early_stopping)
    together = hypotheses(network, PROMPTS, sampling, stop_ids=(2, 7))
    for prompt, want in zip(PROMPTS, together, strict=True):
        assert hypotheses(network, [prompt], sampling, stop_ids=(2, 7)) == [want]


def test_each_shape_is_compiled_once(network):
    model, _ = network
    hypotheses(network, [[1, 2, 3]], FOUR, stop_ids=(2, 7))
    traced = list(model.apply.shapes)
    assert ((4, 1), (4, 32)) in traced
    for change in ({'max_new_tokens': 9}, {'length_penalty': -0.5, 'early_stopping': True}, {'repetition_penalty': 1.0}):
        hypotheses(network, [[5] * 7], dataclasses.replace(FOUR, **change), stop_ids=(1, 0))
    assert model.apply.shapes == traced


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'num_beams': 0}, r'sample\.num_beams=0: '),
        ({'num_samples': 5}, r'sample\.num_samples=5: .* ask for 4 or fewer'),
        ({'temperature': 0.8}, r'sample\.temperature=0\.8: .* leave it at 1\.0'),
        ({'top_k': 3}, r'sample\.top_k=3: .* leave it at 0'),
        ({'top_p': 0.9}, r'sample\.top_p=0\.9: '),
        ({'min_p': 0.1}, r'sample\.min_p=0\.1: '),
        ({'length_penalty': math.nan}, r'sample\.length_penalty=nan: must be a finite number'),
        ({'length_penalty': 9.0}, r'sample\.length_penalty=9\.0: must lie between'),
        ({'num_beams': 1, 'length_penalty': 0.5}, r'sample\.length_penalty=0\.5: only beam search'),
        ({'num_beams': 1, 'early_stopping': True}, r'sample\.early_stopping=True: only beam search'),
        ({'max_new_tokens': 60}, r'sample\.max_new_tokens=60: .* 5 tokens .* context of 64, .* ask for 59 or fewer'),
    ],
)
def test_bad_settings_are_refused_at_once(network, settings, message):
    with pytest.raises(UsageError, match=f'^{message}') as refusal:
        stream_best(*network, np.array(PROMPTS[0]), dataclasses.replace(FOUR, **settings), context=64)
    assert '\n' not in str(refusal.value)


def test_a_prompt_that_leaves_nothing_of_the_context_is_refused(network):
    sampling = dataclasses.replace(FOUR, max_new_tokens=1)
    stream_best(*network, np.ones(6, int), sampling, context=7)
    with pytest.raises(UsageError, match=r'prompt of 7 tokens exceeds the context of 7.* shorten the prompt below 7'):
        search(*network, [np.ones(7, int)], sampling, context=7)
    with pytest.raises(UsageError, match='prompt=11: ids must lie in the vocabulary'):
        search(*network, [np.array([V])], sampling)
