"""Chat templates and older tokenizer files, equal to what transformers makes of a folder, and kept through round trips."""

import json

import pytest

from lmjax.config import UsageError
from lmjax.data.chat import render_chat
from lmjax.data.tokenizers import tokenizer_class
from lmjax.interop.huggingface import import_tokenizer
from lmjax.interop.vocabulary_files import MAX_BYTES

TEXT = "the cat sat on the mat and the dog isn't on the log, naïve café 東京 😀\n" * 30
TEXTS = (
    'the cat',
    '  two  spaces ',
    'naïve 東京 😀 \n\n x',
    'a<|endoftext|>b',
    '<s>x</s> <mask> y<mask>',
    ' <|im_start|> user',
    'one <t> more<pad><c><m>',
    '',
    'The Cats sat, the [MASK] 東京',
    'café naïve [CLS]x',
    'THE [mask]',
)
CHATML = """{% for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
<|im_start|>system
Be kind.<|im_end|>
    {% endif %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{%- if tools %}{{ tools | tojson(indent=2) }}{% endif %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""
SYSTEM_INSIDE = """{% if messages[0]['role'] == 'system' %}
{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
{% else %}
{% set rest = messages %}{% set system = '' %}
{% endif %}
{% for message in rest %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must take turns') }}
{% endif %}
{% if message['role'] == 'user' %}
{{ bos_token + '[INST] ' + (system if loop.first else '') + message['content'].strip() + ' [/INST]' }}
{% else %}
{{ ' ' ~ message['content'] | trim ~ ' ' ~ eos_token }}
{% endif %}
{% endfor %}"""
HEADERS = """{{- bos_token }}
{%- set state = namespace(date='26 Jul 2024') %}
{%- if not tools is defined or tools is none %}{%- set tools = [] %}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}{% continue %}{% endif %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
    {%- if message.role == 'system' %}{{- 'Today: ' + state.date + '\\n' }}{%- endif %}
    {%- generation %}{{- message.content | trim + '<|eot_id|>' }}{%- endgeneration %}
{%- endfor %}
{%- for tool in tools %}{{ tool.name | upper }}{{ unknown_token }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
TURNS = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}
{% for message in messages %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
TEMPLATES = {'chatml': CHATML, 'system inside': SYSTEM_INSIDE, 'headers': HEADERS, 'turns': TURNS}
ASKED = {'role': 'user', 'content': ' Is 東京 > "x" & naïve?\n'}
TALKS = {
    'one': [ASKED],
    'two': [ASKED, {'role': 'assistant', 'content': 'Yes. '}, {'role': 'user', 'content': 'the <|im_end|> cat'}],
    'system': [{'role': 'system', 'content': 'Be brief.'}, ASKED],
    'out of turn': [ASKED, ASKED],
}
TOKENS = {
    'bos_token': '<s>',
    'eos_token': {'__type': 'AddedToken', 'content': '<|im_end|>', 'lstrip': False},
    'pad_token': None,
}


@pytest.fixture(scope='module')
def pairs():
    """A byte-level vocabulary and its merges."""
    made = tokenizer_class('bpe').train([TEXT], [TEXT], 300).contents()['tokenizer.json']
    model = json.loads(made)['model']
    return model['vocab'], model['merges']


def write(folder, **files):
    """A folder of JSON files by their stems, but for the two that are lists of lines."""
    folder.mkdir(exist_ok=True)
    endings = {'merges': 'merges.txt', 'vocab_txt': 'vocab.txt', 'jinja': 'chat_template.jinja'}
    for stem, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / endings.get(stem, f'{stem}.json')).write_text(text, encoding='utf-8', newline='')
    return str(folder)


def older(folder, pairs, **files):
    merges = '#version: 0.2\n' + ''.join(f'{a} {b}\n' for a, b in pairs[1])
    return write(folder, **{'vocab': pairs[0], 'merges': merges, **files})


def roberta(pairs):
    """The same pairs behind RoBERTa's special tokens."""
    words = ['<s>', '<pad>', '</s>', '<unk>', *(word for word in pairs[0] if word != '<|endoftext|>'), '<mask>']
    return {word: i for i, word in enumerate(words)}, pairs[1]


def theirs(kind):
    return getattr(pytest.importorskip('transformers'), f'{kind}Tokenizer')


def same(folder, kind):
    """Compares ids and texts with those of transformers."""
    reference, ours = theirs(kind).from_pretrained(folder), import_tokenizer(folder)
    assert len(reference) == ours.vocab_size
    for text in TEXTS:
        ids = reference(text)['input_ids']
        assert ours.encode(text).tolist() == ids, text
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False), text
    return ours


MASK = {'content': '<mask>', 'lstrip': True, 'rstrip': False, 'normalized': False, 'single_word': False}
START = {'content': '<|im_start|>', 'lstrip': True, 'rstrip': False, 'normalized': False, 'single_word': False}
MORE = {
    'mask_token': '<m>',
    'pad_token': '<pad>',
    'cls_token': '<c>',
    'additional_special_tokens': ['<|im_start|>'],
    'add_prefix_space': True,
    'add_bos_token': True,
}
# name -> its class, and files beside the vocabulary
OLDER = {
    'gpt2': ('GPT2', {}),
    'gpt2 with more': ('GPT2', {'tokenizer_config': MORE, 'added_tokens': {'<t>': 300}}),
    'gpt2 with listed tokens': (
        'GPT2',
        {
            'tokenizer_config': {'added_tokens_decoder': {'300': {**START, 'special': True}, '301': {'content': '<t>'}}},
            'added_tokens': {'<not this one>': 300},
        },
    ),
    'gpt2 with another end': (
        'GPT2',
        {'special_tokens_map': {'eos_token': START}, 'config': {'model_type': 'gpt2', 'vocab_size': 301}},
    ),
    'roberta': ('Roberta', {}),
    'roberta with space': (
        'Roberta',
        {'tokenizer_config': {'add_prefix_space': True}, 'special_tokens_map': {'mask_token': MASK}},
    ),
}


@pytest.mark.parametrize('name', OLDER)
def test_vocabulary_and_merges_make_the_tokenizer_of_transformers(pairs, tmp_path, name):
    kind, files = OLDER[name]
    named = {} if 'config' in files else {'tokenizer_class': f'{kind}Tokenizer'}
    files = {**files, 'tokenizer_config': {**files.get('tokenizer_config', {}), **named}}
    ours = same(older(tmp_path / 'old', roberta(pairs) if kind == 'Roberta' else pairs, **files), kind)
    assert ours.lossless
    if kind == 'Roberta':
        assert ours.specials == {'mask': ours.vocab_size - 1, 'class': 0, 'separator': 2, 'padding': 1}
        assert ours.end_ids == (2,)


WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] the cat ##s sat na ##ive ##ï ##ve t ##h ##e The Cat , 東 東京
a < | > ca ##f ##é x"""


@pytest.mark.parametrize(
    'options',
    [{}, {'do_lower_case': False}, {'do_lower_case': False, 'strip_accents': True}, {'tokenize_chinese_chars': False}],
    ids=str,
)
def test_a_list_of_words_makes_the_tokenizer_of_transformers(tmp_path, options):
    lines = ''.join(f'{word}\n' for word in WORDS.split())
    folder = write(tmp_path / 'old', vocab_txt=lines, tokenizer_config={'tokenizer_class': 'BertTokenizer', **options})
    assert same(folder, 'Bert').specials == {'padding': 0, 'class': 2, 'separator': 3, 'mask': 4}
    (tmp_path / 'old' / 'vocab.txt').write_text(lines.replace('\n', '\r\n'), newline='')
    assert (
        import_tokenizer(folder).encode('the Cats').tolist() == theirs('Bert').from_pretrained(folder)('the Cats')['input_ids']
    )


def test_files_that_make_no_tokenizer_are_one_clear_line(pairs, tmp_path):
    vocabulary, _ = pairs

    def refused(match, **files):
        folder = older(tmp_path / 'old', pairs, **{'tokenizer_config': {'tokenizer_class': 'GPT2Tokenizer'}, **files})
        with pytest.raises(UsageError, match=match) as error:
            import_tokenizer(folder)
        assert '\n' not in str(error.value)
        for path in (tmp_path / 'old').iterdir():
            path.unlink()

    refused(r'vocab\.json: not readable as JSON', vocab='{"a": 1')
    refused(r'vocab\.json: not readable as JSON', vocab='[' * 100_000)
    refused(r'vocab\.json: is no object of tokens, each with an id of its own', vocab={**vocabulary, 'x': 5})
    refused(r'vocab\.json: is no object of tokens', vocab={'a': '1'})
    refused(r'vocab\.json: is no object of tokens', vocab=['a'])
    refused(r'vocab\.json: is no object of tokens', vocab={**vocabulary, 'x': 4_000_000_000})
    refused(r"merges\.txt: line 2 is 'abc', where two tokens and a space between are due", merges='a b\nabc\n')
    refused(r'its vocab\.json and merges\.txt make no tokenizer \(.*out of vocabulary', merges='qq zz\n')
    refused(r"the token '<t>' has id 400 there, which the vocabulary does not leave for it", added_tokens={'<t>': 400})
    refused(
        r"tokenizer_class='CLIPTokenizer': merges\.txt and vocab\.json do not say how it cuts",
        tokenizer_config={'tokenizer_class': 'CLIPTokenizer'},
    )
    refused(r'vocab\.txt: missing, though merges\.txt is there', tokenizer_config={'tokenizer_class': 'BertTokenizerFast'})
    refused(r'tokenizer\.json: has 300 tokens and the network 299', config={'vocab_size': 299})
    refused(r"config\.json: vocab_size='many': must be a number", config={'vocab_size': 'many'})
    folder = write(tmp_path / 'empty', tokenizer_config={})
    with pytest.raises(
        UsageError, match=r"holds no tokenizer\.json, nor an older tokenizer's vocab\.json and merges\.txt or vocab"
    ):
        import_tokenizer(folder)
    with open(tmp_path / 'empty' / 'vocab.txt', 'wb') as file:
        file.truncate(MAX_BYTES + 1)
    write(tmp_path / 'empty', tokenizer_config={'tokenizer_class': 'BertTokenizer'})
    with pytest.raises(UsageError, match=r'vocab\.txt: bytes=67108865: at most 67,108,864 are read; fetch it again'):
        import_tokenizer(folder)


@pytest.fixture(scope='module')
def bare(pairs):
    """The files of a tokenizer that knows the markers of a chat."""
    import tokenizers

    text = tokenizer_class('bpe').train([TEXT], [TEXT], 300).contents()['tokenizer.json']
    made = tokenizers.Tokenizer.from_str(text)
    made.add_special_tokens(['<s>', '<|im_start|>', '<|im_end|>', '<|eot_id|>'])
    return json.loads(made.to_str())


def described(template):
    return {'tokenizer_class': 'PreTrainedTokenizerFast', **TOKENS, 'chat_template': template}


@pytest.mark.parametrize('name', TEMPLATES)
def test_a_conversation_is_written_as_transformers_writes_it(bare, tmp_path, name, monkeypatch):
    jinja2 = pytest.importorskip('jinja2')
    reference = pytest.importorskip('transformers').PreTrainedTokenizerFast
    in_this_process(monkeypatch)
    folder = write(tmp_path / 'chat', tokenizer=bare, tokenizer_config=described(TEMPLATES[name]))
    reference, ours = reference.from_pretrained(folder), import_tokenizer(folder)
    written = 0
    for messages in TALKS.values():
        for asked in ({}, {'add_generation_prompt': True}, {'tools': [{'name': 'été', 'values': [1, None]}]}):
            try:
                text = reference.apply_chat_template(messages, tokenize=False, **asked)
            except jinja2.TemplateError as error:
                with pytest.raises(UsageError, match=str(error)):
                    render_chat(ours.chat, messages, **{'add_generation_prompt': False, **asked})
                continue
            assert render_chat(ours.chat, messages, **{'add_generation_prompt': False, **asked}) == text
            ids = reference.apply_chat_template(messages, return_dict=False, **asked)
            assert ours.encode_rendered(text).tolist() == ids
            written += 1
    assert written >= 6


def in_this_process(monkeypatch):
    """Renders without a process for each text, which tests/data/test_chat.py tries."""
    from lmjax.data import chat
    from lmjax.data.chat_worker import answer

    def rendered(template, variables):
        found = answer(
            {'template': template, 'variables': json.loads(json.dumps(list(variables))), 'max_chars': chat.MAX_CHARS}
        )
        if 'texts' not in found:
            raise UsageError(str(found))
        return found['texts']

    monkeypatch.setattr(chat, 'render_bounded', rendered)


def test_templates_are_found_where_transformers_looks_for_them(bare, tmp_path):
    listed = [{'name': 'default', 'template': 'one'}, {'name': 'tool_use', 'template': 'two'}]
    folder = write(tmp_path / 'chat', tokenizer=bare, tokenizer_config=described(listed))
    chat = import_tokenizer(folder).chat
    assert chat.templates == {'default': 'one', 'tool_use': 'two'}
    assert chat.tokens == {'bos_token': '<s>', 'eos_token': '<|im_end|>'}
    assert import_tokenizer(folder).end_ids == (303 - 1,)
    write(tmp_path / 'chat', jinja='three\n')
    (tmp_path / 'chat' / 'additional_chat_templates').mkdir()
    (tmp_path / 'chat' / 'additional_chat_templates' / 'rag.jinja').write_text('four')
    assert import_tokenizer(folder).chat.templates == {'default': 'three\n', 'rag': 'four'}
    reference = pytest.importorskip('transformers').PreTrainedTokenizerFast.from_pretrained(folder)
    assert reference.chat_template == {'default': 'three\n', 'rag': 'four'}


@pytest.mark.parametrize(
    'template', [{'default': 'x'}, [{'name': 'default'}], ['x'], 3, [{'name': 1, 'template': 'x'}]], ids=str
)
def test_what_is_no_template_is_refused(bare, tmp_path, template):
    folder = write(tmp_path / 'chat', tokenizer=bare, tokenizer_config=described(template))
    with pytest.raises(UsageError, match=r'tokenizer_config\.json: chat_template is neither a text nor a list of named texts'):
        import_tokenizer(folder)
    write(tmp_path / 'chat', tokenizer_config=described('x' * (1 << 20) + 'x'))
    with pytest.raises(UsageError, match=r"bytes of chat_template 'default'=1048577: at most 1,048,576 are read"):
        import_tokenizer(folder)
    write(tmp_path / 'chat', jinja='x' * (1 << 20) + 'x')
    with pytest.raises(UsageError, match=r'chat_template\.jinja: bytes=1048577: at most 1,048,576 are read'):
        import_tokenizer(folder)
