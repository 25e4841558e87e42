"""lm-evaluation-harness on a checkpoint read by transformers, and by lmjax: the same answers to the same requests."""

import types

import numpy as np
import pytest

import lmjax

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytest.importorskip('accelerate')
pytest.importorskip('lm_eval')

CONTEXT = 32
TEXT = 'the cat sat on the mat and the dog sat on the log\n'
MESSAGE = '{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}'
TEMPLATE = MESSAGE + '{% if add_generation_prompt %}A:{% endif %}'


def save_tokenizer(folder, *, begins):
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, special_tokens=['<s>', '</s>'], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator([TEXT] * 20, trainer)
    if begins:
        library.post_processor = tokenizers.processors.TemplateProcessing(single='<s> $A', special_tokens=[('<s>', 0)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=library, bos_token='<s>', eos_token='</s>')
    made.chat_template = TEMPLATE
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope='module', params=[False, True], ids=['plain', 'begins every text'])
def both(request, tmp_path_factory):
    """Ours, and the harness's own for transformers."""
    from lm_eval.models.huggingface import HFLM

    from lmjax.interop.harness import language_model

    folder = str(tmp_path_factory.mktemp('llama'))
    tokenizer = save_tokenizer(folder, begins=request.param)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    given = {'tokenizer': tokenizer, 'device': 'cpu', 'max_length': CONTEXT, 'batch_size': 4}
    theirs = HFLM(pretrained=model, logits_cache=False, **given)  # which takes splits of one text for the same request
    return language_model(lmjax.load(f'hf:{folder}').examinee), theirs


def requests(*all_args):
    return [types.SimpleNamespace(args=args) for args in all_args]


def test_likelihoods_are_those_of_transformers(both):
    ours, theirs = both
    cuts = ((TEXT[:at], TEXT[at:]) for at in range(1, len(TEXT) - 2))
    asked = requests(
        *(cut for cut in cuts if theirs._encode_pair(*cut)[1]),  # else neither answers
        *(('', TEXT[at:]) for at in range(0, 40, 9)),
        ('<s>the cat ', 'sat'),
        (TEXT * 3, 'the dog'),
    )
    assert len(asked) > 40
    told, wanted = ours.loglikelihood(asked), theirs.loglikelihood(asked, disable_tqdm=True)
    np.testing.assert_allclose([one[0] for one in told], [one[0] for one in wanted], rtol=2e-5)
    assert [one[1] for one in told] == [one[1] for one in wanted]


def test_texts_are_as_likely_as_in_transformers(both):
    ours, theirs = both
    asked = requests((TEXT,), (TEXT * 3,), ('the',))
    theirs.add_bos_token = False  # it would score that token too
    try:
        wanted = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    finally:
        theirs.add_bos_token = None
    np.testing.assert_allclose(ours.loglikelihood_rolling(asked), wanted, rtol=2e-5)


def test_greedy_answers_are_those_of_transformers(both):
    ours, theirs = both
    settings = {'until': ['o', '\n\n'], 'max_gen_toks': 12}
    asked = requests(*((TEXT[:at], settings) for at in (3, 8, 20, 31)), (TEXT * 2, settings))
    told = ours.generate_until(asked)
    assert told == theirs.generate_until(asked, disable_tqdm=True)
    assert len(set(told)) > 2


def test_conversations_are_written_as_transformers_does(both):
    ours, theirs = both
    asked = [{'role': 'user', 'content': 'the cat'}]
    assert ours.apply_chat_template(asked) == theirs.apply_chat_template(asked)
    open_one = [*asked, {'role': 'assistant', 'content': 'sat'}]
    assert ours.apply_chat_template(open_one, False) == theirs.apply_chat_template(open_one, False)
