"""How well a network finds what belongs to a query among all texts of a file, or among some of them.

    python -m experiments.retrieve --workdir=hf:DIR --data='questions.jsonl#question,answers' [--baseline]
    python -m experiments.retrieve --workdir=runs/captions0,runs/captions1 --data='pictures:rows.jsonl@0/10' --among=100

Each row of the file (.jsonl, .csv, .tsv) has a query and a text, or several, any of which is right; after `@` stand the rows
to take, as @0/10. The network has a vector of each. Of pictures and sounds, which a run of objective.kind=caption reads, texts
are ranked by their log-likelihood behind the file's frames, and again by that less the log of their mean likelihood over all
files (`less the prior`), so that a text does not win for being likely anyway. With `--among` each query has its own texts and
others drawn once by a seed. Several runs that differ in their seed are named with commas.

Printed are recall@1, recall@10 and the mean reciprocal rank with 95% intervals (bootstrap over queries and runs), and what
chance gives where a query has one right text; with `--baseline` those of TF-IDF beside them, and the paired difference. The
last line is JSON with every figure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import lmjax
from experiments import cli
from lmjax.config import require
from lmjax.data.frames import read_files
from lmjax.data.sources import label_kind
from lmjax.generate.captions import caption_scores
from lmjax.ops.ranking import RANK_SCORES, ranks
from lmjax.study.retrieval import chance, less_prior, narrowed, overlap, read_captioned, read_queries
from lmjax.study.statistics import bootstrap_mean, paired_difference

_WORKDIR = flags.DEFINE_string('workdir', '', "A run's folder, hf:DIR or hf:NAME; or several, with commas.")
_DATA = flags.DEFINE_string(
    'data', '', 'FILE#QUERY,TEXTS@ROWS: columns of queries and of what belongs to each; or pictures:, sounds:.'
)
_POOLING = flags.DEFINE_string('pooling', '', "mean, first, last or pooler; by default the run's.")
_AMONG = flags.DEFINE_integer('among', 0, 'Texts that a query is given, its own among them; 0: all.', lower_bound=0)
_BASELINE = flags.DEFINE_bool('baseline', False, 'Also score TF-IDF of words.')


def main(_: Sequence[str]) -> int:
    cli.need((_WORKDIR, 'hf:DIR'), (_DATA, 'questions.jsonl#question,answers'))
    runs = [lmjax.load(name) for name in _WORKDIR.value.split(',')]
    if label_kind(_DATA.value) == 'caption':
        require(not _POOLING.value, '--pooling', _POOLING.value, 'texts are ranked by likelihood here; leave it out')
        require(not _BASELINE.value, '--baseline', True, 'compares words, and a picture or a sound has none; leave it out')
        print(json.dumps(captions_found(runs)))
        return 0
    queries, texts, right = read_queries(_DATA.value)
    found_SxQ = np.stack([ranked(by_vectors(run, queries, texts), right) for run in runs])
    record: dict[str, Any] = {**sizes(texts, right), **said('', found_SxQ)}
    if _BASELINE.value:
        other_1xQ = ranked(overlap(queries, texts), right)[None]
        record['tfidf'] = said('TF-IDF ', other_1xQ)
        record['difference'] = {name: difference(name, found_SxQ, other_1xQ) for name in RANK_SCORES}
    print(json.dumps(record))
    return 0


def captions_found(runs: Sequence[lmjax.Run]) -> dict[str, Any]:
    """The record of files and their captions."""
    paths, texts, right = read_captioned(runs[0].config, _DATA.value)
    record = sizes(texts, right)
    scores = [by_likelihood(run, paths, texts) for run in runs]
    ways = {'': scores, 'less the prior ': [less_prior(one) for one in scores]}
    found = {name: said(name, np.stack([ranked(one, right) for one in each])) for name, each in ways.items()}
    return {**record, **found[''], 'less_prior': found['less the prior ']}


def by_likelihood(run: lmjax.Run, paths: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    data = run.config.data
    return caption_scores(
        run.model, run.params, run.tokenizer, read_files(_DATA.value, paths, data), texts, context=data.seq_len
    )


def by_vectors(run: lmjax.Run, queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    vectors = [np.asarray(run.embed(side, pooling=_POOLING.value)) for side in (queries, texts)]
    return vectors[0] @ vectors[1].T


def ranked(scores_QxC: np.ndarray, right: Sequence[Sequence[int]]) -> np.ndarray:
    """The rank of each query's own text among those that it is given."""
    return ranks(narrowed(scores_QxC, right, _AMONG.value) if _AMONG.value else scores_QxC, right)


def sizes(texts: Sequence[str], right: Sequence[Sequence[int]]) -> dict[str, Any]:
    """How many queries and texts there are, and what chance gives, printed, where each query has one right text."""
    among = _AMONG.value or len(texts)
    found: dict[str, Any] = {'queries': len(right), 'texts': len(texts), 'among': among}
    if all(len(places) == 1 for places in right):
        found['chance'] = {name: chance(score, among) for name, score in RANK_SCORES.items()}
        print('\n'.join(f'chance {name} {value:.4f}' for name, value in found['chance'].items()))
    return found


def said(who: str, ranks_SxQ: np.ndarray) -> dict[str, Any]:
    """Every score with its interval, printed, and that of each run."""
    found = {name: bootstrap_mean(score(ranks_SxQ)) for name, score in RANK_SCORES.items()}
    print('\n'.join(f'{who}{name} {one.said()}' for name, one in found.items()))
    return {name: {**one._asdict(), 'runs': RANK_SCORES[name](ranks_SxQ).mean(axis=1).tolist()} for name, one in found.items()}


def difference(name: str, first_SxQ: np.ndarray, second_SxQ: np.ndarray) -> dict[str, float]:
    found = paired_difference(*(RANK_SCORES[name](side) for side in (first_SxQ, second_SxQ)))
    print(f'difference of {name} {found.said("+.4f")}')
    return found._asdict()


if __name__ == '__main__':
    cli.run(main)
