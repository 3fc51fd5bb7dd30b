"""A benchmark suite's figures beside the published ones."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from projner.evaluate import suites
from projner.report.comparison import Titled

if TYPE_CHECKING:
    from projner.evaluate.compare import Comparison

Figures = Mapping[str, float]
"""F1 by language."""


def tables(suite: str, comparison: Comparison) -> list[Titled]:
    """Means, deviations and worst languages by method, then each language; `ours (published)`."""
    ours: dict[str, dict[str, float]] = {}
    langs = list(dict.fromkeys(outcome.corpus for outcome in comparison.outcomes))
    for outcome in comparison.outcomes:
        if outcome.f1 is not None:
            ours.setdefault(outcome.method, {})[outcome.corpus] = outcome.f1
    theirs: dict[str, dict[str, float]] = {}
    for figure in suites.published(suite):
        theirs.setdefault(figure.method, {})[figure.language] = figure.f1
    methods = list(dict.fromkeys([*ours, *theirs]))
    header = ["method", "mean", "deviation", "worst", "published mean of these", "of all"]
    summary = [
        [
            method,
            *_summary(ours.get(method, {}), langs),
            _mean(theirs.get(method, {}), langs),
            theirs.get(method, {}).get(suites.MEAN),
        ]
        for method in methods
    ]
    each = [
        [lang, *(_beside(ours.get(m, {}), theirs.get(m, {}), lang) for m in methods)]
        for lang in langs
    ]
    number = "1 language" if len(langs) == 1 else f"{len(langs)} languages"
    return [
        Titled(f"{suite}: F1 over {number}", header, summary),
        Titled(f"{suite}: F1 by language, ours (published)", ["language", *methods], each),
    ]


def cited(suite: str) -> list[str]:
    """Where the published figures stand."""
    known = suites.sources()
    by_source: dict[str, list[str]] = {}
    for figure in suites.published(suite):
        methods = by_source.setdefault(figure.source, [])
        if figure.method not in methods:
            methods.append(figure.method)
    return [f"{', '.join(methods)}: {known[source]}" for source, methods in by_source.items()]


def _summary(figures: Figures, langs: Sequence[str]) -> list[float | str | None]:
    there = {lang: figures[lang] for lang in langs if lang in figures}
    if not there:
        return [None, None, None]
    worst = min(there, key=lambda lang: there[lang])
    return [
        statistics.fmean(there.values()),
        statistics.stdev(there.values()) if len(there) > 1 else None,
        f"{worst} {there[worst]:.3f}",
    ]


def _mean(figures: Figures, langs: Sequence[str]) -> float | None:
    """Of these languages, where there is a figure for each."""
    if not all(lang in figures for lang in langs):
        return None
    return statistics.fmean(figures[lang] for lang in langs)


def _beside(ours: Figures, theirs: Figures, lang: str) -> str:
    here = f"{ours[lang]:.3f}" if lang in ours else "-"
    return f"{here} ({theirs[lang]:.3f})" if lang in theirs else here
