"""Vectors of words: the mean of rows of the table, and the states of the network."""

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.tokenizers import CharTokenizer, WordTokenizer, tokenizer_class
from lmjax.generate.embed import embed_texts
from lmjax.generate.word_vectors import in_text, is_known, own_words, word_vectors
from lmjax.models import build
from lmjax.models.config import NgramConfig, RecurrentConfig, TransformerConfig

CONFIGS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=1),
    'transformer': TransformerConfig(width=8, depth=1, heads=2, init='fan_in'),
}


@pytest.fixture(scope='module')
def tokenizer():
    return tokenizer_class('bpe').train(['the king and the king and thing ' * 50], [], 269)


@pytest.fixture(params=CONFIGS)
def network(request, tokenizer):
    model = build(CONFIGS[request.param], vocab_size=tokenizer.vocab_size, seq_len=16)
    return model, jax.jit(model.init)(jax.random.key(0), {}), tokenizer


def test_a_word_stands_as_in_a_text(tokenizer):
    assert len(tokenizer.encode(' king')) == len(tokenizer.encode('king')) == 1
    assert in_text(tokenizer, 'king') == ' king'
    letters = CharTokenizer(' gikn')
    assert in_text(letters, 'king') == 'king'
    assert in_text(CharTokenizer('gikn'), 'king') == 'king'  # which has no space
    assert own_words(tokenizer).count('king') == 1
    assert not {'k', 'zebra', ' king'} & set(own_words(tokenizer))
    assert is_known(tokenizer, 'zebra')
    assert not is_known(letters, 'zebra')
    words = WordTokenizer(['<unk>', '<eos>', 'king'])  # ends every document with a token that is of no word
    assert [is_known(words, word) for word in ('king', 'zebra')] == [True, False]


def test_the_table_gives_the_mean_of_a_word_s_tokens(network):
    _, params, tokenizer = network
    words = ['king', 'kingzq']
    found = word_vectors(*network, words)
    for word, vector in zip(words, found, strict=True):
        mean = np.asarray(params['embedding']['tokens'])[tokenizer.encode(in_text(tokenizer, word))].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-5)


def test_the_last_layer_gives_the_states_of_the_word(network):
    found = word_vectors(*network, ['king', 'and'], layer='last')
    np.testing.assert_allclose(found, embed_texts(*network, [' king', ' and']), rtol=1e-5)


def test_what_is_refused(network, tokenizer):
    counts = build(NgramConfig(), vocab_size=tokenizer.vocab_size, seq_len=16)
    for given, word, layer, message in (
        (network, '', 'table', "word='': has no token"),
        (network, 'king', 'middle', "layer='middle'"),
        ((counts, {'counts': np.zeros(1)}, tokenizer), 'king', 'table', 'has no table of token embeddings'),
    ):
        with pytest.raises(UsageError, match=message):
            word_vectors(*given, [word], layer=layer)
