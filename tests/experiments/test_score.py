"""The entry points that score texts and words: what is printed and written, and flags that do not go together."""

import json

import command_lines
import numpy as np
import pytest
import scored_network

from lmjax.study.text_scores import corpus_score

LINES = ['the cat', 'a dog sat']
LISTED = ['the cat sat', 'zzz qqq jjj', 'a dog']


@pytest.fixture(scope='module')
def network():
    return scored_network.network()


def ask(module, cases):
    return command_lines.ask(module, [['--workdir=x', *case] for case in cases], scored_network.SETUP)


def write(path, rows):
    path.write_text('\n'.join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def test_texts_and_lists_are_scored(network, tmp_path):
    nats = [one.nats for one in network.score(LISTED)]
    best = LISTED[int(np.argmax(nats))]
    hypotheses = [{'text': text, 'score': -float(text == best)} for text in LISTED]
    lists = write(tmp_path / 'n.jsonl', [{'hypotheses': hypotheses, 'reference': best}] * 6)
    texts = f'--input={write(tmp_path / "a.txt", [LINES[0], "", LINES[1]])}'
    field = write(tmp_path / 'a.jsonl', [{'t': line} for line in LINES])
    bad, out = write(tmp_path / 'b.jsonl', [{'t': 'x'}, {'t': 1}]), tmp_path / 'out.jsonl'
    plain, fields, tokens, ended, tuned, given, heavy, *refused = ask(
        'score',
        [
            [texts],
            [f'--input={field}#t'],
            [texts, '--tokens'],
            [texts, '--end'],
            [f'--nbest={lists}@!0/3', f'--tune={lists}@0/3', f'--output={out}'],
            [f'--nbest={lists}', '--weight=0'],
            [f'--nbest={lists}', '--weight=1e6'],
            [f'--input={bad}#t'],
            [],
            ['--input=a', '--weight=1'],
            ['--nbest=a', '--tune=b', '--tokens'],
            ['--nbest=a'],
            ['--nbest=a', '--tune=b', '--word_bonus=1'],
            [f'--nbest={lists}', f'--tune={lists}'],
        ],
    )
    check_texts(network.score(LINES), plain, fields, tokens, ended)
    record, given = json.loads(tuned[-1]), json.loads(given[-1])
    assert tuned[0].startswith('4 utterances of 3.0 hypotheses; weight ')
    assert json.loads(heavy[-1])['wer_after']['mean'] == 0  # the network alone decides
    assert 0 == record['wer_after']['mean'] == record['wer_oracle']['mean'] < record['wer_before']['mean']
    assert record['difference']['mean'] == -record['wer_before']['mean']
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row['told'], row['label']) for row in rows] == [(best, best)] * 4
    assert given['wer_after'] == given['wer_before']
    first = next(text for text in LISTED if text != best)  # of equal scores
    assert given['wer_before']['mean'] == corpus_score('wer', [first], [best])
    words = ['rows without a text', 'give texts by --input, or', '--weight=1.0: belongs to', '--tokens=True: belongs to']
    words += ['give one of the two', '--tune chooses it', 'n.jsonl:1 is in --nbest too']
    for (said,), message in zip(refused, words, strict=True):
        assert said.startswith('error: ')
        assert message in said


def check_texts(expected, plain, fields, tokens, ended):
    for lines in (plain, fields, tokens):
        rows = [json.loads(line) for line in lines]
        assert [row['text'] for row in rows] == LINES
        assert [row['tokens'] for row in rows] == [len(one.ids) for one in expected]
        for name in ('nats', 'bits_per_byte'):
            np.testing.assert_allclose([row[name] for row in rows], [getattr(one, name) for one in expected], rtol=1e-5)
    told = json.loads(tokens[1])['token_nats']
    assert ''.join(text for text, _ in told) == LINES[1]
    np.testing.assert_allclose(sum(nats for _, nats in told), expected[1].nats, rtol=1e-5)
    assert json.loads(ended[0])['tokens'] == len(expected[0].ids) + 1


def test_words_are_told_and_counted(network, tmp_path):
    vocabulary = f'--vocabulary={write(tmp_path / "v.txt", ["cat dog sat and the Cat"])}'
    asked = [f'--analogies={write(tmp_path / "q.txt", [": all", "cat dog sat and", "cat dog sat zebra"])}']
    asked += [f'--similarity={write(tmp_path / "s.txt", ["cat dog 9", "cat sat 3", "dog sat 2", "the and 1"])}']
    asked += [vocabulary, '--neighbours=Cat', '--analogy=cat,dog,sat', '--lower']
    source = f'--vocabulary=text:{write(tmp_path / "t.txt", ["cat cat dog dog sat sat the the and"])}'
    *layers, sourced, own, nothing, two, none = ask(
        'words',
        [
            [*asked, '--layer=table'],
            [*asked, '--layer=last'],
            [source, '--size=4', '--neighbours=cat'],
            ['--neighbours=cat', '--top=1'],
            [],
            ['--analogy=a,b'],
            ['--neighbours=a', '--top=0'],
        ],
    )
    for layer, lines in zip(('table', 'last'), layers, strict=True):
        record, vectors = json.loads(lines[-1]), network.word_vectors(['cat', 'dog'], layer=layer)
        assert (record['vocabulary'], record['similarity']['pairs']) == (5, 4)
        assert dict(record['neighbours']['cat'])['dog'] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
        assert sorted(word for word, _ in record['analogy']) == ['and', 'the']
        assert (record['analogies']['all']['questions'], record['analogies']['left_out']) == (1, 1)
        assert record['analogies']['all']['mean'] == float(record['analogy'][0][0] == 'and')
    assert json.loads(sourced[-1])['vocabulary'] == 4
    assert len(json.loads(own[-1])['neighbours']['cat']) == 1
    for (said,), message in ((nothing, 'nothing is asked'), (two, 'give three words'), (none, '--top=0: use 1 or more')):
        assert message in said
