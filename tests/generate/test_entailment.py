"""Classes chosen by what a text entails: each is asked for, and what cannot be asked is refused."""

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.generate.entailment import entailment, hypotheses, shares

COLOURS = ('red', 'dark_blue')


def predict(pairs):
    """As sure as the hypothesis ends in words that the text has."""
    parts = [pair.split('\t') for pair in pairs]
    likely = [0.9 if hypothesis.removeprefix('It is ') in text else 0.3 for text, hypothesis in parts]
    return [{'probabilities': {'yes': p, 'no': 1 - p}} for p in likely]


def test_every_text_is_asked_about_every_class():
    asked = hypotheses('It is {}', COLOURS)
    assert asked == ['It is red', 'It is dark blue']
    found = entailment(predict, ['a dark blue\tsea', 'red', 'nothing'], asked, entails='yes')
    np.testing.assert_array_equal(found, [[0.3, 0.9], [0.9, 0.3], [0.3, 0.3]])
    np.testing.assert_allclose(shares(found), [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]])
    assert shares(np.zeros((1, 2))).tolist() == [[0, 0]]


def test_what_is_refused():
    with pytest.raises(UsageError, match="hypothesis='red': has no place for the class"):
        hypotheses('red', COLOURS)
    with pytest.raises(UsageError, match="entails='true': the network has no such class; choose one of: yes, no"):
        entailment(predict, ['a'], ['It is red'], entails='true')
    with pytest.raises(UsageError, match='has no such class; choose one of: none'):
        entailment(lambda pairs: [{'score': 1.0}], ['a'], ['b'])
    with pytest.raises(UsageError, match="text=' ': is empty and entails nothing"):
        entailment(predict, ['a', ' '], ['b'], entails='yes')
