"""A published network with its own weights and tokenizer answers as transformers does; see fetch_weights.py."""

import os

import numpy as np
import pytest

import lmjax
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import stream

pytestmark = pytest.mark.full
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytest.importorskip('accelerate', reason='transformers needs it to read GGUF')

TEXT = "Hello, it's 1234 o'clock in 東京, naïve café!\n\n\tdef f(x): return x**2   # 😀"
PROMPTS = [
    'Once upon a time', 'The capital of France is', 'def fibonacci(n):', 'Water boils at', 'The three primary colours are',
    'My favourite book is', 'In 1969, humans', 'The opposite of hot is', 'A recipe for pancakes:', 'Dear Sir or Madam,',
    'The quick brown fox', '2 + 2 =', 'Photosynthesis is', 'The largest planet is', 'To be, or not to be,',
    'Python is a language that', 'The meaning of life', 'How do I tie a tie?', 'Shakespeare wrote', 'An atom consists of',
]  # fmt: skip


@pytest.fixture(scope='module')
def smollm2():
    """Our run, their model and their tokenizer."""
    home = os.environ.get('LMJAX_WEIGHTS')  # the suite's cache folder is empty
    if not home:
        pytest.skip('set LMJAX_WEIGHTS to the file that `python tests/interop/fetch_weights.py` prints')
    transformers.logging.set_verbosity_error()
    folder, name = os.path.split(home)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    return lmjax.load(f'gguf:{home}'), model, transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)


def test_its_tokenizer_and_its_logits(smollm2):
    run, model, tokenizer = smollm2
    ids = tokenizer(TEXT)['input_ids']
    assert run.tokenizer.encode(TEXT).tolist() == ids
    assert run.tokenizer.decode(ids) == TEXT
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits.numpy()
    assert theirs.std() > 1
    np.testing.assert_allclose(run.logits(ids), theirs, atol=1e-4)


def test_it_answers_twenty_prompts_alike(smollm2):
    run, model, tokenizer = smollm2
    sampling = SamplingConfig(max_new_tokens=32, greedy=True)
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors='pt')['input_ids']
        theirs = model.generate(ids, max_new_tokens=32, do_sample=False, pad_token_id=0)[0, ids.shape[1] :].tolist()
        chunks = stream(run.model, run.params, [ids[0].numpy()], sampling, context=run.context, stop_ids=run.tokenizer.end_ids)
        ours = [token for token in np.concatenate(list(chunks), axis=1)[0].tolist() if token >= 0]
        assert ours == theirs, prompt
