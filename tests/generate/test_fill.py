"""What stands in place of a mask, against the distribution itself."""

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.special_tokens import with_specials
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.generate.fill import fill_mask
from lmjax.models import build
from lmjax.models.config import TransformerConfig
from lmjax.types import Inputs

TOKENIZER = with_specials(ByteTokenizer(), ('mask',))
MODEL = build(
    TransformerConfig(causal=False, width=8, depth=1, heads=2, position='learned', init='fan_in'),
    vocab_size=TOKENIZER.vocab_size,
    seq_len=24,
)


@pytest.fixture(scope='module')
def params():
    return jax.jit(MODEL.init)(jax.random.key(0), {})


def test_the_likeliest_tokens_of_each_mask(params):
    text = 'a<mask>c<mask>'
    found = fill_mask(MODEL, params, TOKENIZER, text, count=4, context=24)
    ids = TOKENIZER.encode_marked(text)[None]
    logits = jax.jit(lambda p: MODEL.score(p, MODEL.apply(p, Inputs(ids)).hidden))(params)[0]
    probability = np.asarray(jax.nn.softmax(logits, axis=-1))
    assert len(found) == 2
    for fillings, at in zip(found, (1, 3), strict=True):
        best = np.argsort(-probability[at])[:4]
        assert [filling.token for filling in fillings] == best.tolist()
        np.testing.assert_allclose([filling.probability for filling in fillings], probability[at, best], rtol=1e-4)
        assert [filling.text for filling in fillings] == [TOKENIZER.decode([i]) for i in best]


def test_what_cannot_be_filled_is_refused(params):
    with pytest.raises(UsageError, match="prompt='abc': write '<mask>' where a word is to be told"):
        fill_mask(MODEL, params, TOKENIZER, 'abc')
    with pytest.raises(UsageError, match='has 31 tokens and the network reads 24; shorten it'):
        fill_mask(MODEL, params, TOKENIZER, 'a' * 30 + '<mask>', context=24)
    with pytest.raises(UsageError, match='count=0: use 1 to 258'):
        fill_mask(MODEL, params, TOKENIZER, '<mask>', count=0)
    assert len(fill_mask(MODEL, params, TOKENIZER, 'a' * 23 + '<mask>', context=24)[0]) == 5
