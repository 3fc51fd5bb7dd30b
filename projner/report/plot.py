"""Plots as SVG: text that any browser shows, alone or within a page, with nothing to fetch or to run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
"""Told apart by people of any colour vision (Okabe and Ito 2008)."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Once the colours have all been used."""
WIDTH, HEIGHT = 640, 400
_LEFT, _TOP, _BOTTOM = 64, 40, 56
_ROW = 26
"""Height of a row of dots."""
_FORMS = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4.5-4.5h9v9h-9z",
    "M0-6L6 5H-6z",
    "M0-6.5L6.5 0L0 6.5L-6.5 0z",
    "M0 6L6-5H-6z",
)
"""Circle, square, triangle, diamond, triangle on its head: five of eight colours, so that a form and
a colour meet again after forty series only."""
_LETTER = 6.5
"""Width of a letter of the legend, about."""


class Point(NamedTuple):
    """A point of a line; `spread` is how far its bar goes up and down, such as a deviation."""

    x: float
    y: float
    spread: float = 0.0


def lines(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x: str,
    y: str,
    y_from: float | None = None,
    y_to: float | None = None,
) -> str:
    """An SVG element with a line for each series, its name in a legend, and bars for the spreads.

    Args:
        series: points by name; those that are not finite numbers are left out.
        title: shown above, and read out by screen readers.
        x: what the horizontal axis has.
        y: what the vertical axis has.
        y_from: where the vertical axis begins, at the latest; at the data by default.
        y_to: where it ends, at the earliest.
    """
    drawn = {
        name: sorted(p for p in points if math.isfinite(p.x) and math.isfinite(p.y))
        for name, points in series.items()
    }
    every = [point for points in drawn.values() for point in points]
    tops = [p.y + p.spread for p in every] + [y_to] * (y_to is not None)
    feet = [p.y - p.spread for p in every] + [y_from] * (y_from is not None)
    across, up = ticks([p.x for p in every]), ticks([v for v in (*feet, *tops) if v is not None])
    legend = 40 + _LETTER * max([len(name) for name in drawn], default=0)
    right = WIDTH - min(legend, WIDTH / 3)

    def at_x(value: float) -> float:
        return _LEFT + (value - across[0]) / (across[-1] - across[0]) * (right - _LEFT)

    def at_y(value: float) -> float:
        foot = HEIGHT - _BOTTOM
        return foot - (value - up[0]) / (up[-1] - up[0]) * (foot - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="sans-serif" font-size="12" fill="currentColor">',
        f"<title>{escape(title)}</title>",
        _text((_LEFT + right) / 2, 22, title, size=14),
        _text((_LEFT + right) / 2, HEIGHT - 14, x),
        _text(16, (_TOP + HEIGHT - _BOTTOM) / 2, y, turned=True),
    ]
    for value in across:
        parts.append(_text(at_x(value), HEIGHT - _BOTTOM + 18, _number(value, across)))
        parts.append(_stroke(at_x(value), _TOP, at_x(value), HEIGHT - _BOTTOM))
    for value in up:
        parts.append(_text(_LEFT - 8, at_y(value) + 4, _number(value, up), anchor="end"))
        parts.append(_stroke(_LEFT, at_y(value), right, at_y(value)))
    for number, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
        pen = f'stroke="{colour}" stroke-width="2"' + (
            f' stroke-dasharray="{dash}"' if dash else ""
        )
        places = [(at_x(p.x), at_y(p.y)) for p in points]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        shapes = [f'<polyline points="{path}" fill="none" {pen}/>']
        for point, (left, top) in zip(points, places, strict=True):
            if point.spread:
                low, high = at_y(point.y - point.spread), at_y(point.y + point.spread)
                shapes.append(
                    f'<path d="M{left:.1f} {low:.1f}V{high:.1f}m-4 0h8M{left - 4:.1f} {low:.1f}h8" '
                    f'fill="none" stroke="{colour}"/>'
                )
            said = f"{name}: {point.x:g}, {point.y:.4g}"
            said += f" ± {point.spread:.2g}" if point.spread else ""
            shapes.append(
                f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3.5" fill="{colour}">'
                f"<title>{escape(said)}</title></circle>"
            )
        line = _TOP + 8 + 18 * number
        shapes.append(f'<path d="M{right + 10:.1f} {line}h18" fill="none" {pen}/>')
        shapes.append(_text(right + 34, line + 4, name, anchor="start"))
        parts.append("<g>" + "".join(shapes) + "</g>")
    return "\n".join([*parts, "</svg>\n"])


def dots(
    figures: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    x: str,
    x_from: float | None = None,
    x_to: float | None = None,
) -> str:
    """An SVG element with a line for each row and, on it, a mark for each series that has a figure there.

    Args:
        figures: by series, then by row; in the order of their first mention.
        title: shown above, and read out by screen readers.
        x: what the horizontal axis has.
        x_from: where the axis begins, at the latest; at the data by default.
        x_to: where it ends, at the earliest.
    """
    rows = list(dict.fromkeys(row for values in figures.values() for row in values))
    every = [value for values in figures.values() for value in values.values()]
    across = ticks([value for value in (*every, x_from, x_to) if value is not None])
    left = 24 + _LETTER * min(36, max(map(len, rows), default=0))
    legend = 40 + _LETTER * max(map(len, figures), default=0)
    right = WIDTH - min(legend, WIDTH / 3)
    foot = _TOP + max(_ROW * len(rows), 18 * len(figures), 2 * _ROW)

    def at_x(value: float) -> float:
        return left + (value - across[0]) / (across[-1] - across[0]) * (right - left)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {foot + _BOTTOM}" '
        f'width="{WIDTH}" height="{foot + _BOTTOM}" role="img" font-family="sans-serif" '
        'font-size="12" fill="currentColor">',
        f"<title>{escape(title)}</title>",
        _text((left + right) / 2, 22, title, size=14),
        _text((left + right) / 2, foot + 42, x),
    ]
    for value in across:
        parts.append(_text(at_x(value), foot + 18, _number(value, across)))
        parts.append(_stroke(at_x(value), _TOP, at_x(value), foot))
    heights = {row: _TOP + _ROW * (number + 0.5) for number, row in enumerate(rows)}
    for row, height in heights.items():
        shown = row if len(row) <= 36 else row[:35] + "…"
        parts.append(_text(left - 8, height + 4, shown, anchor="end"))
        parts.append(_stroke(left, height, right, height))
    for number, (name, values) in enumerate(figures.items()):
        shapes = [
            _mark(at_x(value), heights[row], number, f"{row}, {name}: {value:.3f}")
            for row, value in values.items()
        ]
        height = _TOP + 10 + 18 * number
        shapes.append(_mark(right + 22, height, number, name))
        shapes.append(_text(right + 34, height + 4, name, anchor="start"))
        parts.append("<g>" + "".join(shapes) + "</g>")
    return "\n".join([*parts, "</svg>\n"])


def ticks(values: Sequence[float], about: int = 5) -> list[float]:
    """Round numbers, at least two, from at or below the least value to at or above the greatest.

    Their step is 1, 2 or 5 times a power of ten; there are `about` as many, up to twice that.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough), 10 * power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Multiples of a whole number are exact where sums of a step are not.
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _number(value: float, beside: Sequence[float]) -> str:
    """With as many decimals as tell it from the tick beside it."""
    step = beside[1] - beside[0]
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "middle",
    size: int | None = None,
    turned: bool = False,
) -> str:
    more = f' font-size="{size}"' if size else ""
    more += f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _mark(x: float, y: float, number: int, said: str) -> str:
    """The mark of a series, by colour and by form."""
    form = _FORMS[number % len(_FORMS)]
    return (
        f'<path transform="translate({x:.1f} {y:.1f})" d="{form}" '
        f'fill="{COLOURS[number % len(COLOURS)]}"><title>{escape(said)}</title></path>'
    )


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor" opacity="0.15"/>'
