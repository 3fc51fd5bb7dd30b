"""A study as a table and as a plot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from projner.report import plot
from projner.report.plot import Point
from projner.report.table import table

if TYPE_CHECKING:
    from projner.train.study import Spread, Studied


def as_text(studied: Studied) -> str:
    """A row for each pair of shares, and where the plot is."""
    scored = [name for name in ("dev", "test") if any(getattr(row, name) for row in studied.rows)]
    rows = [
        (
            f"{row.gold:g}",
            f"{row.runs:g}",
            row.seeds,
            *(cell for name in scored for cell in _cells(getattr(row, name))),
        )
        for row in studied.rows
    ]
    header = ("gold", "runs", "seeds")
    figures = [cell for name in scored for cell in (f"F1 on {name}", "deviation")]
    lines = [table((*header, *figures), rows), "", f"plot      {studied.folder / 'study.svg'}"]
    return "\n".join([*lines, f"signature {studied.signature}"])


def as_plot(studied: Studied) -> str:
    """F1 (on the test, where there is one) by the share that has more values, a line for each of the
    other's; bars are deviations over seeds."""
    name = "test" if any(row.test for row in studied.rows) else "dev"
    golds, runs = ({getattr(row, key) for row in studied.rows} for key in ("gold", "runs"))
    across, apart = ("gold", "runs") if len(golds) >= len(runs) else ("runs", "gold")
    series: dict[str, list[Point]] = {}
    for row in studied.rows:
        spread: Spread | None = getattr(row, name)
        if spread is not None:
            point = Point(getattr(row, across), spread.mean, spread.deviation or 0.0)
            series.setdefault(f"{apart} {getattr(row, apart):g}", []).append(point)
    seeds = max(row.seeds for row in studied.rows)
    return plot.lines(
        series,
        title=f"F1 by share of {across}, mean of {seeds} seeds",
        x=f"share of {across}",
        y=f"F1 on {name}",
    )


def write(studied: Studied) -> None:
    """Leave `study.json` and `study.svg` in the study's folder."""
    text = json.dumps(studied.as_json(), indent=1, ensure_ascii=False)
    (studied.folder / "study.json").write_text(f"{text}\n", encoding="utf-8")
    (studied.folder / "study.svg").write_text(as_plot(studied), encoding="utf-8")


def _cells(spread: Spread | None) -> tuple[float | None, float | None]:
    return (spread.mean, spread.deviation) if spread else (None, None)
