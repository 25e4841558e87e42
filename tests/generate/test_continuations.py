"""What follows many prompts: as one by one, whoever travels with them."""

import dataclasses

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.tokenizers import ByteTokenizer, CharTokenizer
from lmjax.generate.config import SamplingConfig
from lmjax.generate.continuations import ROWS, continue_prompts
from lmjax.generate.text import generate_text
from lmjax.models.config import NgramConfig
from lmjax.models.ngram import build

STORY = 'one cat lies on a mat. two dogs sit on a log.\n'
BYTES, LETTERS = ByteTokenizer(), CharTokenizer('abcdefghijk')
GREEDY = SamplingConfig(greedy=True, max_new_tokens=12)
DRAWN = SamplingConfig(temperature=1.5, max_new_tokens=12, seed=3)
PROMPTS = [np.arange(i, i + 2 + i % 7) % 11 for i in range(ROWS + 1)]


@pytest.fixture(scope='module')
def writer(network):
    """What the network of conftest writes depends on every token before and where each stands."""
    return *network, LETTERS


def test_greedy_continuations_are_those_of_each_prompt_alone(writer):
    found = continue_prompts(*writer, PROMPTS, GREEDY)
    assert found == [generate_text(*writer, prompt, GREEDY)[0] for prompt in PROMPTS]
    assert len(set(found)) > ROWS / 2


def test_what_is_drawn_depends_on_the_prompt_and_how_often_it_came(writer):
    found = continue_prompts(*writer, PROMPTS, DRAWN)
    assert continue_prompts(*writer, PROMPTS[::-1], DRAWN)[::-1] == found
    assert continue_prompts(*writer, PROMPTS[4:5], DRAWN) == found[4:5]
    twice = continue_prompts(*writer, [*PROMPTS[4:], PROMPTS[0], PROMPTS[4], PROMPTS[1], PROMPTS[2]], DRAWN)
    assert twice[:14] == [*found[4:], found[0]]
    assert twice[14] != found[4]
    assert continue_prompts(*writer, PROMPTS, dataclasses.replace(DRAWN, seed=4)) != found


def test_a_stop_string_or_the_end_of_the_document_ends_each():
    model = build(NgramConfig(order=4), vocab_size=BYTES.vocab_size, seq_len=64)
    params = model.fit(np.tile(np.append(BYTES.encode(STORY), BYTES.separator_id), 5))
    prompts = [BYTES.encode(text) for text in ('one c', 'two d', 'a lo')]
    stopped = dataclasses.replace(GREEDY, stop=(' on', 'dog'), max_new_tokens=17)
    assert continue_prompts(model, params, BYTES, prompts, stopped) == ['at lies', 'ogs sit', 'g.\n']


@pytest.mark.parametrize(('new', 'kept'), [(12, 20), (30, 16)])
def test_a_long_prompt_keeps_the_end_that_leaves_room_for_what_is_new(writer, new, kept):
    prompt = np.random.default_rng(0).integers(0, 11, 50).astype(np.int32)
    sampling = dataclasses.replace(GREEDY, max_new_tokens=new)
    found = continue_prompts(*writer, [prompt], sampling, context=32)
    assert found == generate_text(*writer, prompt[-kept:], sampling, context=32)
    assert found != generate_text(*writer, prompt[1 - kept :], sampling, context=32)


def test_beams_are_refused(writer):
    with pytest.raises(UsageError, match=r'num_beams=2.*leave it out'):
        continue_prompts(*writer, PROMPTS, SamplingConfig(num_beams=2))
