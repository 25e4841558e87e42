"""Pairs of answers: as rows of files, as tokens, in batches, and what is refused."""

import json

import numpy as np
import pytest

from lmjax import DataConfig, ObjectiveConfig, UsageError
from lmjax.data.chat import Chat
from lmjax.data.corpus import prepare
from lmjax.data.corruptions import tokens_corruption
from lmjax.data.loader import batch_at, eval_batches
from lmjax.data.preferences import encode_preferred, encode_sides, parts_of, plain_parts
from lmjax.data.sources import open_source
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer, CharTokenizer

BYTES = ByteTokenizer()
END = BYTES.separator_id


def read(ids):
    return ''.join('.' if token == END else BYTES.decode([int(token)]) for token in ids)


class Chatting(ByteTokenizer):
    template = (
        '{% for m in messages %}[{{ m.role[0] }}]{{ m.content }};{% endfor %}{% if add_generation_prompt %}[a]{% endif %}'
    )
    chat = Chat({'default': template}, {})


def pair(*parts):
    return json.dumps(parts)


def test_rows_are_pairs_and_others_are_left_out(tmp_path):
    rows = [
        {'q': 'a\tb', 'good': 'c', 'bad': 'd'},
        {'q': ['hello', 'hi'], 'good': 'c', 'bad': 'd'},
        {'q': [{'role': 'user', 'content': 'x'}], 'good': 'c', 'bad': 'd'},
        *({'q': q, 'good': good, 'bad': bad} for q, good, bad in ((1, 'c', 'd'), ([], 'c', 'd'), ([1], 'c', 'd'))),
        *({'q': 'a', 'good': good, 'bad': bad} for good, bad in (('c', 'c'), ('', 'd'), ('c', ''), ('c', None))),
    ]
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    source = open_source(f'preferred:{tmp_path}/rows.jsonl#q,good,bad')
    texts = [None if found is None else found.split('\t') for found in source.documents()]
    assert [json.loads(text[0]) for text in texts[:3]] == [[row['q'], 'c', 'd'] for row in rows[:3]]
    assert {text[1] for text in texts[:3]} == {'first'}
    assert texts[3:] == [None] * 7
    (tmp_path / 'rows.csv').write_text('prompt,chosen,rejected\na,c,d\n')
    assert list(open_source(f'preferred:{tmp_path}/rows.csv').documents()) == ['["a", "c", "d"]\tfirst']
    with pytest.raises(UsageError, match='put PROMPT,CHOSEN,REJECTED after #'):
        open_source(f'preferred:{tmp_path}/rows.csv#prompt,chosen')


def test_what_is_said_reads_plainly():
    assert plain_parts(pair('ask', 'yes', 'no')) == 'ask\nyes\nno'
    assert plain_parts(pair(['ask', {'role': 'assistant', 'content': 'so'}, 'and'], 'yes', 'no')) == 'ask\nso\nand\nyes\nno'
    for text in ('ask', '["ask", "yes"]', '["ask", "yes", "yes"]', '["ask", 1, "no"]', '[[{"role": "user"}], "yes", "no"]'):
        with pytest.raises(UsageError, match='answers are compared; give a JSON list of a prompt and two that differ'):
            parts_of(text)


def test_each_side_is_the_prompt_and_an_answer_with_its_end():
    (ids,), (tags,) = encode_preferred([pair('ab', 'c', 'de')], ['first'], BYTES, seq_len=20)
    assert read(ids) == '.abc..abde.'
    assert tags.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]


def test_the_end_of_a_long_prompt_stays():
    for seq_len, shown in ((12, 'def'), (13, 'def'), (14, 'cdef'), (30, '.abcdef')):
        (sides,) = encode_sides([pair('abcdef', 'xy', 'z.')], BYTES, seq_len=seq_len)
        assert [read(side.before) for side in sides] == [shown] * 2
        assert [read(side.answer) for side in sides] == ['xy.', 'z..']
        assert sum(len(part) for side in sides for part in side) <= seq_len


def test_messages_are_written_by_the_template_and_the_last_answer_is_said():
    prompt = ['hi', 'yes', {'role': 'user', 'content': 'so'}]
    (sides,) = encode_sides([pair(prompt, 'good', 'bad')], Chatting(), seq_len=200)
    assert [read(side.before) for side in sides] == ['[u]hi;[a]yes;[u]so;[a]'] * 2
    assert [read(side.answer) for side in sides] == ['good;', 'bad;']
    mixed = encode_sides([pair('a', 'b', 'c'), pair(['a'], 'd', 'e'), pair(['f'], 'g', 'h')], Chatting(), seq_len=200)
    assert [read(sides[1].answer) for sides in mixed] == ['c.', 'e;', 'h;']


def test_a_batch_has_both_sides_apart():
    texts = [pair('ab', 'c', 'de'), pair('', 'xyz', 'w')]
    ids, tags = encode_preferred(texts, ['first'] * 2, BYTES, seq_len=11)
    store = memory_store(ids, text_bytes=0, vocab_size=BYTES.vocab_size, separator_id=None, tags=tags)
    corrupt = tokens_corruption(ObjectiveConfig(kind='prefer'), BYTES)
    (batch,) = eval_batches(store, seq_len=11, batch_size=3, layout='documents', corrupt=corrupt)
    rows = {
        read(row_ids[segments > 0]): (segments, positions, said)
        for row_ids, segments, positions, said in zip(
            batch.inputs.ids, batch.inputs.segments, batch.inputs.positions, batch.labels, strict=True
        )
    }
    segments, positions, said = rows['.abc..abde.']
    assert segments.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]
    assert said.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 2, 2, 2]
    segments, positions, said = rows['.xyz..w.']
    assert segments.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert said.tolist() == [0, 1, 1, 1, 1, 0, 2, 2, 0, 0, 0]
    assert sorted(batch.weights[:, 0].tolist()) == [0, 1, 1]
    assert batch.targets.shape == batch.weights.shape == (3, 1)
    padding = int(np.argmin(batch.weights[:, 0]))
    assert not batch.inputs.segments[padding].any()
    assert not batch.labels[padding].any()


def test_a_store_has_full_rows_and_nothing_between_them(tmp_path):
    rows = [{'prompt': f'{n:09}', 'chosen': 'a', 'rejected': 'b'} for n in range(20)]
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    data = DataConfig(
        source=f'preferred:{tmp_path}/rows.jsonl',
        tokenizer='byte',
        seq_len=12,
        layout='documents',
        cache_dir=str(tmp_path / 'c'),
    )
    store = prepare(data).train
    assert store.separator_id is None
    assert set(np.diff(store.doc_offsets).tolist()) == {12}
    corrupt = tokens_corruption(ObjectiveConfig(kind='prefer'), BYTES)
    batch = batch_at(store, data, 0, seed=0, batch_size=4, corrupt=corrupt)
    assert (batch.weights == 1).all()
    assert {read(row) for row in batch.inputs.ids} <= {f'{n:09}'[-4:] + 'a.' + f'{n:09}'[-4:] + 'b.' for n in range(20)}


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"chosen='abc': and the other have 8 tokens, too many for data\.seq_len=9; use 10 or"):
        encode_sides([pair('x', 'abc', 'def')], BYTES, seq_len=9)
    with pytest.raises(UsageError, match="needs a token for 'end'"):
        encode_sides([pair('x', 'a', 'b')], CharTokenizer('abx'), seq_len=9)
    with pytest.raises(UsageError, match='has no chat template'):
        encode_sides([pair(['x'], 'a', 'b')], BYTES, seq_len=90)
