"""How well a network's vectors of texts find what belongs to a query, among all texts of a file.

    python -m experiments.retrieve --workdir=hf:DIR --data='questions.jsonl#question,answers' [--baseline]

Each row of the file (.jsonl, .csv, .tsv) has a query and a text, or several, any of which is right; after `@` stand the rows to
take, as @0/10. Printed are recall@1, recall@10 and the mean reciprocal rank with 95% intervals (bootstrap over queries); with
`--baseline` those of TF-IDF beside them, and the paired difference. The last line is JSON with every figure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import lmjax
from experiments import cli
from lmjax.ops.ranking import RANK_SCORES, ranks
from lmjax.study.retrieval import overlap, read_queries
from lmjax.study.statistics import bootstrap_mean, paired_difference

_WORKDIR = flags.DEFINE_string('workdir', '', "A run's folder, hf:DIR or hf:NAME.")
_DATA = flags.DEFINE_string('data', '', 'FILE#QUERY,TEXTS@ROWS: columns of queries and of what belongs to each.')
_POOLING = flags.DEFINE_string('pooling', '', "mean, first, last or pooler; by default the run's.")
_BASELINE = flags.DEFINE_bool('baseline', False, 'Also score TF-IDF of words.')


def main(_: Sequence[str]) -> int:
    cli.need((_WORKDIR, 'hf:DIR'), (_DATA, 'questions.jsonl#question,answers'))
    queries, texts, right = read_queries(_DATA.value)
    run = lmjax.load(_WORKDIR.value)
    vectors = [np.asarray(run.embed(side, pooling=_POOLING.value)) for side in (queries, texts)]
    found = ranks(vectors[0] @ vectors[1].T, right)
    record: dict[str, Any] = {'queries': len(queries), 'texts': len(texts), **said('', found)}
    if _BASELINE.value:
        other = ranks(overlap(queries, texts), right)
        record['tfidf'] = said('TF-IDF ', other)
        record['difference'] = {name: difference(name, found, other) for name in RANK_SCORES}
    print(json.dumps(record))
    return 0


def said(who: str, ranks_Q: np.ndarray) -> dict[str, Any]:
    """Every score with its interval, printed."""
    found = {name: bootstrap_mean(score(ranks_Q)[None]) for name, score in RANK_SCORES.items()}
    print('\n'.join(f'{who}{name} {one.said()}' for name, one in found.items()))
    return {name: one._asdict() for name, one in found.items()}


def difference(name: str, first_Q: np.ndarray, second_Q: np.ndarray) -> dict[str, float]:
    found = paired_difference(*(RANK_SCORES[name](side)[None] for side in (first_Q, second_Q)))
    print(f'difference of {name} {found.said("+.4f")}')
    return found._asdict()


if __name__ == '__main__':
    cli.run(main)
