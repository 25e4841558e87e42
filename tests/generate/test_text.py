"""Pieces of text as they come, stop strings, where a text begins and ends."""

import dataclasses
import time

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.tokenizers import ByteTokenizer, CharTokenizer, WordTokenizer
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import STOPPED
from lmjax.generate.text import Continuation, generate, generate_text, start_ids, stream_text
from lmjax.models.config import NgramConfig
from lmjax.models.ngram import build

STORY = 'one cat lies on a mat. my thé — naïve? 猫が好き 🐈‍⬛!\n'
BYTES = ByteTokenizer()
GREEDY = SamplingConfig(greedy=True, max_new_tokens=100, num_samples=2)  # always two: compiled once


@pytest.fixture(scope='module')
def storyteller():
    """(model, params) that greedily continues STORY byte for byte, over and over, each time ending a document."""
    model = build(NgramConfig(order=4), vocab_size=BYTES.vocab_size, seq_len=8)
    return model, model.fit(np.tile(np.append(BYTES.encode(STORY), BYTES.separator_id), 5))


def pushed(tokenizer, ids, *, prompt='', stop=()):
    """(pieces, continuation) of tokens pushed one by one."""
    row = Continuation(tokenizer, tokenizer.encode(prompt), stop)
    return [*(row.push(int(token)) for token in ids), row.close()], row


@pytest.mark.parametrize('stop', [(), ('zebra', 'one dog')], ids=['no stop', 'stop strings that never come'])
def test_pieces_are_whole_characters_and_join_to_the_text(stop):
    text = STORY * 3
    pieces, row = pushed(BYTES, BYTES.encode(text), prompt='é', stop=stop)
    assert ''.join(pieces) == row.text == text
    assert not any('\ufffd' in piece for piece in pieces)
    assert (row.tokens, row.finish) == (len(text.encode()), 'length')
    if not stop:
        assert [piece for piece in pieces if piece] == list(text)  # each as soon as it is whole


@pytest.mark.parametrize('broken', [b'\xff\xfe\xc3', b'ab\xe7\x8c', b'\x80' * 40 + b'x', b'\xf0\x9f\x90\xf0\x9f\x90\x88'])
def test_bytes_that_are_no_text_read_as_they_would_at_once(broken):
    pieces, row = pushed(BYTES, np.frombuffer(broken, np.uint8))
    assert ''.join(pieces) == row.text == broken.decode('utf-8', 'replace')


def test_any_bytes_whatever_read_as_they_would_at_once():
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b'ab' + '€🐈é'.encode() + b'\xff\x80', np.uint8)
    for size in rng.integers(1, 80, 200):
        ids = rng.choice(alphabet, size)
        assert pushed(BYTES, ids)[1].text == ids.tobytes().decode('utf-8', 'replace')


def test_words_keep_their_spaces():
    tokenizer = WordTokenizer(['<unk>', '<eos>', 'the', 'cat', 'sat'])
    pieces, row = pushed(tokenizer, tokenizer.encode('cat sat dog\nthe cat\n'), prompt='the')
    assert row.text == ' cat sat <unk>\nthe cat\n'
    assert pieces[0] == ' cat'


@pytest.mark.parametrize(
    ('stop', 'want', 'tokens'),
    [
        (('lies',), 'one cat ', 12),
        (('on a mat', 'at'), 'one c', 7),
        (('at l', 'cat l'), 'one ', 9),  # both end at once: the one that begins first
        (('é',), 'one cat lies on a mat. my th', 30),
        (('. m x', '. m'), 'one cat lies on a mat', 24),
    ],
)
def test_a_stop_string_cuts_the_text_and_is_never_shown(stop, want, tokens):
    pieces, row = pushed(BYTES, BYTES.encode(STORY), stop=stop)
    assert ''.join(pieces) == row.text == want
    assert (row.finish, row.tokens) == ('stop', tokens)
    assert row.push(65) == row.close() == ''


def test_what_may_become_a_stop_string_is_held_back_and_given_back():
    row = Continuation(BYTES, BYTES.encode('x'), ('abab!', 'bac'))
    assert [row.push(byte) for byte in b'zabababx'] == ['z', '', '', '', '', 'ab', '', 'ababx']
    assert [row.push(byte) for byte in b'ab'] == ['', '']
    assert row.close() == 'ab'
    assert (row.text, row.finish) == ('zabababxab', 'length')


def test_a_separator_ends_the_text():
    pieces, row = pushed(BYTES, [*b'ab', BYTES.separator_id, *b'cd'], stop=('bc',))
    assert (''.join(pieces), row.finish, row.tokens) == ('ab', 'end', 3)
    pieces, row = pushed(BYTES, [*b'ab', STOPPED, STOPPED])
    assert (row.text, row.tokens) == ('ab', 2)


def test_without_a_prompt_a_text_begins_like_a_document():
    assert start_ids(BYTES, '').tolist() == [BYTES.separator_id]
    assert start_ids(BYTES, 'é').tolist() == [0xC3, 0xA9]
    assert start_ids(CharTokenizer('\n ab'), '').tolist() == [0]
    assert start_ids(CharTokenizer(' ab'), '').tolist() == [0]
    assert start_ids(CharTokenizer('!"ab'), '').tolist() == [0]
    assert start_ids(WordTokenizer(['<unk>', 'a', '<eos>']), '').tolist() == [2]


def test_the_storyteller_tells_its_story(storyteller):
    model, params = storyteller
    found = generate(model, params, BYTES, 'one cat lies', GREEDY)
    assert [sample.text for sample in found.samples] == [STORY.removeprefix('one cat lies')] * 2
    assert [sample.finish for sample in found.samples] == ['end', 'end']
    assert found.samples[0].tokens == len(found.samples[0].text.encode()) + 1
    assert (
        generate_text(model, params, BYTES, '', dataclasses.replace(GREEDY, max_new_tokens=30))
        == [STORY.encode()[:30].decode('utf-8', 'replace')] * 2
    )


def test_the_first_sample_streams_and_all_are_returned(storyteller):
    model, params = storyteller
    sampling = SamplingConfig(temperature=1.5, max_new_tokens=60, num_samples=2, seed=1, stop=('mat',))
    pieces, texts = [], None
    stream = stream_text(model, params, BYTES, 'one', sampling)
    while texts is None:
        try:
            pieces.append(next(stream))
        except StopIteration as stop:
            texts = [sample.text for sample in stop.value.samples]
    assert ''.join(pieces) == texts[0]
    assert texts == generate_text(model, params, BYTES, 'one', sampling)
    assert len(set(texts)) > 1
    assert not any('mat' in text for text in texts)


def test_the_stream_ends_when_every_sample_has_stopped(storyteller):
    model, params = storyteller
    found = generate(model, params, BYTES, 'one cat', dataclasses.replace(GREEDY, max_new_tokens=10**6, stop=('mat',)))
    assert [sample.text for sample in found.samples] == [' lies on a '] * 2
    assert found.tokens <= 2 * (14 + 8)


def test_the_rate_leaves_out_compilation(storyteller, monkeypatch):
    model, params = storyteller
    ticks = iter([0.0, 10.0, 20.0, 21.0, 22.0])  # start, first token, then chunks of 8 tokens in each of 2 rows
    monkeypatch.setattr(time, 'perf_counter', lambda: next(ticks))
    found = generate(model, params, BYTES, 'one', dataclasses.replace(GREEDY, max_new_tokens=25))
    assert (found.tokens, found.seconds, found.first_seconds, found.tokens_per_second) == (50, 22.0, 10.0, 16.0)


def test_bad_settings_and_characters_are_refused_at_once(storyteller):
    model, params = storyteller
    with pytest.raises(UsageError, match=r'^sample\.top_k=-1: '):
        stream_text(model, params, BYTES, 'a', SamplingConfig(top_k=-1))
    with pytest.raises(UsageError, match='x'):
        stream_text(model, params, CharTokenizer('ab'), 'x', SamplingConfig())
    with pytest.raises(UsageError, match=r'^sample\.stop='):
        generate_text(model, params, BYTES, 'a', SamplingConfig(stop=('',)))
