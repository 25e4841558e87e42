"""Curves of a run as inline SVG whose colours and fonts are those of the page around it, in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax.training.progress import count

# Matplotlib knows no CSS: it draws in colours that nobody else uses, and each is replaced by a variable of the page.
INK, FAINT = '#010203', '#010204'
SERIES = ('#010205', '#010206', '#010207', '#010208', '#010209', '#010210')
COLORS = ('first', 'second', 'third', 'fourth', 'fifth', 'sixth')
VARIABLES = {INK: 'var(--ink)', FAINT: 'var(--rule)'} | {old: f'var(--{new})' for old, new in zip(SERIES, COLORS, strict=True)}


class Curve(NamedTuple):
    label: str
    steps: Sequence[float]
    values: Sequence[float]
    series: int = 0  # which colour
    raw: bool = False  # noisy: drawn thin, with its running mean over it
    marks: bool = False  # a dot at each value


def draw(
    name: str,
    curves: Sequence[Curve],
    *,
    label: str,
    along: str = 'step',
    lines: Mapping[str, float] | None = None,
    width: float = 7,
    height: float = 3.2,
) -> str:
    """An `<svg>` element, or '' if no curve has two finite values.

    Args:
      name: unique on the page; prefixes every id in the picture.
      label: what the vertical axis measures, with its unit; `along`: what the other one does.
      lines: label -> value of horizontal lines to compare with.
      width, height: inches, 100 pixels each.
    """
    curves = [curve for curve in map(_finite, curves) if len(curve.steps) > 1]
    if not curves:
        return ''

    def plot(axes: Any) -> None:
        for curve in curves:
            _plot(axes, curve)
        _horizontal_lines(axes, lines or {})
        if len(curves) > 1:
            axes.legend(frameon=False, labelcolor=INK, handlelength=1.4)
        axes.set_xlim(0, 1.01 * max(curve.steps[-1] for curve in curves))

    return picture(name, plot, label=label, along=along, width=width, height=height)


def picture(
    name: str, plot: Callable[[Any], None], *, label: str, along: str = 'step', width: float = 7, height: float = 3.2
) -> str:
    """An `<svg>` element of what is plotted on matplotlib's axes, in INK, FAINT and SERIES; the rest is as in `draw`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: Any = {'svg.fonttype': 'none', 'svg.hashsalt': name, 'text.color': INK, 'axes.edgecolor': FAINT, 'font.size': 10}
    with rc_context(settings):
        figure = Figure(figsize=(width, height), layout='constrained')
        axes = figure.add_subplot()
        _dress(axes, label, along)
        plot(axes)
        file = io.StringIO()
        figure.savefig(file, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
    return _embed(file.getvalue(), name, f'{label} by {along}' if along else label)


def running_mean(values: Sequence[float]) -> np.ndarray:
    """Centred means over about a twentieth of the values; near an end the window shrinks, so that no value is shifted."""
    size = len(values)
    index = np.arange(size)
    half = np.minimum(np.minimum(index, size - 1 - index), size // 40)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    return (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)


def _finite(curve: Curve) -> Curve:
    pairs = [(step, value) for step, value in zip(curve.steps, curve.values, strict=True) if np.isfinite(value)]
    return curve._replace(steps=[step for step, _ in pairs], values=[value for _, value in pairs])


def _dress(axes: Any, label: str, along: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(label, loc='left', fontsize=10, color=INK)
    axes.set_xlabel(along, color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.grid(axis='y', color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    if along == 'step':
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: count(step)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    return count(value) if abs(value) >= 1000 else f'{value:.4g}'


def _plot(axes: Any, curve: Curve) -> None:
    color = SERIES[curve.series]
    if curve.raw:
        axes.plot(curve.steps, curve.values, color=color, linewidth=0.7, alpha=0.3)
    values = running_mean(curve.values) if curve.raw else curve.values
    axes.plot(
        curve.steps, values, color=color, linewidth=1.7, marker='o' if curve.marks else '', markersize=3.5, label=curve.label
    )


def _horizontal_lines(axes: Any, lines: Mapping[str, float]) -> None:
    for label, value in lines.items():
        axes.axhline(value, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.7)
        # parse_math=False: a dollar sign in a name is a dollar sign; and what the font lacks would only warn.
        plain = re.sub(r'[^ -~]', '?', label)
        axes.annotate(
            f'{plain} {value:.2f}',
            (0.01, value),
            xycoords=('axes fraction', 'data'),
            xytext=(0, 3),
            textcoords='offset points',
            color=INK,
            parse_math=False,
        )


def _embed(svg: str, name: str, description: str) -> str:
    """The element alone, its ids made unique and its looks left to the page."""
    svg = re.sub(r'<(metadata|style)\b.*?</\1>', '', svg[svg.index('<svg') :], flags=re.DOTALL)
    svg = re.sub(r'( id="|"#|url\(#)', rf'\g<1>{name}-', svg)
    svg = re.sub(r'font: ([\d.]+px) [^;"]*', r'font-size: \1', re.sub(r'font-family: [^;"]*;?', '', svg))
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2]
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{description}">'
    return re.sub(r'<svg[^>]*>', lambda _: opening, svg, count=1).strip()
