"""Telling the tag of each word of a text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import UsageError
from lmjax.objectives.rows import Rows, smoothed, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Tree

SCORES = ('loss_nats', 'accuracy', 'span_f1')
SPAN_TAG = re.compile('O|[BIES]-.+')


def loss(
    model: Model, params: Tree, batch: Batch, hparams: HParams, key: Any, cache: Tree = None
) -> tuple[Array, tuple[Array, dict[str, Any], Tree]]:
    """Sums over words: cross-entropy of the word's tag in nats, smoothed if asked for, at the token that stands for the word.

    The weight is the number of words. Sums: `loss`, `nll` (without smoothing), auxiliary ones and, in evaluation (`key` is
    None), `correct` and `kept`: each row's `label` and what was `told`, B x T int32, label -1 where no word is told.
    """
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    logits_BxTxC, labels_BxT = jnp.asarray(output.token_logits), jnp.asarray(batch.targets)
    weights_BxT = jnp.asarray(batch.weights)
    nll_BxT, each_BxT = smoothed(jax.nn.log_softmax(logits_BxTxC), labels_BxT, hparams.get('label_smoothing'))
    total, sums = with_auxiliary(output, (each_BxT * weights_BxT).sum(), {'nll': (nll_BxT * weights_BxT).sum()})
    if key is None:
        told_BxT = jnp.argmax(logits_BxTxC, axis=-1).astype(jnp.int32)
        sums['correct'] = ((told_BxT == labels_BxT) * weights_BxT).sum()
        own_BxT = jnp.where(weights_BxT > 0, labels_BxT, -1)
        sums['kept'] = {'label': own_BxT, 'told': told_BxT, 'real': weights_BxT.max(axis=1)}
    return total, (weights_BxT.sum(), sums, None)


def report(totals: Mapping[str, Any], rows: Rows, *, classes: Sequence[str]) -> dict[str, Any]:
    """What an evaluation says: `loss_nats` a word, `accuracy` of words, the number of `words` and of `texts`.

    Where tags spell spans (BIO, BIOES): `span_f1`, `span_precision` and `span_recall` of whole spans as CoNLL's script counts
    them (Tjong Kim Sang and De Meulder 2003; Nakayama 2018, seqeval).
    """
    words, texts = totals['weight'], len(rows.get('label', ()))
    found = {
        'loss_nats': totals['nll'] / words if words else math.nan,
        'accuracy': totals['correct'] / words if words else math.nan,
    }
    if spell_spans(classes):
        label, told = zip(*map(own_tags, rows['label'], rows['told']), strict=True) if texts else ((), ())
        found |= span_scores(*([[classes[tag] for tag in row] for row in side] for side in (label, told)))
    return {**found, 'words': int(words), 'texts': texts}


def own_tags(label_T: np.ndarray, told_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both at the words alone."""
    return label_T[label_T >= 0], told_T[label_T >= 0]


def spell_spans(classes: Sequence[str]) -> bool:
    """Whether tags say where spans begin, go on and end, rather than something of each word."""
    return all(map(SPAN_TAG.fullmatch, classes))


def check(classes: Sequence[str]) -> None:
    """Raises UsageError where spans cannot be scored."""
    if spell_spans(classes):
        sequence_labeling()


def sequence_labeling() -> Any:
    """The module of seqeval."""
    try:
        from seqeval.metrics import sequence_labeling
    except ImportError:
        remedy = "pip install -e '.[metrics]'"
        raise UsageError(f'data.source: its tags spell spans, which seqeval scores, and it is missing; {remedy}') from None
    return sequence_labeling


def span_scores(label: Sequence[Sequence[str]], told: Sequence[Sequence[str]]) -> dict[str, float]:
    """Of the spans that tags spell; 0 where there are none."""
    precision, recall, f1, _ = sequence_labeling().precision_recall_fscore_support(
        label, told, average='micro', zero_division=0
    )
    return {'span_f1': float(f1), 'span_precision': float(precision), 'span_recall': float(recall)}
