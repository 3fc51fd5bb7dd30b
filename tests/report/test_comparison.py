"""Comparisons as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from projner.evaluate.compare import Comparison, Outcome, Skipped, Stretch
from projner.report import comparison
from tests.evaluate.test_suites import outcome

SHARED = Stretch("hau", "label+encoder", "f", ("default", "span"), 5, 1.25)
OWN = Stretch("hau", "project", "g", ("span",), 5, 0.5)


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_one_corpus_has_a_row_for_each_method() -> None:
    found = Comparison(
        [outcome("hau", "default", 0.5), outcome("hau", "span", None)], [], [SHARED, OWN], True
    )
    lines = cells(comparison.as_text(found))
    assert lines[0] == ["hau"]
    assert lines[1][:2] == ["method", "F1"]
    assert lines[3][:2] == ["default", "0.500"]
    # No figure, so the next column follows.
    assert lines[4][:2] == ["span", "1.000"]
    assert ["hau", "label+encoder:", "1.2", "s,", "read", "by", "default,", "span"] in lines
    assert not any("project:" in line for line in lines), "what only one method reads is no news"


def test_several_have_a_table_for_each_figure() -> None:
    outcomes = [
        outcome("hau", "default", 0.5),
        outcome("hau", "span", 0.25),
        outcome("swa", "default", 0.75),
    ]
    text = comparison.as_text(Comparison(outcomes, [], [], True))
    lines = cells(text)
    assert lines[:2] == [["F1"], ["corpus", "default", "span"]]
    assert lines[3:5] == [["hau", "0.500", "0.250"], ["swa", "0.750"]]
    assert ["seconds"] in lines
    assert ["precision"] not in lines, "nobody has one"


def test_two_languages_of_a_corpus_are_told_apart() -> None:
    both = [
        replace(outcome(language, "span", 0.5), corpus="news", single=False)
        for language in ("hau", "swa")
    ]
    rows = cells(comparison.as_text(Comparison(both, [], [], True)))
    assert rows[3] == ["news", "hau_Latn", "0.500"]
    assert rows[4] == ["news", "swh_Latn", "0.500"]


def agreeing() -> list[Outcome]:
    return [
        replace(outcome("hau", "a", None), agreement={"b": 0.25}, majority=1.0),
        replace(outcome("hau", "b", None), agreement={"a": 0.25}, majority=0.5),
        outcome("hau", "of its own", None),
    ]


def test_agreement_is_a_square() -> None:
    lines = cells(comparison.as_text(Comparison(agreeing(), [], [], False)))
    at = lines.index(["agreement", "on", "hau", "(exact-span", "F1)"])
    assert lines[at + 1] == ["method", "a", "b"]
    assert lines[at + 3 : at + 5] == [["a", "1.000", "0.250"], ["b", "0.250", "1.000"]]
    assert lines[at + 5] == []


def test_what_has_no_figures_and_why() -> None:
    skipped = [Skipped(corpus, "nmt", "no model") for corpus in ("hau", "swa")]
    skipped.append(Skipped("hau", "ner", "no tagger"))
    outcomes = [outcome("hau", "span", 0.5), replace(outcome("swa", "span", None), reason="odd")]
    lines = comparison.as_text(Comparison(outcomes, skipped, [], True)).splitlines()
    at = lines.index("without figures")
    assert lines[at + 1 : at + 4] == [
        "  nmt: no model",
        "  ner: no tagger (hau)",
        "  span: odd (swa)",
    ]


def test_a_page_marks_the_best(tmp_path: Path) -> None:
    outcomes = [outcome(c, m, f) for c, m, f in [("hau", "a", 0.5), ("hau", "b", 0.75)]]
    outcomes += [outcome("swa", "a", 0.25)]
    found = Comparison(outcomes, [], [], True)
    page = comparison.as_markdown(found, cited=["a: somewhere"])
    assert "| hau | 0.500 | **0.750** |" in page
    assert "| swa | **0.250** |  |" in page
    assert "## published figures\n\n* a: somewhere" in page
    comparison.write(found, str(tmp_path), cited=["a: somewhere"])
    assert (tmp_path / "compare.md").read_text(encoding="utf-8") == page
    assert page.startswith("![F1 by language and method](compare.svg)\n")
    drawn = ET.parse(tmp_path / "compare.svg")
    said = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert {"hau, a: 0.500", "hau, b: 0.750", "swa, a: 0.250"} <= set(said)


def test_without_figures_there_is_no_plot(tmp_path: Path) -> None:
    comparison.write(Comparison(agreeing(), [], [], False), str(tmp_path))
    assert "compare.svg" not in (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert not (tmp_path / "compare.svg").exists()


def test_a_sheet_has_a_line_for_each() -> None:
    found = Comparison([outcome("hau", "a", 0.5)], [], [], True)
    (row,) = csv.DictReader(io.StringIO(comparison.as_csv(found)))
    assert (row["corpus"], row["language"], row["f1"]) == ("hau", "hau_Latn", "0.5")
    assert row["precision"] == ""
