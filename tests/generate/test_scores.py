"""Scores of whole texts by the laws of probability, and by hiding one token after the other."""

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.special_tokens import with_specials
from lmjax.data.tokenizers import ByteTokenizer, CharTokenizer, WordTokenizer
from lmjax.generate.scores import need_scorer, score_texts
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig
from lmjax.objectives.config import ObjectiveConfig
from lmjax.types import Inputs

TEXTS = ['abba', '', 'a', 'bab ba']
CONTEXT = 8
ENCODER = TransformerConfig(width=8, depth=1, heads=2, causal=False, init='fan_in')
NETWORKS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=1),
    'transformer': TransformerConfig(width=8, depth=1, heads=2, init='fan_in'),
    'encoder': ENCODER,
}


def make(config, tokenizer):
    model = build(config, vocab_size=tokenizer.vocab_size, seq_len=CONTEXT)
    return model, jax.jit(model.init)(jax.random.key(0), {}), tokenizer


def characters(*roles):
    return with_specials(CharTokenizer(' ab'), roles)


@pytest.mark.parametrize('kind', ['lstm', 'transformer'])
def test_the_first_token_is_told_after_the_start_and_the_end_after_the_last(kind):
    """All that may stand first adds up to 1; the end is one more token, told given all before it."""
    model, params, tokenizer = make(NETWORKS[kind], ByteTokenizer())
    texts = [chr(i) for i in range(128)]
    found = score_texts(model, params, tokenizer, texts, context=CONTEXT)
    logits = model.score(params, model.apply(params, Inputs(np.array([[tokenizer.separator_id]]))).hidden)[0, 0]
    np.testing.assert_allclose([one.nats for one in found], jax.nn.log_softmax(logits)[:128], rtol=1e-4)
    (ended,) = score_texts(model, params, tokenizer, ['a'], end=True, context=CONTEXT)
    row = np.array([[tokenizer.separator_id, ord('a')]])
    logits = model.score(params, model.apply(params, Inputs(row)).hidden)[0, 1]
    expected = [found[ord('a')].nats, jax.nn.log_softmax(logits)[ended.ids[-1]]]
    np.testing.assert_allclose(ended.logprobs, expected, rtol=1e-4)


@pytest.mark.parametrize('kind', NETWORKS)
def test_texts_score_alike_in_any_company(kind):
    model, params, tokenizer = make(NETWORKS[kind], characters('mask'))
    limit = CONTEXT if kind != 'lstm' else None
    found = score_texts(model, params, tokenizer, TEXTS, context=limit)
    assert [len(one.ids) for one in found] == [len(one.logprobs) for one in found] == [4, 0, 1, 6]
    assert (found[1].nats, found[1].bits_per_byte) == (0, None)
    assert found[0].bits_per_byte == pytest.approx(-found[0].nats / np.log(2) / 4)
    for text, one in zip(TEXTS, found, strict=True):
        alone = score_texts(model, params, tokenizer, [text], context=limit)[0]
        np.testing.assert_allclose(one.logprobs, alone.logprobs, rtol=1e-4)


def test_a_masked_network_tells_each_token_given_all_others():
    model, params, tokenizer = make(ENCODER, characters('mask'))
    ids = tokenizer.encode('abba')
    told = []
    for at in range(4):
        hidden = ids.copy()
        hidden[at] = tokenizer.specials['mask']
        logits = model.score(params, model.apply(params, Inputs(hidden[None])).hidden)
        told.append(float(jax.nn.log_softmax(logits)[0, at, ids[at]]))
    (found,) = score_texts(model, params, tokenizer, ['abba'], context=CONTEXT)
    np.testing.assert_allclose(found.logprobs, told, rtol=1e-4)
    assert found.ids == ids.tolist()


def test_words_are_scored_and_the_end_that_stands_around_every_text_is_read():
    """A tokenizer of words ends each document, which is scored if asked, and seen but not scored where it is masked."""
    words = with_specials(WordTokenizer(['<unk>', '<eos>', 'a', 'b']), ('mask',))
    for config in (NETWORKS['lstm'], ENCODER):
        model, params, tokenizer = make(config, words)
        (found,) = score_texts(model, params, tokenizer, ['b a'], context=CONTEXT)
        assert found.ids == [3, 2]
    hidden = Inputs(np.array([[3, tokenizer.specials['mask'], 1]]))
    logits = model.score(params, model.apply(params, hidden).hidden)
    assert found.logprobs[1] == pytest.approx(float(jax.nn.log_softmax(logits)[0, 1, 2]), rel=1e-4)


def test_what_is_refused():
    unmarked, marked = make(ENCODER, ByteTokenizer()), make(ENCODER, characters('mask'))
    for network, texts, given, message in (
        (unmarked, ['a'], {}, 'its tokenizer has no mask'),
        (marked, ['a'], {'end': True}, 'end=True: a masked network'),
        (marked, ['ab' * 5], {}, 'has 10 tokens and the network reads 8'),
    ):
        with pytest.raises(UsageError, match=message):
            score_texts(*network, texts, context=CONTEXT, **given)
    decoder = make(NETWORKS['transformer'], ByteTokenizer())[0]
    for kind in ('classify', 'contrastive', 'prefix'):
        with pytest.raises(UsageError, match=f"objective.kind='{kind}': this network does not tell"):
            need_scorer(ObjectiveConfig(kind=kind), decoder)
    need_scorer(ObjectiveConfig(kind='causal'), decoder)
