"""A network asked as lm-evaluation-harness asks: laws of likelihoods of texts, where a text is split, how answers end."""

import dataclasses

import jax
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.chat import Chat
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.tokenizers import CharTokenizer
from lmjax.interop.harness import Examinee, language_model, sampling_of
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig

CONTEXT = 24
CONFIGS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=1),
    'transformer': TransformerConfig(width=8, depth=1, heads=2, init='fan_in'),
}
TEXT = 'the cat sat on the mat and the dog sat on the log\n'
MESSAGE = '{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}'
TEMPLATE = MESSAGE + '{% if add_generation_prompt %}A:{% endif %}'
LETTERS = CharTokenizer(''.join(sorted(set(TEXT))))


@pytest.fixture(autouse=True, scope='module')
def _quick_compilation():
    """Small programs that run a few times: compiled in half of the time."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def examined(config, tokenizer=LETTERS):
    model = build(config, vocab_size=tokenizer.vocab_size, seq_len=CONTEXT)
    params = jax.tree.map(lambda leaf: 4 * leaf, jax.jit(model.init)(jax.random.key(2), {}))
    limit = None if model.traits.recurrent else CONTEXT
    return Examinee(model, params, tokenizer, context=limit)


@pytest.fixture(scope='module', params=CONFIGS)
def examinee(request):
    return examined(CONFIGS[request.param])


def ids(text):
    return LETTERS.encode(text).tolist()


def total(examinee, *pairs):
    return sum(found for found, _ in examinee.likelihoods(pairs))


def test_the_parts_of_a_split_add_up(examinee):
    whole = total(examinee, ('the cat', ' sat on'))
    np.testing.assert_allclose(total(examinee, ('the cat', ' sat'), ('the cat sat', ' on')), whole, rtol=1e-5)
    assert abs(total(examinee, ('a', ' sat on')) - whole) > 1e-3


def test_neither_the_order_nor_the_company_changes_anything(examinee):
    pairs = [(TEXT[:i], TEXT[i : i + 1 + i % 5]) for i in range(40)]
    found, turned = examinee.likelihoods(pairs), examinee.likelihoods(pairs[::-1])[::-1]
    alone = [examinee.likelihoods([pair])[0] for pair in pairs[::8]]
    for one, others in ((found, turned), (found[::8], alone)):
        np.testing.assert_allclose([each for each, _ in one], [each for each, _ in others], rtol=1e-5)
        assert [greedy for _, greedy in one] == [greedy for _, greedy in others]


def test_white_space_at_the_end_of_a_context_is_scored(examinee):
    assert examinee.likelihoods([('the cat ', 'sat')]) == examinee.likelihoods([('the cat', ' sat')])
    assert examinee.split('the cat \n', 'sat') == (ids('the cat'), ids(' \nsat'))


def test_a_whole_text_is_what_follows_the_token_that_begins_one(examinee):
    short = TEXT[:20]
    assert examinee.split('', short) == (ids('\n'), ids(short))
    assert examinee.split(' ', short) == (ids('\n'), ids(' ' + short))
    assert examinee.split('', '\n' + short) == (ids('\n'), ids(short))
    np.testing.assert_allclose(examinee.rolling([short])[0], total(examinee, ('', short)), rtol=1e-6)


def test_a_long_text_is_the_sum_of_its_windows(examinee):
    found = examinee.rolling([TEXT, TEXT[:20]])
    if examinee.context is None:
        parts = ('', TEXT[:20]), (TEXT[:20], TEXT[20:])
    else:
        size = len(TEXT)
        parts = ('', TEXT[:24]), (TEXT[23], TEXT[24:48]), (TEXT[size - 25 : 48], TEXT[48:])
        assert not any(before != before.rstrip() for before, _ in parts)
    np.testing.assert_allclose(found[0], total(examinee, *parts), rtol=1e-5)


def test_what_the_network_would_say_itself_is_greedy(examinee):
    asked = [(TEXT[:i], {'max_gen_toks': 3, 'until': []}) for i in (3, 11)]
    said = [(before, text) for (before, _), text in zip(asked, examinee.continuations(asked), strict=True)]
    assert {len(text) for _, text in said} == {3}
    for (before, text), (_, greedy) in zip(said, examinee.likelihoods(said), strict=True):
        assert greedy, (before, text)
    others = [(before, text[:-1] + ('c' if text[-1] == 'a' else 'a')) for before, text in said]
    assert not any(greedy for _, greedy in examinee.likelihoods(others))


def test_answers_end_where_the_task_says(examinee):
    nine = {'max_gen_toks': 9}
    whole, begun = examinee.continuations([('the', nine), ('', nine)])
    assert {len(whole), len(begun)} == {9}
    stop = whole[3:5]
    same = [('the', {**nine, 'until': stop}), ('the', {**nine, 'until': [stop, '']})]
    assert examinee.continuations(same) == [whole[: whole.index(stop)]] * 2
    mixed = [
        ('the', {**nine, 'do_sample': False, 'temperature': 2.0}),
        *[('the', {**nine, 'temperature': 2.0})] * 2,
        ('', nine),
    ]
    first, second, third, last = examinee.continuations(mixed)
    assert (first, last) == (whole, begun)
    assert len({first, second, third}) == 3
    assert examinee.continuations(mixed[1:3]) == [second, third]


@pytest.mark.parametrize(
    ('asked', 'wanted'),
    [
        ({}, (256, True, 1.0, ())),
        ({'until': '\n', 'max_new_tokens': 7}, (7, True, 1.0, ('\n',))),
        ({'max_tokens': 5, 'max_gen_toks': 9, 'temperature': 0.0}, (9, True, 1.0, ())),
        ({'temperature': 0.5, 'until': ['a', '']}, (256, False, 0.5, ('a',))),
        ({'do_sample': False, 'temperature': 0.5, 'top_p': 0.9}, (256, True, 1.0, ())),
        ({'do_sample': True, 'top_k': 3}, (256, False, 1.0, ())),
    ],
)
def test_settings_are_read_as_the_harness_means_them(asked, wanted):
    found = sampling_of(asked)
    assert (found.max_new_tokens, found.greedy, found.temperature, found.stop) == wanted
    assert found.top_k == asked.get('top_k', 0)
    assert found.top_p == 1


def test_a_setting_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match=r'generation_kwargs\.typical_p=0\.9: no such setting; max_gen_toks'):
        sampling_of({'typical_p': 0.9})


def bpe(template=''):
    """BPE as a published tokenizer has it, which begins every text with <s> if asked for."""
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=['<s>', '</s>'], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator([TEXT] * 20, trainer)
    if template:
        library.post_processor = tokenizers.processors.TemplateProcessing(
            single=template, special_tokens=[('<s>', 0), ('</s>', 1)]
        )
    chat = Chat({'default': TEMPLATE}, {})
    return LibraryTokenizer(library.to_str(), ends=[1], chat=chat)


@pytest.mark.parametrize('template', ['', '<s> $A', '<s> </s> $A'])
def test_a_split_covers_the_whole_text_once(template):
    tokenizer = bpe(template)
    examinee = examined(CONFIGS['lstm'], tokenizer)
    for at in range(1, len(TEXT) - 1):
        before, after = examinee.split(TEXT[:at], TEXT[at:])
        assert before[:1] == [0] or not template
        assert before.count(0) == bool(template)
        size = len(TEXT[:at].rstrip())
        assert tokenizer.decode(before) == TEXT[:size]
        if tokenizer.decode(before + after) != TEXT:  # a token that reaches across the seam is scored by what the context lacks
            assert list(tokenizer.encode(TEXT)[: len(before)]) != before
    assert examinee.split('', TEXT) == ([0] if template else [1], examinee.encode(TEXT, special=False))
    assert examinee.split('', '<s>the') == (
        ([0], examinee.encode('the', special=False)) if template else ([1], [0, *examinee.encode('the', special=False)])
    )
    assert examinee.encode('<s>the').count(0) == 1


def test_a_continuation_without_a_token_of_its_own_is_refused():
    examinee = examined(CONFIGS['lstm'], bpe())
    assert len(examinee.encode('the')) == 1
    with pytest.raises(UsageError, match="continuation='he': has no token of its own after 't'; change the task"):
        examinee.likelihoods([('t', 'he')])


def test_a_conversation_is_written_as_the_checkpoint_says():
    examinee = examined(CONFIGS['lstm'], bpe())
    asked = [{'role': 'user', 'content': 'the cat'}]
    assert examinee.chat(asked) == '<s>user:the cat</s>A:'
    assert (
        examinee.chat([*asked, {'role': 'assistant', 'content': 'sat '}], answer=False) == '<s>user:the cat</s><s>assistant:sat'
    )
    with pytest.raises(UsageError, match="tokenizer='char': has no chat template"):
        examined(CONFIGS['lstm']).chat(asked)


def test_networks_that_do_not_go_on_with_text_are_refused():
    config = TransformerConfig(width=8, depth=1, heads=2)
    for changes, words in (({'causal': False}, 'encoder'), ({'encoder_depth': 1}, 'encoder-decoder')):
        model = build(dataclasses.replace(config, **changes), vocab_size=5, seq_len=CONTEXT)
        with pytest.raises(UsageError, match=f"model='{words}': .*take a decoder"):
            Examinee(model, {}, LETTERS)
    model = build(config, vocab_size=5, seq_len=CONTEXT)
    with pytest.raises(UsageError, match=r"objective\.kind='prefix'.*take a decoder"):
        Examinee(model, {}, LETTERS, opens=True)
    with pytest.raises(UsageError, match=r'add its tokenizer\.json'):
        Examinee(model, {}, None)


def test_without_the_library_it_says_how_to_have_it(examinee, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'lm_eval', None)
    with pytest.raises(UsageError, match=r"lm_eval=None: .*pip install -e '\.\[harness\]'"):
        language_model(examinee)
