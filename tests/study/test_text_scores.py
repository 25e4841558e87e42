"""Scores of generated text are those of the libraries that define them, over any resample."""

import sys

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.study.statistics import bootstrap_mean, paired_difference
from lmjax.study.text_scores import TEXT_SCORES, corpus_score, sacre_row

# The case of sacrebleu's own tests.
TEXTS = ['The dog bit the man.', "It wasn't surprising.", 'The man had just bitten him.']
REFERENCES = [
    ['The dog bit the man.', 'The dog had bit the man.'],
    ['It was not unexpected.', 'No one was surprised.'],
    ['The man bit him first.', 'The man had bitten the dog.'],
]
ONE = [references[0] for references in REFERENCES]


def score(row, texts, references):
    return row.finish(row.statistics(texts, references).sum(axis=0))


def test_bleu_is_sacrebleu_s():
    assert corpus_score('bleu', TEXTS, REFERENCES) == pytest.approx(48.530827, abs=1e-6)
    assert score(sacre_row('BLEU', tokenize='none'), TEXTS, REFERENCES) == pytest.approx(49.1919566, abs=1e-6)
    assert score(sacre_row('BLEU', tokenize='intl'), TEXTS, REFERENCES) == pytest.approx(43.91623493, abs=1e-6)
    assert TEXT_SCORES['bleu'].signature(REFERENCES).startswith('nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2')


@pytest.mark.parametrize('references', [ONE, REFERENCES, [ONE[0], *REFERENCES[1:]]])
def test_a_corpus_scores_as_the_library_scores_it(references):
    import sacrebleu

    columns = [
        [one if isinstance(one, str) else one[i] if i < len(one) else None for one in references]
        for i in range(1 if references is ONE else 2)
    ]
    if references is not ONE and isinstance(references[0], str):
        columns[1][0] = None
    assert corpus_score('bleu', TEXTS, references) == pytest.approx(sacrebleu.corpus_bleu(TEXTS, columns).score, rel=1e-12)
    assert corpus_score('chrf', TEXTS, references) == pytest.approx(sacrebleu.corpus_chrf(TEXTS, columns).score, rel=1e-12)


def test_rouge_is_rouge_score_s():
    """The cases of its own tests; of several references the best counts, and of several texts the mean."""
    assert corpus_score('rouge1', ['testing'], ['testing one two']) == pytest.approx(1 / 2)
    assert corpus_score('rouge2', ['testing one'], ['testing one two']) == pytest.approx(2 / 3)
    assert corpus_score('rougeL', ['testing two'], ['testing one two']) == pytest.approx(4 / 5)
    assert corpus_score('rougeL', ['testing two', 'no'], ['testing one two', ['yes', 'no']]) == pytest.approx(9 / 10)
    assert 'rouge-score:0.1' in TEXT_SCORES['rouge1'].signature([''])


def test_exact_is_any_reference():
    assert corpus_score('exact', ['a ', 'b', 'c'], ['a', ['c', 'b'], 'd']) == pytest.approx(2 / 3)


def sides(count=40):
    """Texts beside their references: right ones, and those of which every second lacks a word."""
    references = [f'a sentence of number {i} that says nothing new of {i % 7}' for i in range(count)]
    return references, [text.replace(' new', '') if i % 2 else text for i, text in enumerate(references)]


def test_the_interval_of_bleu_is_that_of_corpora_drawn_again():
    references, texts = sides()
    row = TEXT_SCORES['bleu']
    statistics_SxNxC = row.statistics(texts, references)[None]
    found = bootstrap_mean(statistics_SxNxC, finish=row.finish)
    assert found.mean == pytest.approx(corpus_score('bleu', texts, references))
    assert found.low < found.mean < found.high
    rng = np.random.default_rng(1)
    drawn = [
        corpus_score('bleu', [texts[i] for i in at], [references[i] for i in at])
        for at in rng.integers(0, len(texts), (400, len(texts)))
    ]
    np.testing.assert_allclose([found.low, found.high], np.percentile(drawn, [2.5, 97.5]), atol=1.0)


def test_two_sides_of_several_runs_are_paired():
    references, texts = sides()
    row = TEXT_SCORES['bleu']
    right = np.stack([row.statistics(references, references)] * 2)
    wrong = row.statistics(texts, references)[None]
    found = paired_difference(right, wrong, finish=row.finish)
    assert found.mean == pytest.approx(100 - corpus_score('bleu', texts, references))
    assert 0 < found.low < found.mean < found.high
    same = paired_difference(wrong, wrong, finish=row.finish)
    np.testing.assert_allclose(same, 0, atol=1e-12)


def test_a_mean_is_resampled_alike_by_its_sums():
    scores = np.random.default_rng(0).random((3, 50))
    sums = np.stack([scores, np.ones_like(scores)], axis=-1)
    np.testing.assert_allclose(bootstrap_mean(sums, finish=lambda sums: sums[0] / sums[1]), bootstrap_mean(scores), rtol=1e-9)


@pytest.mark.parametrize(('name', 'module'), [('bleu', 'sacrebleu.metrics'), ('rouge1', 'rouge_score.rouge_scorer')])
def test_a_library_that_is_missing_is_named(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"is missing, which computes it; pip install -e '\.\[metrics\]'"):
        corpus_score(name, ['a'], ['a'])


def test_answers_are_compared_as_squad_does():
    """The fixtures of the official script's normalisation."""
    assert corpus_score('em', ['The cat.', 'dog'], ['cat', 'cat']) == 0.5
    assert corpus_score('f1', ['a1 b c'], ['b c d']) == pytest.approx(2 / 3)
    assert corpus_score('f1', ['x y z'], [['y z w', 'y z']]) == pytest.approx(0.8)
    assert corpus_score('f1', ['', 'the', 'cat', ''], ['', '', '', 'cat']) == 0.5
    assert corpus_score('em', ['', 'An apple'], ['', 'apple']) == 1.0


def test_errors_of_words_and_characters_are_counted_together():
    """Six words of references, one exchanged, one left out and one put in; of several references the nearest."""
    texts, references = ['a b x', 'd', 'f g'], ['a b c', 'd e', 'f']
    assert corpus_score('wer', texts, references) == pytest.approx(3 / 6)
    assert corpus_score('wer', ['a b'], [['c', 'a b d']]) == pytest.approx(1 / 3)
    assert corpus_score('cer', ['abd '], ['abc']) == pytest.approx(1 / 3)
    assert (corpus_score('wer', [''], ['']), corpus_score('wer', ['a'], [''])) == (0, 1)
    assert TEXT_SCORES['wer'].signature(references).startswith('words|case:mixed|rapidfuzz:')
