"""Runs that tell where in a text an answer stands: trained, asked about long texts, and the best answer by brute force."""

import json
import math

import numpy as np
import pytest

import lmjax
from lmjax import Config, DataConfig, LogConfig, ObjectiveConfig, OptimConfig, TrainConfig, TransformerConfig, UsageError
from lmjax.generate.passages import LONGEST, Found, best_of, trimmed

KINDS = {'number': ['two', 'five', 'nine'], 'colour': ['red', 'blue', 'green']}
OTHERS = ['ann', 'saw', 'big', 'cats', 'at', 'home']


def rows(count):
    """Which word of the text is a number, or a colour; nothing where there is none."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        asked, other = rng.permutation(list(KINDS))
        answer = rng.choice(KINDS[asked]) if rng.random() < 0.7 else ''
        few = rng.choice(OTHERS, rng.integers(3, 25))
        words = rng.permutation([*few, rng.choice(KINDS[other]), *([answer] if answer else [])])
        yield {'question': str(asked), 'context': ' '.join(words), 'answer': str(answer)}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder, outcome, lines said) of a run in folder/run."""
    folder, said = tmp_path_factory.mktemp('answers'), []
    (folder / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows(600))))
    config = Config(
        data=DataConfig(
            source=f'answers:{folder}/rows.jsonl', tokenizer='bpe', vocab_size=300, specials=('separator',), seq_len=24,
            layout='documents', cache_dir=str(folder / 'cache'),
        ),
        model=TransformerConfig(causal=False, width=32, depth=2, heads=2, token_types=2),
        objective=ObjectiveConfig(kind='span'),
        optim=OptimConfig(schedule='linear', learning_rate=5e-3, warmup_steps=20),
        train=TrainConfig(steps=0, epochs=30, batch_size=32, eval_every=0, log_every=50),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
    )  # fmt: skip
    return folder, lmjax.train(config, str(folder / 'run'), say=said.append), said


@pytest.mark.slow
def test_a_run_learns_to_find_answers_also_in_long_texts(trained):
    folder, outcome, _ = trained
    assert outcome['accuracy'] > 0.9
    run = lmjax.load(str(folder / 'run'))
    told = run.tell(f'answers:{folder}/rows.jsonl@0/10')
    assert np.mean([row['told'] == row['label'] for row in told]) > 0.9
    context = 'ann saw  blue cats at  home'
    found, none = run.predict([f'colour\t{context}', f'number\t{context}'])
    assert (found['answer'], context[found['begin'] : found['end']]) == ('blue', 'blue')
    assert 0 < found['probability'] <= 1
    assert (none['answer'], none['begin'], none['end']) == ('', -1, -1)
    long = ' '.join([*OTHERS * 8, 'nine', *OTHERS])
    assert run.predict([f'number\t{long}', f'colour\t{long}'])[0]['answer'] == 'nine'
    with pytest.raises(UsageError, match='give QUESTION<TAB>TEXT'):
        run.predict(['who'])


def test_white_space_is_no_part_of_an_answer():
    assert trimmed(Found(1, 6, 0.5), 'a  b c  d') == Found(3, 6, 0.5)
    assert trimmed(Found(-1, -1, 0.5), 'a') == Found(-1, -1, 0.5)


def test_the_best_answer_is_that_of_brute_force():
    rng = np.random.default_rng(4)
    for trial in range(40):
        windows, spans = [], [(3 * piece, 3 * piece + 2) for piece in range(12)]
        for begin in (0, 6):
            pieces = np.repeat(np.arange(begin, begin + 6), rng.integers(1, 3, 6))
            where = np.array([(-1, -1)] * 2 + [spans[piece] for piece in pieces] + [(-1, -1)])
            logits = rng.normal(size=(len(where), 2))
            logits[0] += 2.0 * (trial % 2)
            windows.append((where, logits))
        every = []
        for where, logits in windows:
            inside = [place for place, span in enumerate(where) if span[0] >= 0]
            sums = {(i, j): logits[i, 0] + logits[j, 1] for i in inside for j in inside if i <= j}
            total = sum(map(math.exp, [*sums.values(), logits[0].sum()]))
            every += [(value, math.exp(value) / total, where[i][0], where[j][1]) for (i, j), value in sums.items()]
        value, probability, begin, end = max(every)
        found = best_of(windows)
        if value > min(logits[0].sum() for _, logits in windows):
            assert found[:2] == (begin, end)
            assert found.probability == pytest.approx(probability)
        else:
            assert found[:2] == (-1, -1)


def test_answers_are_not_longer_than_they_may_be():
    size = LONGEST + 2
    logits = np.zeros((size, 2))
    logits[1, 0], logits[-1, 1], logits[LONGEST - 1, 1] = 10.0, 10.0, 5.0
    logits[0] = -20.0
    where = np.array([(-1, -1), *((n, n + 1) for n in range(size - 1))])
    found = best_of([(where, logits)])
    assert found == Found(0, LONGEST - 1, pytest.approx(found.probability))
