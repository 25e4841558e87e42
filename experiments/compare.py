"""Whether one way of telling something of texts is better than another: predictions of both on the same texts, paired.

    python -m experiments.evaluate --workdir=runs/s0 --data=SOURCE --predictions=a0.jsonl      (and for other seeds)
    python -m experiments.compare --first='a*.jsonl' --second=tfidf.jsonl [--score=accuracy]

Each file is one run's. Prints the mean of each side over its runs and the difference, with 95% intervals for which texts and
runs are drawn again (bootstrap); of a side with a single run the texts alone are. The last line is JSON with every figure.
Where texts are told, `--score=bleu` and the like score each resample as a corpus, and print what it takes to do so again.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import cli
from lmjax.config import UsageError, choose
from lmjax.study.statistics import bootstrap_mean, mean_interval, paired_difference, run_scores
from lmjax.study.text_scores import TEXT_SCORES
from lmjax.study.told_scores import TOLD_SCORES, finish_of, statistics_of

_FIRST = flags.DEFINE_string('first', '', "Files of predictions, one a run, as 'a*.jsonl'.")
_SECOND = flags.DEFINE_string('second', '', 'Those to compare with; leave it out to see the first alone.')
_SCORE = flags.DEFINE_string(
    'score',
    'accuracy',
    'A row of TOLD_SCORES: accuracy (of whole answers), words (the share of tags that are right), loss_nats, macro_f1, mcc, '
    'micro_f1 (of several classes), span_f1, squared_error, pearson; or of TEXT_SCORES, '
    'where texts are told: bleu, chrf, rouge1, rouge2, rougeL, exact, em, f1, wer, cer.',
)


def main(_: Sequence[str]) -> int:
    choose({**TOLD_SCORES, **TEXT_SCORES}, _SCORE.value, 'score')
    if not _FIRST.value:
        raise UsageError("--first: missing; name files of predictions, as in --first='a*.jsonl'")
    first = read_runs('first', _FIRST.value, _SCORE.value)
    record = {'score': _SCORE.value, **signature(_FIRST.value), 'first': side('first', first)}
    if _SECOND.value:
        second = read_runs('second', _SECOND.value, _SCORE.value, texts=len(first[0]))
        record['second'] = side('second', second)
        found = paired_difference(first, second, finish=finish_of(_SCORE.value))
        record['difference'] = found._asdict()
        said = 'no difference is shown' if found.low <= 0 <= found.high else 'the interval excludes 0'
        print(f'difference {found.said("+.4f")}: {said}')
    print(json.dumps(record))
    return 0


def signature(pattern: str) -> dict[str, str]:
    """How texts are scored, printed."""
    if _SCORE.value not in TEXT_SCORES:
        return {}
    found = TEXT_SCORES[_SCORE.value].signature([row['label'] for row in read_rows(sorted(glob.glob(pattern))[0])])
    print(f'signature: {found}')
    return {'signature': found}


def read_rows(path: str) -> list[dict[str, Any]]:
    with open(path, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def read_runs(flag: str, pattern: str, score: str, *, texts: int = 0) -> np.ndarray:
    """Scores of each run (file) and text, runs x texts, or statistics, runs x texts x C.

    Raises UsageError unless all files have the same texts.
    """
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise UsageError(f'--{flag}={pattern!r}: no file matches; write them with experiments.evaluate --predictions=FILE')
    runs = []
    for path in paths:
        try:
            runs.append(statistics_of(score, read_rows(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f'--{flag}: {path}: these predictions have no such score ({error!r}); choose another --score'
            ) from None
        wanted = texts or len(runs[0])
        if not wanted or len(runs[-1]) != wanted:
            raise UsageError(f'--{flag}: {path}: has {len(runs[-1])} texts, others {wanted}; predict the same source')
    return np.array(runs)


def side(name: str, scores_SxN: np.ndarray) -> dict[str, Any]:
    """What the runs of one side have, printed."""
    each, found, runs = (
        run_scores(scores_SxN, finish_of(_SCORE.value)),
        bootstrap_mean(scores_SxN, finish=finish_of(_SCORE.value)),
        len(scores_SxN),
    )
    over = mean_interval(each)
    spread = (
        f'; over runs {each.min():.4f} to {each.max():.4f}, their mean {over.low:.4f} to {over.high:.4f}' if runs > 1 else ''
    )
    print(f'{name}: {_SCORE.value} {found.said()} of {runs} runs{spread}')
    return {
        'runs': each.tolist(),
        'texts': scores_SxN.shape[1],
        **found._asdict(),
        'over_runs': [over.low, over.high] if runs > 1 else None,
    }


if __name__ == '__main__':
    cli.run(main)
