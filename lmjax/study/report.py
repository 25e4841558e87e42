"""One self-contained page about a study, and its table as Markdown, LaTeX and CSV; also of a study that still runs."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmjax.config import to_dict
from lmjax.study import ledger
from lmjax.study.analysis import Answer, as_record
from lmjax.study.driver import read_answer
from lmjax.study.pictures import curves, forest, pareto, responses
from lmjax.study.spec import Study, choices, name_of
from lmjax.study.tables import Cost, cost_of, rows_of, to_csv, to_latex, to_markdown, written
from lmjax.training.progress import duration
from lmjax.training.report import FILE
from lmjax.training.report_parts import columns, config_tables, flat, grid, safe, table
from lmjax.training.report_style import PAGE

COMMAND = 'command.json'  # what was typed, as a list


def write_study_report(folder: str) -> Path:
    """Writes report.html, table.md, table.tex, table.csv and answer.json; returns the path of the page.

    Raises UsageError where the folder holds no study.
    """
    answer = read_answer(folder)
    rows, metric = rows_of(folder, answer), answer.study.decides
    costs = {arm.name: cost_of(folder, answer, arm) for arm in answer.arms}
    texts = {
        'table.md': to_markdown(rows, metric),
        'table.tex': to_latex(rows, metric),
        'table.csv': to_csv(rows),
        'answer.json': json.dumps(as_record(answer), indent=2) + '\n',
        FILE: render(folder, answer, rows, costs),
    }
    for name, text in texts.items():
        partial = Path(folder, f'{name}.tmp')
        partial.write_text(text, encoding='utf-8', errors='replace')
        os.replace(partial, Path(folder, name))
    return Path(folder, FILE)


def render(folder: str, answer: Answer, rows: Sequence[Mapping[str, Any]], costs: Mapping[str, Cost]) -> str:
    """The page as text; a section without content is left out."""
    study, lines = answer.study, ledger.read(folder)
    figures = {
        'Differences': [forest(answer)],
        'Curves': curves(folder, answer, costs),
        'What tuning found': responses(answer),
        'What a score costs': [pareto(answer, costs)],
    }
    pictures = {title: _figures(found) for title, found in figures.items()}
    sections = {
        'What was asked': _asked(study),
        'Answer': _list(answer.verdicts),
        'Before you believe it': _list(answer.caveats),
        'Arms': f'<div class="tight">{grid(*_blank(*written(rows, study.decides)))}</div>',
        **pictures,
        'Scores by seed': _scores(answer),
        'Failures': _failures(lines),
        'Base': columns(config_tables(to_dict(study.base))),
        'Environment': table(flat(_environment(folder, answer))),
        'Again': _again(folder),
    }
    body = ''.join(f'<section><h2>{title}</h2>{content}</section>' for title, content in sections.items() if content)
    title = f'Study of {study.base.name}'
    subtitle = f'{answer.done} of {answer.wanted} trials are over · {study.decides} on held-out text decides'
    return PAGE.format(title=safe(title), subtitle=safe(subtitle), tiles=_tiles(answer, lines), body=body)


def _blank(head: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str | None]]]:
    """The same with None for what is empty."""
    return head, [[cell or None for cell in line] for line in cells]


def _asked(study: Study) -> str:
    tuned = (
        f'Each is compared at its own best of {len(choices(study))} choices of {"; ".join(study.tune)}, found on '
        f'{study.tune_seeds} other seeds.'
    )
    said = [
        f'Whether {", ".join(name_of(arm) for arm in study.arms[1:])} differs from {name_of(study.arms[0])} in '
        f'{study.decides} ({"less" if study.lower else "more"} is better), on {study.seeds} seeds that all share.',
        tuned if study.tune else 'Nothing is tuned.',
        f'Intervals of {study.confidence:.0%}, paired by seed; p-values of the {study.test} test, adjusted over arms (Holm).',
    ]
    if study.margin:
        said.append(f'A difference of up to {study.margin:g} would not matter.')
    return ''.join(f'<p>{safe(line)}</p>' for line in said)


def _tiles(answer: Answer, lines: Sequence[Mapping[str, Any]]) -> str:
    spent = sum(row.get('seconds', 0.0) for row in lines)
    base = answer.arms[0]
    tiles = [
        (f'{answer.done}/{answer.wanted}', 'trials', 'over'),
        (f'{base.mean.mean:.4f}' if base.scores else '', answer.study.decides, f'of {base.name}'),
        (duration(spent) if spent else '', 'spent', 'over all processes'),
    ]
    shown = [tile for tile in tiles if tile[0]]
    return ''.join(
        f'<div class="tile"><b>{safe(number)}</b><span>{safe(name)}</span><i>{safe(more)}</i></div>'
        for number, name, more in shown
    )


def _scores(answer: Answer) -> str:
    seeds = sorted({seed for arm in answer.arms for seed in arm.scores})
    if not seeds:
        return ''
    rows = [[arm.name, *(f'{arm.scores[seed]:.4f}' if seed in arm.scores else None for seed in seeds)] for arm in answer.arms]
    return grid(['arm', *(f'seed {seed}' for seed in seeds)], rows)


def _failures(lines: Sequence[Mapping[str, Any]]) -> str:
    """The last word on each trial that did not end well."""
    last = {row['trial']: row for row in lines}
    bad = [row for row in last.values() if row['event'] in ('failed', 'diverged', 'interrupted')]
    return (
        grid(('trial', 'how it ended', 'why'), [[row.get('name'), row['event'], row.get('message')] for row in bad])
        if bad
        else ''
    )


def _environment(folder: str, answer: Answer) -> Any:
    """Software and hardware of a run that is over."""
    for path in sorted(Path(folder, 'runs').glob('*/*/run.json')):
        return json.loads(path.read_text(encoding='utf-8')).get('environment')
    return None


def _again(folder: str) -> str:
    path = Path(folder, COMMAND)
    typed = shlex.join(json.loads(path.read_text(encoding='utf-8'))) if path.is_file() else ''
    lines = [typed, f'python -m experiments.report --workdir={shlex.quote(folder)}']
    return f'<pre>{safe(chr(10).join(filter(None, lines)))}</pre>'


def _figures(pictures: Sequence[str]) -> str:
    shown = [picture for picture in pictures if picture]
    found = ''.join(f'<figure>{picture}</figure>' for picture in shown)
    return f'<div class="{"figures" if len(shown) > 1 else "alone"}">{found}</div>' if shown else ''


def _list(lines: Sequence[str]) -> str:
    return ''.join(f'<p>{safe(line)}</p>' for line in lines)
