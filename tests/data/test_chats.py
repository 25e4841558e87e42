"""Conversations with what the assistant says of them: as rows of files, as tokens, in batches, and when they are scored."""

import json

import numpy as np
import pytest

from lmjax import (
    ObjectiveConfig,
    UsageError,
)
from lmjax.data.chat import Chat
from lmjax.data.chats import SAID, encode_chats, messages_of
from lmjax.data.corruptions import corruption_of
from lmjax.data.loader import eval_batches
from lmjax.data.marks import plain_marks
from lmjax.data.sources import open_source
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer

TEMPLATE = '{% for m in messages %}[{{ m.role[0] }}]{{ m.content }};{% endfor %}{% if add_generation_prompt %}[a]{% endif %}'


class Chatting(ByteTokenizer):
    chat = Chat({'default': TEMPLATE}, {})


def encoded(*conversations):
    ids, tags = encode_chats([json.dumps(messages_of(turns)) for turns in conversations], [], Chatting())
    return [bytes(row.tolist()).decode() for row in ids], [(tag == SAID) for tag in tags], ids, tags


def test_rows_become_messages_up_to_the_last_answer(tmp_path):
    user, answer = {'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'hey'}
    assert messages_of(['hi', 'hey', 'bye']) == [user, answer]
    assert messages_of([{'role': 'system', 'content': 's'}, user, answer])[0]['role'] == 'system'
    for bad in ([answer, user], [user], ['hi'], [], 'hi', [1, 2], [{'role': 'user'}, answer], None):
        assert messages_of(bad) == [], bad
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, [{'turns': ['a\tb', 'c']}, {'turns': ['a']}, {'turns': 3}])))
    documents = list(open_source(f'chats:{tmp_path}/a.jsonl#turns').documents())
    assert [document is None for document in documents] == [False, True, True]
    with pytest.raises(UsageError, match=r"has no column 'messages'; it has turns; put"):
        open_source(f'chats:{tmp_path}/a.jsonl')


def test_what_the_assistant_says_is_told_and_what_opens_its_answer_is_not():
    texts, said, _, _ = encoded(['hi', 'hey'], ['a', 'bc', 'd', 'e'])
    assert texts == ['[u]hi;[a]hey;', '[u]a;[a]bc;[u]d;[a]e;']
    shown = [
        ''.join(char for char, is_said in zip(text, row, strict=True) if is_said) for text, row in zip(texts, said, strict=True)
    ]
    assert shown == ['hey;', 'bc;e;']


def test_a_template_that_takes_back_what_it_wrote_is_refused():
    class Forgetful(ByteTokenizer):
        chat = Chat({'default': '{{ messages | length }}' + TEMPLATE}, {})

    with pytest.raises(UsageError, match=r"chat_template: goes on otherwise than it began: '1\[u\]hi;\[a\]' became '2\[u\]hi;"):
        encode_chats([json.dumps(messages_of(['hi', 'hey']))], [], Forgetful())
    with pytest.raises(UsageError, match=r"data\.tokenizer='byte': has no chat template"):
        encode_chats([json.dumps(messages_of(['hi', 'hey']))], [], ByteTokenizer())


@pytest.mark.parametrize('layout', ['documents', 'packed'])
def test_each_said_token_is_scored_once_in_rows_alone_and_packed(layout):
    conversations = [['q' * (n % 5 + 1), 'x' * (n % 7 + 1), 'r', 'y' * (n % 3 + 1)] for n in range(17)]
    _, said, ids, tags = encoded(*conversations)
    store = memory_store(ids, text_bytes=0, vocab_size=256, tags=tags)
    corrupt = corruption_of(ObjectiveConfig(kind='instruct'), plain_marks(256))
    scored = []
    for batch in eval_batches(store, seq_len=64, batch_size=4, layout=layout, corrupt=corrupt):
        assert batch.labels is None
        scored += np.asarray(batch.targets)[np.asarray(batch.weights) > 0].tolist()
    wanted = [token for row, is_said in zip(ids, said, strict=True) for token in row[is_said].tolist()]
    assert sorted(scored) == sorted(wanted)
    assert len(wanted) < sum(map(len, ids))
