"""Answers to a conversation, with a network that counts."""

import pytest

import lmjax
from lmjax.config import UsageError
from lmjax.data.chat import Chat
from lmjax.data.tokenizers import CharTokenizer
from lmjax.models.config import NgramConfig
from lmjax.models.ngram import build

TEXT = 'abcdefgh\n' * 20
TALK = [{'role': 'system', 'content': 'b'}, {'role': 'user', 'content': 'c'}]
TEMPLATE = "{% for m in messages %}{{ 'a' if m.role == 'system' else 'b' }}{{ m.content }}{% endfor %}"


@pytest.fixture(scope='module')
def run():
    tokenizer = CharTokenizer(''.join(sorted(set(TEXT))))
    tokenizer.chat = Chat({'default': TEMPLATE, 'tool_use': 'abc{{ tools[0] }}', 'other': 'efgh'}, {})
    model = build(NgramConfig(order=3), vocab_size=tokenizer.vocab_size, seq_len=8)
    return lmjax.Run('w', lmjax.Config(model=NgramConfig(order=3)), model, model.fit(tokenizer.encode(TEXT)), tokenizer)


def test_the_answer_goes_on_where_the_template_ends(run):
    assert run.chat_ids(TALK).tolist() == run.tokenizer.encode('abbc').tolist()
    assert run.chat(TALK, max_new_tokens=4, greedy=True) == 'defg' == run.generate('abbc', max_new_tokens=4, greedy=True)[0]
    assert run.chat(TALK, tools=['e'], max_new_tokens=4, greedy=True) == 'fgh\n'
    assert run.chat(TALK, template='other', max_new_tokens=4, greedy=True) == '\nabc'


def test_what_has_no_answer_is_refused(run):
    with pytest.raises(UsageError, match='num_samples=2: a chat has one answer; leave it out'):
        run.chat(TALK, num_samples=2)
    with pytest.raises(UsageError, match='tempature=1: no such setting; choose from: max_new_tokens'):
        run.chat(TALK, tempature=1)
    with pytest.raises(UsageError, match="messages='hi': give a list of messages"):
        run.chat('hi')
