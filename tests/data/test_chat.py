"""Conversations as text: what a template sees, and that one of a stranger ends in bounds. Parity: tests/interop."""

import json

import pytest

from lmjax.config import UsageError
from lmjax.data import chat as chat_module
from lmjax.data.chat import Chat, chat_ids, render_chat
from lmjax.data.chat_worker import answer
from lmjax.data.library_tokenizer import LibraryTokenizer
from lmjax.data.tokenizers import load_tokenizer, tokenizer_class

HELLO = [{'role': 'user', 'content': 'hi <|im_end|>'}]
CHATML = (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}'
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)


def plain(template, **tokens):
    return Chat({'default': template}, tokens)


def quick(template, **variables):
    """The worker's answer, in this process."""
    found = answer({'template': template, 'variables': [variables], 'max_chars': 1000})
    return {'text': found['texts'][0]} if 'texts' in found else found


def test_a_conversation_becomes_text_up_to_the_answer():
    template = "{{ bos_token if messages[0].name is not defined else 'named' }}" + CHATML
    text = render_chat(plain(template, bos_token='<s>'), [{**HELLO[0], 'name': None}])
    assert text == '<s><|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n'
    without = render_chat(plain(CHATML), HELLO, add_generation_prompt=False)
    assert without == '<|im_start|>user\nhi <|im_end|><|im_end|>\n'


def test_what_a_template_is_given():
    assert quick('{{ x | tojson }}', x={'b': '<é>', 'a': 1}) == {'text': '{"b": "<é>", "a": 1}'}  # neither sorted nor escaped
    assert quick('{{ x | tojson(indent=1) }}', x=[1]) == {'text': '[\n 1\n]'}
    assert len(quick("{{ strftime_now('%Y-%m-%d') }}")['text']) == 10
    assert quick('{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}') == {'text': '012'}
    assert quick('{% set n = namespace(a=1) %}{% set n.a = n.a + 1 %}{{ n.a }}{{ nothing }}') == {'text': '2'}
    assert quick('a{% generation %}{{ x }}{% endgeneration %}b\n', x='*') == {'text': 'a*b'}
    assert quick('{% if x %}\n   yes\n  {% endif %}\n!', x=1) == {'text': '   yes\n!'}
    assert quick("{{ raise_exception('no') }}") == {'refused': 'no'}


FORBIDDEN = (
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x | attr('__class__') }}",
    "{{ x['__class__'] }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    '{{ self.__init__.__globals__ }}',
    "{{ '{0.__class__}'.format(1) }}",
    '{{ dict.mro() }}',
    '{{ x.append(1) }}',
    '{% set n = namespace() %}{% set n.__class__ = 1 %}',
    '{{ namespace(__len__=1) }}',
)


@pytest.mark.parametrize('template', FORBIDDEN)
def test_a_template_does_not_reach_out_of_its_sandbox(template):
    assert list(quick(template, x=[1])) == ['forbidden']


def test_what_fails_is_told_apart():
    assert list(quick('{{ range(10**9) | list }}')) == ['exceeded']
    assert list(quick('{% for i in range(9999) %}{{ i }}{% endfor %}')) == ['exceeded']
    assert list(quick('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}')) == ['exceeded']
    for broken in ('{{ x.y.z }}', '{% if %}', "{{ 1 + 'a' }}", "{% include '/etc/hostname' %}", '{{ 1 / 0 }}'):
        assert list(quick(broken)) == ['error'], broken


BAD = {
    'escape': ("{{ ''.__class__ }}", r"^chat_template: reaches out of its sandbox \('__class__' of a str .*\); do not trust"),
    'long string': ("{{ 'a' * 10**10 }}", r'^chat_template: asks for too much \(MemoryError\); do not trust'),
    'doubling': (
        '{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}',
        r'^chat_template: asks for too much \(MemoryError\)',
    ),
    'long text': (
        "{% for i in range(99999) %}{{ 'abcdefghij' * 100 }}{% endfor %}",
        r'^chat_template: asks for too much \(more than 4,000,000 characters\)',
    ),
    'refusal': (
        "{{ raise_exception('roles\nmust alternate') }}",
        r'^messages: the chat template refuses them \(roles must alt',
    ),
    'mistake': ('{{ nothing.at_all }}', r"^chat_template: cannot be rendered \(UndefinedError: 'nothing' is undefined\); mend"),
}


@pytest.mark.parametrize('name', BAD)
def test_a_bad_template_is_one_clear_line(name):
    template, message = BAD[name]
    with pytest.raises(UsageError, match=message) as error:
        render_chat(plain(template), HELLO)
    assert '\n' not in str(error.value)


def test_a_template_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(chat_module, 'SECONDS', 1)
    monkeypatch.setattr(chat_module, 'PATIENCE', 15)
    loops = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
    with pytest.raises(UsageError, match=r"^chat_template: not done after 1 s of computing; do not trust this checkpoint's"):
        render_chat(plain(loops), HELLO)
    monkeypatch.setattr(chat_module, 'PATIENCE', 0.01)
    with pytest.raises(UsageError, match=r'^chat_template: not done after 0\.01 s; do not trust'):
        render_chat(plain(loops), HELLO)


def test_several_templates():
    chat = Chat({'default': 'd', 'tool_use': 't{{ tools | length }}', 'rag': 'r'}, {})
    assert [render_chat(chat, HELLO), render_chat(chat, HELLO, tools=[{}]), render_chat(chat, HELLO, template='rag')] == [
        'd',
        't1',
        'r',
    ]
    with pytest.raises(UsageError, match="template='x': no such choice; choose one of: default, tool_use, rag"):
        render_chat(chat, HELLO, template='x')


@pytest.mark.parametrize(
    'messages',
    ['hi', [], {}, ['hi'], [{'content': 'hi'}], [{'role': 'user'}], [{'role': 'user', 'content': 1}], [HELLO]],
    ids=str,
)
def test_what_are_no_messages_is_refused(messages):
    with pytest.raises(
        UsageError, match=r"^messages=.*: give a list of messages such as \{'role': 'user', 'content': 'text'\}"
    ):
        render_chat(plain(CHATML), messages)
    with pytest.raises(UsageError, match=r'^messages: .*only text, numbers, lists and dicts can be written'):
        render_chat(plain(CHATML), [{**HELLO[0], 'more': {1, 2}}])


def library(**settings):
    """A tokenizer of bytes with the markers of a chat, which puts a token before every text that is none."""
    import tokenizers
    from tokenizers import processors

    text = tokenizer_class('bpe').train(['a b'], ['a b'], 257).contents()['tokenizer.json']
    made = tokenizers.Tokenizer.from_str(text)
    made.add_special_tokens(['<|im_start|>', '<|im_end|>'])
    made.post_processor = processors.TemplateProcessing(single='<|endoftext|> $A', special_tokens=[('<|endoftext|>', 0)])
    return LibraryTokenizer(made.to_str(), **settings)


def test_markers_become_their_tokens_and_nothing_is_put_around_them(tmp_path):
    tokenizer = library(chat=plain(CHATML, eos_token='<|im_end|>'), ends=['<|im_end|>'])
    ids = chat_ids(tokenizer, HELLO)
    start, end = 257, 258
    assert tokenizer.end_ids == (end,)
    assert [i for i in ids if i >= 257] == [start, end, end, start]
    assert ids[0] == start
    assert ids[1:5].tolist() == tokenizer.encode('user')[1:].tolist()
    assert tokenizer.encode('user')[0] == 0  # as plain text has it
    assert tokenizer.decode(ids) == 'user\nhi \nassistant\n'
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.digest == tokenizer.digest != library(ends=['<|im_end|>']).digest
    assert chat_ids(loaded, HELLO).tolist() == ids.tolist()
    assert json.loads((tmp_path / 'chat.json').read_text())['templates'] == {'default': CHATML}
    with pytest.raises(UsageError, match="tokenizer='library': has no chat template; use a checkpoint that was taught to chat"):
        chat_ids(library(), HELLO)
