"""The linear baseline of a task: TF-IDF of words and pairs of words, logistic regression, its C chosen by validation.

    python -m experiments.linear_baseline --train='labelled:reviews.csv#text,label@2-9/10' --valid='labelled:...@1/10' \\
        --test='labelled:...@0/10' [--predictions=tfidf.jsonl]

Prints one line of JSON with accuracy, macro F1 and MCC on the test texts (Pedregosa et al. 2011: scikit-learn does the work).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import cli

_TRAIN = flags.DEFINE_string('train', '', 'Texts with labels: labelled:FILE#TEXT,LABEL@ROWS.')
_VALID = flags.DEFINE_string('valid', '', 'Those that choose C.')
_TEST = flags.DEFINE_string('test', '', 'Those that are scored.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'A file for what is said of each test text.')
INVERSE_REGULARIZATION = (0.1, 0.3, 1, 3, 10, 30, 100)


def main(_: Sequence[str]) -> int:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, matthews_corrcoef

    train, valid, test = (cli.labelled_texts(flag.name, flag.value) for flag in (_TRAIN, _VALID, _TEST))
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train_x, valid_x, test_x = vectors.fit_transform(train[0]), vectors.transform(valid[0]), vectors.transform(test[0])

    def fitted(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=2000).fit(train_x, train[1])

    found = max(map(fitted, INVERSE_REGULARIZATION), key=lambda one: one.score(valid_x, valid[1]))
    told, labels = found.predict(test_x), np.array(test[1])
    if _PREDICTIONS.value:
        shares = (dict(zip(found.classes_.tolist(), row, strict=True)) for row in found.predict_proba(test_x).tolist())
        rows = [described(*row) for row in zip(*test, told.tolist(), shares, strict=True)]
        cli.write_rows('predictions', _PREDICTIONS.value, rows)
    scores = {
        'accuracy': float((told == labels).mean()),
        'f1': float(f1_score(labels, told, average='macro', zero_division=0)),
        'mcc': float(matthews_corrcoef(labels, told)),
    }
    print(json.dumps({**scores, 'C': found.C, 'texts': len(labels), 'valid_accuracy': float(found.score(valid_x, valid[1]))}))
    return 0


def described(text: str, label: str, told: str, probabilities: dict[str, float]) -> dict[str, Any]:
    """What is said of a text; a label that training never saw has no probability."""
    loss = -math.log(max(probabilities.get(label, 0.0), 1e-300))
    return {'text': text, 'label': label, 'told': told, 'probabilities': probabilities, 'loss_nats': loss}


if __name__ == '__main__':
    cli.run(main)
