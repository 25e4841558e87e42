"""One vector a text: each pooling by hand, whoever travels with it."""

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.generate.embed import embed_texts
from lmjax.models import build
from lmjax.models.config import TransformerConfig
from lmjax.ops.pooling import POOLINGS
from lmjax.types import Inputs

TOKENIZER = ByteTokenizer()
CONFIG = TransformerConfig(causal=False, width=8, depth=1, heads=2, position='learned', init='fan_in', pooler=True)
MODEL = build(CONFIG, vocab_size=257, seq_len=40)
TEXTS = ['a', 'be', 'some more words', 'x' * 50]


@pytest.fixture(scope='module')
def params():
    return jax.jit(MODEL.init)(jax.random.key(0), {})


@pytest.mark.parametrize('pooling', POOLINGS)
def test_each_pooling(params, pooling):
    found = embed_texts(MODEL, params, TOKENIZER, TEXTS, pooling=pooling, normalize=False, context=40)
    assert found.shape == (4, 8)
    for text, vector in list(zip(TEXTS, found, strict=True))[2:]:
        output = jax.jit(MODEL.apply)(params, Inputs(TOKENIZER.encode(text)[None, :40]))
        hidden = np.asarray(output.hidden[0])
        expected = {'mean': hidden.mean(0), 'first': hidden[0], 'last': hidden[-1], 'pooler': np.asarray(output.pooled[0])}
        np.testing.assert_allclose(vector, expected[pooling], rtol=1e-4, atol=1e-5)


def test_vectors_have_length_one_and_no_company_changes_them(params):
    many = [f'text number {i}' * (1 + i % 5) for i in range(70)]
    found = embed_texts(MODEL, params, TOKENIZER, many)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    for i in (0, 69):
        np.testing.assert_allclose(embed_texts(MODEL, params, TOKENIZER, [many[i]])[0], found[i], rtol=1e-4, atol=1e-5)
    assert embed_texts(MODEL, params, TOKENIZER, []).shape[0] == 0


def test_what_cannot_be_embedded_is_refused(params):
    with pytest.raises(UsageError, match="text='': has no token; leave it out"):
        embed_texts(MODEL, params, TOKENIZER, ['a', ''])
    with pytest.raises(UsageError, match="pooling='max': no such choice; choose one of: mean, first, last, pooler"):
        embed_texts(MODEL, params, TOKENIZER, ['a'], pooling='max')
    bare = build(TransformerConfig(width=8, depth=1, heads=2), vocab_size=257, seq_len=8)
    with pytest.raises(UsageError, match='this network has no pooler; choose one of: mean, first, last'):
        embed_texts(bare, jax.jit(bare.init)(jax.random.key(0), {}), TOKENIZER, ['a'], pooling='pooler')
