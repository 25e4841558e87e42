"""One self-contained page about a run, made from what lies in its workdir alone.

Everything that came from the run is escaped, the page asks for nothing from elsewhere, and no script runs in it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmjax.config import UsageError
from lmjax.training.figures import Curve, draw
from lmjax.training.metrics import EVENT, read_metrics
from lmjax.training.progress import count
from lmjax.training.report_parts import columns, config_tables, flat, grid, safe, table, tile_row
from lmjax.training.report_style import PAGE
from lmjax.training.scores import SCORES, unit_of

FILE = 'report.html'
Facts = Mapping[str, Any]
Records = Sequence[Mapping[str, Any]]
EVALUATIONS_SHOWN = 12
CLASSES_SHOWN = 12


def write_report(workdir: Path | str) -> Path:
    """Writes report.html from config.json, metrics.jsonl and, where they exist, run.json and samples.txt.

    Raises:
      UsageError: the folder holds no run.
    """
    workdir = Path(workdir)
    if not (workdir / 'config.json').is_file():
        raise UsageError(f'--workdir={str(workdir)!r}: holds no run (no config.json)')
    config, facts = _read_json(workdir / 'config.json'), _read_json(workdir / 'run.json')
    samples = workdir / 'samples.txt'
    text = samples.read_text(encoding='utf-8', errors='replace') if samples.is_file() else ''
    page = render(config, facts, read_metrics(workdir), samples=text)
    partial = workdir / f'{FILE}.tmp'
    partial.write_text(page, encoding='utf-8', errors='replace')
    os.replace(partial, workdir / FILE)
    return workdir / FILE


def render(config: Facts, facts: Facts, records: Records, *, samples: str) -> str:
    """The page as text, from the contents of the files; a section without content is left out."""
    name = str(config.get('name', 'run'))
    sections = [
        ('Curves', _curves(facts, records)),
        ('Samples', _samples(samples)),
        ('Evaluations', _evaluations(records)),
        ('Classes', _confusion(config, _outcome(facts, records))),
        ('Calibration', _calibration(_outcome(facts, records))),
        ('Worst errors', _errors(facts)),
        ('Run', columns(_run(facts))),
        ('What happened', _events(records)),
        ('Config', columns(config_tables(config))),
    ]
    body = ''.join(f'<section><h2>{title}</h2>{content}</section>' for title, content in sections if content)
    return PAGE.format(title=safe(name), subtitle=_subtitle(facts, records), tiles=_tiles(facts, records), body=body)


def _read_json(path: Path) -> dict[str, Any]:
    """A file's object, {} where there is no file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UsageError(f'{path}: is not JSON ({error}); restore it or delete it') from error
    return content if isinstance(content, dict) else {}


def _series(records: Records, split: str, field: str) -> tuple[list[float], list[float]]:
    rows = [row for row in records if row['split'] == split and _is_number(row.get(field))]
    return [row['step'] for row in rows], [row[field] for row in rows]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(facts: Facts, records: Records) -> str:
    loss = [
        Curve('training', *_series(records, 'train', 'loss_nats'), raw=True),
        Curve('validation', *_series(records, 'valid', 'loss_nats'), series=1, marks=True),
    ]
    bits = [Curve('validation', *_series(records, 'valid', 'bits_per_byte'), series=1, marks=True)]
    rate = [Curve('learning rate', *_series(records, 'train', 'learning_rate'))]
    speed = [Curve('tokens a second', *_series(records, 'train', 'tokens_per_second'), raw=True)]
    lines = {str(name): value for name, value in (facts.get('compressors') or {}).items() if _is_number(value)}
    pictures = [
        draw('loss', loss, label=f'loss (nats a {_scored(records)})'),
        draw('bits', bits, label='validation bits per byte', lines=lines),
        draw('rate', rate, label='learning rate', height=2),
        draw('speed', speed, label='throughput (tokens a second)', height=2),
    ]
    figures = ''.join(f'<figure>{picture}</figure>' for picture in pictures if picture)
    return f'<div class="figures">{figures}</div>' if figures else ''


def _tiles(facts: Facts, records: Records) -> str:
    last = _outcome(facts, records)
    compressors = facts.get('compressors') or {}
    beside = ', '.join(f'{name} {value:.2f}' for name, value in compressors.items() if _is_number(value))
    flops = _product(facts.get('flops_per_token'), facts.get('tokens_per_second'))
    tiles = [
        (
            'bits per byte',
            _number(last.get('bits_per_byte'), '.3f'),
            f'of held-out text; {beside}' if beside else 'of held-out text',
        ),
        (
            'validation loss',
            _number(last.get('loss_nats'), '.4f'),
            f'nats a {_scored(records)}; {_second_score(last)}',
        ),
        ('parameters', _count(facts.get('parameter_count')), 'trained'),
        ('tokens a second', _count(facts.get('tokens_per_second')), f'{_unit(flops)}FLOP/s' if flops else ''),
        ('training work', _count(facts.get('flops_total')), f'FLOPs over {_count(facts.get("tokens_trained"))} tokens'),
    ]
    return tile_row([(number, name, more) for name, number, more in tiles])


def _outcome(facts: Facts, records: Records) -> Facts:
    """The evaluation of what the run ended with: the last one, unless it says another."""
    valid = [row for row in records if row['split'] == 'valid']
    return next((row for row in valid if row['step'] == facts.get('outcome_step')), valid[-1] if valid else {})


def _scored(records: Records) -> str:
    """What the loss is the mean over."""
    return unit_of(next((row for row in records if row['split'] == 'valid'), {}))


def _second_score(valid: Facts) -> str:
    """What is said beside the loss."""
    name = next((name for name in ('perplexity', 'accuracy', 'pearson') if name in valid), 'perplexity')
    return f'{name} {_number(valid.get(name), ".4g")}'


def _subtitle(facts: Facts, records: Records) -> str:
    hardware = facts.get('environment') or {}
    steps = max((row['step'] for row in records if row['split'] == 'train'), default=0)
    parts = [f'{steps:,} steps' if steps else 'not trained yet']
    if hardware:
        parts.append(f'{hardware.get("device_count")} × {hardware.get("device_kind")} on {hardware.get("cpu")}')
    parts.append(str(facts.get('finished') or ''))
    return ' · '.join(safe(part) for part in parts if part)


def _run(facts: Facts) -> dict[str, Facts]:
    return {
        'model and work': _work(facts),
        'software and hardware': flat(facts.get('environment')),
        'text': flat(facts.get('corpus')),
    }


def _work(facts: Facts) -> dict[str, Any]:
    per_token = facts.get('flops_per_token')
    return {
        'parameters': facts.get('parameter_count'),
        'tokens trained on': facts.get('tokens_trained'),
        'tokens a second, median': _round(facts.get('tokens_per_second')),
        'FLOPs a token': _round(per_token),
        'how they are counted': facts.get('flops_formula'),
        'FLOPs in all': _round(facts.get('flops_total')),
        'FLOPs a second reached': _round(_product(per_token, facts.get('tokens_per_second'))),
    }


def _evaluations(records: Records) -> str:
    rows = [row for row in records if row['split'] == 'valid']
    names = [name for name in SCORES if any(row.get(name) is not None for row in rows)]
    if not rows:
        return ''
    # Of many, some spread evenly over the run, the last one included.
    stride = math.ceil(len(rows) / EVALUATIONS_SHOWN)
    shown = rows[::-1][::stride][::-1]
    cells = [[row['step'], *(_number(row.get(name), SCORES[name].form) or None for name in names)] for row in shown]
    return grid(['step', *(name.replace('_', ' ') for name in names)], cells)


def _confusion(config: Facts, outcome: Facts) -> str:
    """How many texts of each class (a row) were told as each (a column); of many classes the most frequent errors."""
    classes, counts = (config.get('objective') or {}).get('classes') or (), outcome.get('confusion') or []
    if not classes or len(counts) != len(classes):
        return ''
    if len(classes) > CLASSES_SHOWN:
        errors = {(i, j): n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j and n}
        most = sorted(errors, key=lambda pair: -errors[pair])[:CLASSES_SHOWN]
        rows = [[classes[i], classes[j], errors[i, j]] for i, j in most]
        return grid(('label', 'told as', 'texts'), rows)
    return grid(('label \\ told as', *classes), [[name, *row] for name, row in zip(classes, counts, strict=True)])


def _calibration(outcome: Facts) -> str:
    """How often what is told with a probability is right (Guo et al. 2017, figure 1)."""
    bins = outcome.get('calibration') or []
    if not bins:
        return ''
    told, right = ([row[column] for row in bins] for column in (1, 2))
    curves = [Curve('as often as is told', (0, 1), (0, 1)), Curve('texts', told, right, series=1, marks=True)]
    picture = draw('calibration', curves, label='share that is right', along='probability of what is told', width=4.5)
    rows = [[count, f'{probability:.3f}', f'{share:.3f}'] for count, probability, share in bins]
    return f'<figure>{picture}</figure>' + grid(('texts', 'mean probability', 'share that is right'), rows)


def _errors(facts: Facts) -> str:
    """The held-out texts of which what they were told was the greatest surprise."""
    rows = [
        [row.get(name) for name in ('text', 'label', 'told')] + [f'{row["loss_nats"]:.3f}'] for row in facts.get('errors') or []
    ]
    return grid(('text', 'label', 'told as', 'loss'), rows) if rows else ''


def _samples(text: str) -> str:
    """Each sample in a box of its own, under the line that announces it in samples.txt."""
    parts = re.split(r'^--- (sample .*)$', text, flags=re.MULTILINE)
    if len(parts) < 3:
        return f'<pre>{safe(text)}</pre>' if text.strip() else ''
    pairs = [(head, body.strip('\n')) for head, body in zip(parts[1::2], parts[2::2], strict=True)]
    return ''.join(f'<h3>{safe(head)}</h3><pre>{safe(body)}</pre>' for head, body in pairs)


def _events(records: Records) -> str:
    skip = {'step', 'split', 'event'}
    events = [row for row in records if row['split'] == EVENT]
    rows = {f'{at + 1}. step {row["step"]:,}': _event(row, skip) for at, row in enumerate(events)}
    return table(rows)


def _event(row: Facts, skip: set[str]) -> str:
    details = {name: value for name, value in row.items() if name not in skip}
    what = str(row.get('event', '')).replace('_', ' ')
    return f'{what} {json.dumps(details, ensure_ascii=False)}' if details else what


def _number(value: Any, form: str) -> str:
    return format(value, form) if _is_number(value) else ''


def _count(value: Any) -> str:
    return count(value) if _is_number(value) else ''


def _unit(value: float) -> str:
    """'303 G', '12.5 ': a number before a unit."""
    return re.sub(r'(?<=\d)(?=[kMGT]?$)', ' ', count(value))


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f'{value:,.0f}' if 1e3 <= abs(value) < 1e9 else f'{value:.4g}'


def _product(first: Any, second: Any) -> float | None:
    return float(first) * float(second) if _is_number(first) and _is_number(second) else None
