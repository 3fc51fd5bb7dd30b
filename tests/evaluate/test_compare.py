"""Methods side by side: what is done once, and what is said of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projner import config, methods, storage
from projner.config import JobFile
from projner.errors import JobError
from projner.evaluate import compare, f1
from projner.evaluate.compare import Comparison, Outcome
from tests.conftest import PAIRS

Bitext = Callable[..., dict[str, Any]]
Compare = Callable[..., Comparison]


@pytest.fixture
def compared(ray_session: str, job_file: Callable[..., Path], tmp_path: Path) -> Compare:
    """Compares on a job: `compared(job, names=(), overrides=())`."""

    def run(
        job: dict[str, Any], names: tuple[str, ...] = (), overrides: tuple[str, ...] = ()
    ) -> Comparison:
        file = JobFile.read(job_file(job, "one"), overrides)
        return compare.compare([file], str(tmp_path / "compared"), names)

    return run


def by_method(comparison: Comparison) -> dict[str, Outcome]:
    return {outcome.method: outcome for outcome in comparison.outcomes}


def computed(comparison: Comparison) -> dict[tuple[str, tuple[str, ...]], int]:
    return {(run.name, run.methods): run.computed for run in comparison.stretches}


def test_what_methods_have_in_common_is_done_once(
    compared: Compare, bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext(gold=True)
    del job["corpus"]["links"]
    job |= {"align": {"engine": "surface"}, "evaluate": {"gold": "target.conll", "ignore": ["ORG"]}}
    names = ("default", "span", "heuristic")
    found = compared(job, names)
    assert [outcome.method for outcome in found.outcomes] == list(names)
    for outcome in found.outcomes:
        assert (outcome.precision, outcome.recall, outcome.f1) == (1, 1, 1)
        assert (outcome.rows, outcome.labelled) == (len(PAIRS), 1)
        assert "ignore:ORG" in outcome.signature
        assert "surface" in outcome.signature
    once = {("surface", names): len(PAIRS)}
    each = {("project", (name,)): len(PAIRS) for name in names}
    assert computed(found) == once | each
    assert not (tmp_path / "out").exists()
    again = compared(job, (*names, "align"))
    assert sum(computed(again).values()) == len(PAIRS)
    before = {outcome.method: outcome.seconds for outcome in found.outcomes}
    after = {outcome.method: outcome.seconds for outcome in again.outcomes}
    assert before.items() <= after.items()
    assert all(after.values())
    stored = json.loads((tmp_path / "compared" / compare.NAME).read_text(encoding="utf-8"))
    assert [item["method"] for item in stored["outcomes"]] == [*names, "align"]


def test_methods_of_the_job_file_share_up_to_where_they_differ(
    compared: Compare, bitext: Bitext
) -> None:
    job = bitext()
    del job["corpus"]["links"]
    strict = {"align": {"min_similarity": 0.9}, "project": {"method": "span"}}
    job |= {
        "filter": {"max_words": 50},
        "align": {"engine": "surface", "min_similarity": 0.5},
        "project": {"score": "align_gap"},
        "compare": {"methods": {"own": {}, "span": None, "strict": strict}},
    }
    found = compared(job)
    rows = len(PAIRS)
    assert computed(found) == {
        ("filter", ("own", "span", "strict")): rows,
        ("surface", ("own", "span")): rows,
        ("surface", ("strict",)): rows,
        ("project", ("span",)): rows,
        ("project", ("strict",)): rows,
        ("project", ("own",)): rows,
    }
    signature = {name: outcome.signature for name, outcome in by_method(found).items()}
    assert "min_similarity=0.9" in signature["strict"]
    assert "method=span" in signature["strict"]
    assert "min_similarity=0.5" in signature["own"]
    # A method says all of `project`, so this one has the defaults.
    assert "score=evidence" in signature["own"]


def test_overrides_hold_for_every_method(compared: Compare, bitext: Bitext) -> None:
    job = bitext() | {"compare": {"methods": {"align": None, "gap": {"project": {"max_words": 3}}}}}
    found = compared(job, overrides=("project.max_words=2",))
    assert all("max_words=2" in outcome.signature for outcome in found.outcomes)


def test_without_gold_it_is_said_how_far_methods_agree(compared: Compare, bitext: Bitext) -> None:
    found = by_method(compared(bitext(), ("default", "span", "align", "heuristic")))
    for outcome in found.values():
        assert outcome.f1 is None
        assert outcome.majority is not None
        assert set(outcome.agreement) == set(found) - {outcome.method}
        assert outcome.projected == pytest.approx(1)
        assert outcome.entities_per_row == pytest.approx(7 / 5)
    # `Bank of Kenya` has a word without a link, at which `align` stops.
    assert found["default"].agreement["span"] == 1
    assert found["default"].majority == 1
    assert found["align"].agreement["default"] == found["default"].agreement["align"]


def test_a_method_without_its_model_is_listed_with_the_reason(
    compared: Compare, bitext: Bitext
) -> None:
    job = bitext()
    del job["corpus"]["links"]
    with pytest.raises(JobError, match=r"no word links; give corpus.links"):
        compared(job, ("span",))
    with pytest.raises(JobError, match="no method can run"):
        compared(job)


def test_settings_of_the_gold_are_those_of_the_corpus(compared: Compare, bitext: Bitext) -> None:
    job = bitext(gold=True, skip=2, limit=2) | {"evaluate": {"gold": "target.conll"}}
    (outcome,) = compared(job, ("span",)).outcomes
    assert (outcome.f1, outcome.rows) == (1, 2)


def test_gold_of_other_sentences_is_refused(
    compared: Compare, bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext(gold=True)
    (tmp_path / "corpus" / "gold.conll").write_text("Ada B-PER\n\n", encoding="utf-8")
    with pytest.raises(
        JobError, match=r"gold.conll has 1 sentences and .* 5; give the gold of these"
    ):
        compared(job | {"evaluate": {"gold": "gold.conll"}}, ("span",))


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ({"hau": "target.conll"}, r"hau_Latn is no target language of the corpus \(swh_Latn\)"),
        ({"swh": "nowhere.conll"}, r"nowhere.conll: no such file"),
    ],
)
def test_gold_by_language_is_checked_before_anything_runs(
    compared: Compare, bitext: Bitext, tmp_path: Path, gold: dict[str, str], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        compared(bitext(gold=True) | {"evaluate": {"gold": gold}}, ("span",))
    assert not (tmp_path / "compared").exists()


@pytest.mark.parametrize("gold", ["g.conll", "memory://gold/g.conll"])
def test_gold_may_be_where_the_corpus_is(gold: str) -> None:
    storage.at("memory://gold/g.conll").write(b"Ada B-PER\n\nBo B-PER\n\n")
    corpus = {"format": "text", "source": "a.txt", "source_lang": "eng", "target_lang": "swh"}
    root = "memory://gold" if gold == "g.conll" else "elsewhere"
    job = config.build({"corpus": corpus | {"root": root, "skip": 1}, "evaluate": {"gold": gold}})
    assert compare.gold_of(job)["swh_Latn"].tokens == [["Bo"]]


def test_one_gold_file_for_several_languages_is_refused(tmp_path: Path) -> None:
    corpus = {"format": "text", "source": "a.txt", "source_lang": "eng"}
    job = config.build(
        {"corpus": corpus | {"target_lang": ["swh", "hau"]}, "evaluate": {"gold": "g.conll"}}
    )
    with pytest.raises(JobError, match=r"one file for several target languages; .*swh_Latn: g"):
        compare.gold_of(job)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"project": {"scor": "align"}},
            r"one.yaml: compare.methods.mine: unknown key `scor`",
        ),
        ({"project": {"score": "sum"}}, r"one.yaml: compare.methods.mine: project.score"),
        (None, "unknown method 'mine'; choose one of mine, default"),
    ],
)
def test_a_wrong_method_in_the_job_file_is_named(
    bitext: Bitext, job_file: Callable[..., Path], changes: Any, message: str
) -> None:
    job = bitext() | {"compare": {"methods": {"mine": changes}}}
    file = JobFile.read(job_file(job, "one"))
    with pytest.raises(JobError, match=message):
        compare.compare([file], "nowhere")


def test_names_choose_among_both_lists(bitext: Bitext, job_file: Callable[..., Path]) -> None:
    job = bitext() | {"compare": {"methods": {"mine": {"project": {"method": "span"}}}}}
    file = JobFile.read(job_file(job))
    assert list(compare.methods_of(file)) == ["mine"]
    assert list(compare.methods_of(file, ["heuristic", "mine"])) == ["heuristic", "mine"]
    assert compare.methods_of(file, ["align"])["align"]["project"] == {
        "score": "align",
        "surface": None,
    }
    plain = JobFile.read(job_file(bitext()))
    assert list(compare.methods_of(plain)) == list(methods.NAMED)


def test_a_second_file_of_the_same_name_is_refused(
    bitext: Bitext, job_file: Callable[..., Path]
) -> None:
    file = JobFile.read(job_file(bitext()))
    with pytest.raises(JobError, match="same name"):
        compare.compare([file, file], "nowhere")


def test_a_text_of_its_own_has_no_figures_and_agrees_with_nobody(
    compared: Compare, bitext: Bitext, tmp_path: Path
) -> None:
    """A method with another corpus stands in for one that translates anew."""
    job = bitext(gold=True)
    other = tmp_path / "corpus" / "other.txt"
    other.write_text("Ada a\nb .\nc .\nd .\ne .\n", encoding="utf-8")
    (tmp_path / "corpus" / "other.pharaoh").write_text("0-0\n\n\n\n\n", encoding="utf-8")
    anew = {"corpus": {"target": "other.txt", "links": "other.pharaoh"}}
    job |= {"compare": {"methods": {"span": None, "align": None, "anew": anew}}}
    found = by_method(compared(job | {"evaluate": {"gold": "target.conll"}}))
    assert (found["span"].f1, found["anew"].f1) == (1, None)
    assert "a text of its own" in str(found["anew"].reason)
    assert found["anew"].entities_per_row == pytest.approx(1 / 5)
    agreed = by_method(compared(job))
    assert (agreed["anew"].agreement, agreed["anew"].majority) == ({}, None)
    assert set(agreed["span"].agreement) == {"align"}


def test_read_labelled_gives_what_was_judged(
    compared: Compare, bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext(gold=True) | {"evaluate": {"gold": "target.conll"}}
    (outcome,) = compared(job, ("heuristic",)).outcomes
    gold = f1.read_labelled(str(tmp_path / "corpus" / "target.conll"))
    evaluation = f1.evaluate(gold, f1.read_labelled(outcome.run))
    assert evaluation.overall.f1 == outcome.f1
    assert evaluation.signature == outcome.signature
