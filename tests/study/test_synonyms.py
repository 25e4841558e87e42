"""Texts in other words: which words are near, how many give way, and what stays."""

import random
import re

import numpy as np
import pytest

from lmjax.study.synonyms import near_words, reworded
from lmjax.study.words import Vocabulary

# cosines with good: fine 0.96, GOOD 0.9, nice 0.8, bad -1, and of all others 0
VECTORS = {'good': (1, 0), 'fine': (0.96, 0.28), 'nice': (0.8, 0.6), 'GOOD': (0.9, 0.436), 'bad': (-1, 0), 'far': (0, 1)}
VOCABULARY = Vocabulary(list(VECTORS), np.array(list(VECTORS.values())))


@pytest.mark.parametrize(
    ('word', 'top', 'least', 'found'),
    [
        ('good', 5, 0.5, ['fine', 'nice']),  # not in other letters
        ('good', 2, 0.5, ['fine']),
        ('good', 5, 0.9, ['fine']),
        ('far', 1, 0.9, []),
        ('zzz', 5, 0.0, []),
    ],
)
def test_words_are_near_by_cosine(word, top, least, found):
    assert near_words(VOCABULARY, word, top=top, least=least) == found


def test_a_share_of_words_gives_way_and_all_else_stays():
    text = 'good, good: GOOD-good 3 good_good\n' * 400
    near = {'good': ['fine', 'nice']}
    found = reworded(text, lambda word: near.get(word, []), random.Random(0), share=0.3)
    plain = re.sub('fine|nice', 'good', found).replace('Fine', 'GOOD').replace('Nice', 'GOOD')
    assert plain == text
    count = len(re.findall('fine|nice', found))
    assert count / 2000 == pytest.approx(0.3, abs=0.04)
    assert found.count('fine') / count == pytest.approx(0.5, abs=0.06)
    assert found.count('Fine') + found.count('Nice') == pytest.approx(0.3 * 400, abs=40)  # a capital stays one


def test_a_word_of_which_none_is_near_stays():
    assert reworded('far bad Zebra', lambda word: [], random.Random(0), share=1.0) == 'far bad Zebra'
    assert reworded('Far far', {'Far': ['away'], 'far': ['off']}.get, random.Random(0), share=1.0) == 'Away off'
