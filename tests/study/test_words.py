"""Words by their vectors, on vectors whose answers are plain to see."""

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.study.words import Vocabulary, agreement, frequent_words, read_pairs, read_questions, right_answers

WORDS = ['man', 'woman', 'king', 'queen', 'apple']
AXES = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [0, -1, 0.2]], np.float32)
VOCABULARY = Vocabulary(WORDS, AXES / np.linalg.norm(AXES, axis=1, keepdims=True))


def test_neighbours_are_those_of_the_largest_cosine():
    found = VOCABULARY.neighbours('queen', top=9)
    assert [word for word, _ in found] == ['woman', 'king', 'man', 'apple']
    assert found[0][1] == pytest.approx(2 / np.sqrt(6))
    assert len(VOCABULARY.neighbours('man', top=2)) == 2
    with pytest.raises(UsageError, match="word='pear': is not in the vocabulary of 5 words"):
        VOCABULARY.neighbours('pear', top=1)


def test_an_analogy_leaves_out_what_is_asked():
    assert VOCABULARY.analogy('man', 'king', 'woman', top=1)[0][0] == 'queen'
    assert VOCABULARY.analogy('king', 'king', 'woman', top=1)[0][0] == 'queen'  # else 'woman' itself


def test_right_answers_are_those_that_analogies_tell():
    lines = ': a\nman king woman queen\nman woman king queen\n# none\n: b\nman king woman apple\nking king woman queen\n'
    asked = read_questions('f', lines)
    assert [question.section for question in asked] == ['a', 'a', 'b', 'b']
    np.testing.assert_array_equal(right_answers(VOCABULARY, asked), [1, 1, 0, 1])
    np.testing.assert_array_equal(right_answers(VOCABULARY, asked * 200), [1, 1, 0, 1] * 200)


def test_agreement_is_spearman_s():
    from scipy.stats import spearmanr

    draw = np.random.default_rng(0)
    scores = draw.integers(0, 5, 40).astype(float)
    told = scores + draw.normal(size=40)
    found = agreement(told, scores)
    assert found.mean == pytest.approx(spearmanr(told, scores).statistic)
    assert found.low < found.mean < found.high
    assert agreement(scores, scores).low == pytest.approx(1)


def test_words_of_texts_by_how_common_they_are():
    assert frequent_words(['b a_b, c1', None, 'b c'], 2) == ['b', 'c']


@pytest.mark.parametrize(
    ('read', 'text', 'message'),
    [
        (read_questions, 'a b c', 'line 1 has 3 words'),
        (read_questions, ': a', 'has no analogies'),
        (read_pairs, '# a\na b', 'line 2 is not WORD WORD NUMBER'),
        (read_pairs, 'a b c', 'line 1 is not'),
        (read_pairs, 'a b 1', 'has 1 pairs'),
    ],
)
def test_files_that_are_refused(read, text, message):
    with pytest.raises(UsageError, match=message):
        read('f', text)
