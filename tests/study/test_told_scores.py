"""Scores of what is told: the sums of statistics are what the libraries that define them compute; and who has which."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from seqeval.metrics import f1_score as span_f1
from sklearn.metrics import f1_score, matthews_corrcoef

from lmjax.study.statistics import bootstrap_mean
from lmjax.study.told_scores import REPORTED, TOLD_SCORES, finish_of, intervals, statistics_of

DRAW = np.random.default_rng(0)


def rows(labels, told):
    return [{'label': label, 'told': one} for label, one in zip(labels, told, strict=True)]


def scored(name, predictions):
    found = statistics_of(name, predictions)
    return finish_of(name)(found.sum(axis=0)) if finish_of(name) else found.mean()


CLASSES = rows(*(DRAW.choice(list('abcd'), 200, p=p).tolist() for p in ((0.4, 0.3, 0.2, 0.1), (0.1, 0.5, 0.4, 0.0))))
SETS = rows(*([sorted(set(DRAW.choice(list('abc'), DRAW.integers(0, 4)).tolist())) for _ in range(50)] for _ in range(2)))
TAGS = rows(*([DRAW.choice(['O', 'B-X', 'I-X', 'B-Y'], 6).tolist() for _ in range(40)] for _ in range(2)))
NUMBERS = rows(DRAW.normal(size=60).tolist(), DRAW.normal(size=60).tolist())


def test_classes_are_scored_as_by_scikit_learn():
    label, told = ([row[name] for row in CLASSES] for name in ('label', 'told'))
    assert scored('accuracy', CLASSES) == np.mean([a == b for a, b in zip(label, told, strict=True)])
    assert scored('macro_f1', CLASSES) == pytest.approx(f1_score(label, told, average='macro'))
    assert scored('mcc', CLASSES) == pytest.approx(matthews_corrcoef(label, told))
    assert scored('mcc', rows('aabb', 'aaaa')) == 0


def test_sets_of_classes_and_spans_are_scored_as_by_their_libraries():
    every = np.array([[[name in row[side] for name in 'abc'] for row in SETS] for side in ('label', 'told')])
    assert scored('micro_f1', SETS) == pytest.approx(f1_score(*every, average='micro'))
    label, told = ([row[name] for row in TAGS] for name in ('label', 'told'))
    assert scored('span_f1', TAGS) == pytest.approx(span_f1(label, told))
    assert scored('words', TAGS) == pytest.approx(np.mean(np.array(label) == np.array(told)))
    assert scored('micro_f1', rows([[]], [[]])) == 0


def test_numbers_are_scored_as_by_scipy():
    x, y = (np.array([row[name] for row in NUMBERS]) for name in ('label', 'told'))
    assert scored('pearson', NUMBERS) == pytest.approx(pearsonr(x, y).statistic)
    assert scored('squared_error', NUMBERS) == pytest.approx(np.mean((x - y) ** 2))
    assert scored('pearson', rows([1, 2], [3, 3])) == 0


@pytest.mark.parametrize(
    ('kind', 'predictions', 'has'),
    [
        ('class', CLASSES, {'accuracy', 'macro_f1', 'mcc'}),
        ('classes', SETS, {'accuracy', 'micro_f1'}),
        ('tags', TAGS, {'words', 'span_f1'}),
        ('tags', rows([['N', 'V']], [['N', 'N']]), {'words'}),
        ('number', NUMBERS, {'squared_error', 'pearson'}),
        ('span', rows(['a b', 'c'], ['a', 'c']), {'em', 'f1'}),
        ('middle', rows(['a b', 'c'], ['a', 'c']), {'exact'}),
    ],
)
def test_intervals_are_of_what_predictions_have(kind, predictions, has):
    found = intervals(predictions, REPORTED[kind])
    assert set(found) == has
    for score, one in found.items():
        assert one.low <= one.mean <= one.high
        assert one == bootstrap_mean(statistics_of(score, predictions)[None], finish=finish_of(score))
    assert set(REPORTED[kind]) <= set(TOLD_SCORES) | {'em', 'f1', 'exact'}


def test_who_has_none_is_left_out():
    for name in ('macro_f1', 'mcc', 'words', 'span_f1', 'micro_f1', 'pearson', 'squared_error'):
        with pytest.raises((TypeError, KeyError)):
            statistics_of(name, [{'label': 'a', 'told': 'a'}] * 2)
    with pytest.raises(TypeError, match='no text is told'):
        statistics_of('bleu', NUMBERS)
