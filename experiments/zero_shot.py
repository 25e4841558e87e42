"""Classes that no text was labelled with: which of them a text entails, said by a classifier of two texts.

    python -m experiments.zero_shot --data='labelled:talks.jsonl#turns,topic@2-9/10' --without=food,sports --pairs=pairs.jsonl
    python -m experiments.zero_shot --data='labelled:talks.jsonl#turns,topic@0/10' --only=food,sports --workdir=runs/entails \\
        [--predictions=FILE]

The first makes what the classifier learns from (`labelled:pairs.jsonl#premise,hypothesis,label`): each text with the hypothesis
of its own class, `entailment`, and with that of another one, drawn by a seed, `other`; any set of entailment does as well. The
second asks it for the hypothesis of every class of the texts, and of `--classes`, and takes the likeliest (Yin et al. 2019,
section 5). A hypothesis is `--hypothesis` with the class in its place, `_` as a space. Printed are the accuracy with its 95%
interval (bootstrap over texts) and what chance gives; the last line is JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import flags

import lmjax
from experiments import cli
from lmjax.config import require
from lmjax.generate.entailment import entailment, hypotheses, shares
from lmjax.study.statistics import bootstrap_mean

_WORKDIR = flags.DEFINE_string('workdir', '', 'A run that reads two texts and tells whether the first entails the second.')
_DATA = flags.DEFINE_string('data', '', 'Texts with labels: labelled:FILE#TEXT,LABEL@ROWS.')
_ONLY = flags.DEFINE_list('only', [], 'Classes whose texts are taken; empty: all.')
_WITHOUT = flags.DEFINE_list('without', [], 'Classes whose texts are left out.')
_CLASSES = flags.DEFINE_list('classes', [], 'With --workdir: further classes to choose from.')
_HYPOTHESIS = flags.DEFINE_string('hypothesis', 'This is about {}.', 'What is to be entailed, with {} for the class.')
_ENTAILS = flags.DEFINE_string('entails', 'entailment', 'With --workdir: its class of what is entailed.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'With --workdir: a file for what is said of each text.')
_PAIRS = flags.DEFINE_string('pairs', '', 'A file for pairs to learn from, instead of asking.')


def main(_: Sequence[str]) -> int:
    cli.need((_DATA, 'labelled:talks.jsonl#turns,topic@0/10'))
    require(bool(_PAIRS.value) != bool(_WORKDIR.value), '--pairs', _PAIRS.value, 'ask by --workdir, or make --pairs')
    texts, labels = chosen(*cli.labelled_texts('data', _DATA.value))
    if _PAIRS.value:
        rows = pairs(texts, labels, _HYPOTHESIS.value)
        cli.write_rows('pairs', _PAIRS.value, rows)
        print(json.dumps({'pairs': len(rows), 'classes': sorted(set(labels))}))
        return 0
    classes = sorted({*labels, *_CLASSES.value})
    run = lmjax.load(_WORKDIR.value)
    asked = hypotheses(_HYPOTHESIS.value, classes)
    found_NxC = entailment(run.predict, texts, asked, entails=_ENTAILS.value)
    rows = list(described(texts, labels, classes, found_NxC))
    if _PREDICTIONS.value:
        cli.write_rows('predictions', _PREDICTIONS.value, rows)
    accuracy = bootstrap_mean(np.array([[row['told'] == row['label'] for row in rows]], np.float64))
    print(f'accuracy {accuracy.said()} of {len(texts)} texts; chance {1 / len(classes):.4f}')
    print(json.dumps({**accuracy._asdict(), 'texts': len(texts), 'classes': classes}))
    return 0


def chosen(texts: Sequence[str], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the classes that the flags name. Raises UsageError for a class that no text has, or where none is left."""
    for flag in (_ONLY, _WITHOUT):
        strange, known = sorted(set(flag.value) - set(labels)), ', '.join(sorted(set(labels)))
        require(not strange, f'--{flag.name}', ','.join(strange), f'no text has it; name some of: {known}')
    kept = set(_ONLY.value or labels) - set(_WITHOUT.value)
    rows = [(text, label) for text, label in zip(texts, labels, strict=True) if label in kept]
    require(len({label for _, label in rows}) > 1, '--data', _DATA.value, 'has fewer than two classes left; choose other rows')
    return [text for text, _ in rows], [label for _, label in rows]


def pairs(texts: Sequence[str], labels: Sequence[str], hypothesis: str, *, seed: int = 0) -> list[dict[str, str]]:
    """Each text with the hypothesis of its class, and with that of another, all as likely; in random order."""
    draw, classes = random.Random(seed), sorted(set(labels))
    said = dict(zip(classes, hypotheses(hypothesis, classes), strict=True))
    rows = []
    for text, label in zip(texts, labels, strict=True):
        other = draw.choice([one for one in classes if one != label])
        rows.append({'premise': text, 'hypothesis': said[label], 'label': 'entailment'})
        rows.append({'premise': text, 'hypothesis': said[other], 'label': 'other'})
    draw.shuffle(rows)
    return rows


def described(
    texts: Sequence[str], labels: Sequence[str], classes: Sequence[str], found_NxC: np.ndarray
) -> Iterable[dict[str, Any]]:
    """What is said of each text: the class whose hypothesis is the likeliest, and the share of each."""
    for text, label, shares_C in zip(texts, labels, shares(found_NxC), strict=True):
        probabilities = dict(zip(classes, shares_C.tolist(), strict=True))
        told = classes[int(shares_C.argmax())]
        loss = -float(np.log(max(probabilities[label], 1e-300)))
        yield {'text': text, 'label': label, 'told': told, 'probabilities': probabilities, 'loss_nats': loss}


if __name__ == '__main__':
    cli.run(main)
