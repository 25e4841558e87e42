"""The arms of a study as a table: for a page of Markdown, a paper in LaTeX, and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax.study.analysis import Answer, ArmResult
from lmjax.study.spec import name_of
from lmjax.study.trials import compared_trials
from lmjax.training.progress import count

Row = Mapping[str, Any]


class Cost(NamedTuple):
    """What an arm takes; None where no run of it has said so yet."""

    parameters: float | None
    flops: float | None  # of a whole run
    speed: float | None  # tokens a second, the median of its runs


def cost_of(folder: str, answer: Answer, arm: ArmResult) -> Cost:
    """What the runs of an arm that are over say of it."""
    found = []
    for trial in compared_trials(answer.study, {arm.arm: arm.choice} if arm.choice is not None else {}):
        path = os.path.join(folder, trial.folder, 'run.json')
        if os.path.isfile(path):
            with open(path, encoding='utf-8') as file:
                found.append(json.load(file))
    return Cost(
        *(_middle([facts.get(name) for facts in found]) for name in ('parameter_count', 'flops_total', 'tokens_per_second'))
    )


def rows_of(folder: str, answer: Answer) -> list[Row]:
    """One row an arm, numbers as numbers; what is not known is None."""
    rows: list[Row] = []
    for arm in answer.arms:
        cost, found = cost_of(folder, answer, arm), arm.difference
        rows.append(
            {
                'arm': arm.name,
                'chosen': name_of(arm.choice) if arm.choice else None,
                'runs': len(arm.scores),
                'diverged': arm.diverged,
                **_interval('', arm.mean),
                **_interval('difference', found.interval if found else None),
                'p': _known(found.p) if found else None,
                'parameters': cost.parameters,
                'flops': cost.flops,
                'tokens_per_second': cost.speed,
            }
        )
    return rows


def to_csv(rows: Sequence[Row]) -> str:
    """Every number in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_markdown(rows: Sequence[Row], metric: str) -> str:
    """What a page shows."""
    head, cells = written(rows, metric)
    lines = [head, ['---'] * len(head), *cells]
    return ''.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |\n' for line in lines)


def to_latex(rows: Sequence[Row], metric: str) -> str:
    """A tabular for booktabs."""
    head, cells = written(rows, metric)
    lines = [' & '.join(map(_latex, line)) + r' \\' for line in cells]
    top = [rf'\begin{{tabular}}{{l{"r" * (len(head) - 1)}}}', r'\toprule', ' & '.join(map(_latex, head)) + r' \\', r'\midrule']
    return '\n'.join([*top, *lines, r'\bottomrule', r'\end{tabular}', ''])


def written(rows: Sequence[Row], metric: str) -> tuple[list[str], list[list[str]]]:
    """The head and the cells as people read them; columns that no arm has anything in are left out."""
    columns: dict[str, Callable[[Row], str]] = {
        'arm': lambda row: row['arm'],
        'chosen': lambda row: row['chosen'] or '',
        'runs': lambda row: f'{row["runs"]}' + (f' ({row["diverged"]} diverged)' if row['diverged'] else ''),
        metric: lambda row: _said(row, '', '.4f'),
        'difference': lambda row: _said(row, 'difference', '+.4f'),
        'p': lambda row: '' if row['p'] is None else f'{row["p"]:.3g}',
        'parameters': lambda row: _count(row['parameters']),
        'FLOPs': lambda row: _count(row['flops']),
        'tokens/s': lambda row: _count(row['tokens_per_second']),
    }
    found = {name: [tell(row) for row in rows] for name, tell in columns.items()}
    kept = {name: cells for name, cells in found.items() if any(cells)}
    return list(kept), [list(line) for line in zip(*kept.values(), strict=True)]


def _interval(name: str, found: Sequence[float] | None) -> dict[str, float | None]:
    keys = [f'{name}_{part}'.strip('_') for part in ('mean', 'low', 'high')]
    return dict(zip(keys, map(_known, found) if found else (None,) * 3, strict=True))


def _said(row: Row, name: str, form: str) -> str:
    mean, low, high = (row[f'{name}_{part}'.strip('_')] for part in ('mean', 'low', 'high'))
    if mean is None:
        return ''
    return f'{mean:{form}}' + ('' if low is None else f' ({low:{form}} to {high:{form}})')


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _count(value: float | None) -> str:
    return '' if value is None else count(value)


def _latex(text: str) -> str:
    return re.sub(r'([&%$#_{}])', r'\\\1', text.replace('\\', r'\textbackslash ')).replace('~', r'\textasciitilde ')
