"""Benchmarks at tiny sizes: what they report, and that both sides find the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from projner import columns
from projner.bench import growth, job, matching, measure, sentences
from projner.cli import main
from projner.errors import JobError

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _check(report: measure.Report, sides: list[str]) -> None:
    """A report that can be printed both ways and has the figures of every side."""
    assert [row["side"] for row in report.rows] == sides
    assert len({tuple(row) for row in report.rows}) == 1
    assert json.loads(json.dumps(report.as_json()))["rows"] == report.rows
    text = report.as_text()
    for part in (*sides, *report.rows[0], report.signature):
        assert part in text
    assert "projner:" in report.signature
    assert "python:" in report.signature


def _check_rates(report: measure.Report, unit: str) -> None:
    for row in report.rows:
        assert 0 < row["lowest"] <= row[f"{unit}/s"] <= row["highest"]


# Measuring


def test_sides_take_turns() -> None:
    calls: list[str] = []
    sides = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    measured = measure.in_turn(sides, 3)
    assert calls == ["a", "b"] * 3
    assert [len(side.seconds) for side in measured.values()] == [3, 3]


def test_ratios_are_taken_within_turns() -> None:
    # Between the second and the third turn the machine became ten times as slow.
    assert measure.ratio([1, 1, 10], [2, 3, 40]) == 3


def test_rates_and_their_spread() -> None:
    side = measure.Measured([None] * 3, [1.0, 2.0, 4.0])
    assert side.rates(8, "rows") == {"rows/s": 4, "lowest": 2, "highest": 8}


@pytest.mark.parametrize(
    ("sides", "share"),
    [
        ([[5] * 40], 0),
        # Read in two batches: 31 * 9 of 320, then none of 8.
        ([[10] + [1] * 31 + [1] * 8], 279 / 328),
        ([[4, 2], [3, 3]], 2 / 14),
    ],
)
def test_padding_in_corpus_order(sides: list[list[int]], share: float) -> None:
    assert measure.padding_in_order(*sides) == pytest.approx(share)


def test_a_silenced_block_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with measure.quiet():
        os.write(1, b"from C")
        print("from Python")
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n"


# Sentences


def test_made_up_sentences_are_the_same_every_time() -> None:
    assert sentences.sentences(20) == sentences.sentences(20)
    assert sentences.sentences(20) != sentences.sentences(20, seed=1)


def test_made_up_pairs_are_whole() -> None:
    pairs = sentences.pairs(300)
    assert sum(len(pair.entities) for pair in pairs) > 100
    for pair in pairs:
        assert pair.source
        assert pair.target
        assert all(s < len(pair.source) and t < len(pair.target) for s, t in pair.links)
        ends = [0, *(end for _, end, _ in pair.entities)]
        for before, (start, end, _) in zip(ends, pair.entities, strict=False):
            assert before <= start < end <= len(pair.source)


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("", sentences.read, "holds no sentences"),
        ("a b ||| c\nd e\n", sentences.read_pairs, ":2: write pairs as"),
    ],
)
def test_files_that_are_no_corpus(tmp_path, text, read, message) -> None:
    file = tmp_path / "corpus"
    file.write_text(text)
    with pytest.raises(JobError, match=message):
        read(str(file), 10)


def test_sentences_of_a_file(tmp_path) -> None:
    file = tmp_path / "corpus"
    file.write_text("a b ||| c\n\nd ||| e f\n")
    pairs = sentences.read_pairs(str(file), 10)
    assert [(pair.source, pair.target) for pair in pairs] == [
        (["a", "b"], ["c"]),
        (["d"], ["e", "f"]),
    ]
    assert sentences.read(str(file), 1) == [["a", "b", "|||", "c"]]


# Models


@pytest.fixture
def models() -> None:
    pytest.importorskip("torch", reason="needs the extra projner[models]")
    pytest.importorskip("transformers", reason="needs the extra projner[models]")


@pytest.mark.usefixtures("models")
def test_label() -> None:
    from projner.bench import label

    report = label.bench(rows=40, repeats=1, device="cpu", shape="tiny")
    _check(report, [label.OURS, label.THEIRS])
    _check_rates(report, "sentences")
    assert report.same == 1
    ours, theirs = report.rows
    assert ours["padding"] < theirs["padding"]
    assert theirs["speed-up"] == 1


@pytest.mark.usefixtures("models")
def test_align() -> None:
    pytest.importorskip("awesome_align", reason="needs the extra projner[peers]")
    from projner.bench import align

    report = align.bench(pairs=40, repeats=1, device="cpu", shape="tiny")
    *ours, theirs = report.rows
    precisions = ["float32", "bfloat16"][: len(ours)]
    _check(report, [*(f"{align.OURS} {precision}" for precision in precisions), align.THEIRS])
    _check_rates(report, "pairs")
    assert report.same == ours[0]["same links"] == 1
    assert all(row["padding"] < theirs["padding"] for row in ours)
    (alone, _) = align.bench(pairs=20, repeats=1, device="cpu", shape="tiny", dtype="bfloat16").rows
    assert alone["side"] == f"{align.OURS} bfloat16"


@pytest.mark.usefixtures("models")
def test_translate(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ctranslate2", reason="needs the extra projner[models]")
    from projner.bench import translate

    monkeypatch.setenv("PROJNER_CACHE", "unchanged")
    report = translate.bench(
        rows=40, repeats=1, device="cpu", shape="tiny", beams=1, dtype="float32"
    )
    _check(report, [translate.OURS, translate.THEIRS])
    _check_rates(report, "sentences")
    assert report.same == 1
    assert os.environ["PROJNER_CACHE"] == "unchanged"


@pytest.mark.usefixtures("models")
def test_a_file_of_sentences_and_another_shape(tmp_path) -> None:
    from projner.bench import label

    file = tmp_path / "corpus"
    file.write_text("the cat sat\n" * 3)
    report = label.bench(
        repeats=1, device="cpu", shape="tiny", layers=1, width=64, corpus=str(file)
    )
    assert "3 sentences" in report.title
    assert "model:xlm-r:1x64" in report.signature
    # One distinct sentence under random weights: both sides may stand on either side of a tie, so
    # that they agree is asserted where there are many (`test_label`).
    assert report.same in (0, 1)


# Matching


def test_matching() -> None:
    programmes = ["pairs-cp_sat", "words-scip", "words-highs", "words-cp_sat"]
    report = matching.bench(instances=2, repeats=1, programmes=programmes)
    ours = [matching.MATCH, matching.SOLVER, matching.COMPILED, matching.STAGE]
    theirs = [matching.PROGRAMMES[name] for name in programmes]
    _check(report, [*ours, *theirs, *ours, *theirs])
    assert {row["corpus"] for row in report.rows} == {"demo"}
    assert report.same == 1
    assert all(row["equal"] == row["solved"] == 2 for row in report.rows)


def test_matching_on_a_job_file(tmp_path) -> None:
    file = tmp_path / "demo.yaml"
    file.write_text(
        "corpus: {format: bitext, source: train.eng.conll, target: train.swh.conll, "
        "links: train.eng-swh.pharaoh, source_lang: eng_Latn, target_lang: swh_Latn}"
    )
    report = matching.bench(
        jobs=[str(file)],
        overrides=[f"corpus.root={sentences.CORPUS}", "corpus.limit=50"],
        instances=3,
        repeats=1,
        programmes=["words-cp_sat"],
        all_pairs=True,
    )
    assert {row["corpus"] for row in report.rows} == {"demo"}
    assert report.same == 1


def test_what_comes_to_the_limit_counts_as_unsolved() -> None:
    report = matching.bench(instances=2, repeats=1, programmes=["words-cp_sat"], limit=1e-6)
    assert [row["solved"] for row in report.rows] == [2, 2, 2, 2, 0] * 2
    assert report.same == 1


def test_hard_sentences_are_solved() -> None:
    report = matching.bench(repeats=1, programmes=[], hard=True)
    assert {row["corpus"] for row in report.rows} == {"demo", "made-up"}
    assert all(row["solved"] == row["equal"] == 1 for row in report.rows)
    (crowd,) = matching._crowd().instances
    assert crowd.scores.shape == (matching.HARD_ENTITIES, len(crowd.starts))
    assert (crowd.scores > 0).mean() > 0.9


def test_a_made_up_tagger_lets_most_spans_score() -> None:
    table = sentences.as_table([pair for pair in sentences.pairs(60) if pair.entities])
    problem = matching.by_tags("made-up", table, 5)
    assert len(problem.instances) == 5
    assert problem.scoring > 0.5
    shares = np.array(problem.table["target_probs"][0].as_py())
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(shares)), abs=0.01)


# Growth


def test_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MANY_ROWS", 1)
    monkeypatch.setattr(growth, "CORPUS_ROWS", 150)
    file = tmp_path / "demo.yaml"
    file.write_text(
        "corpus: {format: bitext, source: train.eng.conll, target: train.swh.conll, "
        "links: train.eng-swh.pharaoh, source_lang: eng_Latn, target_lang: swh_Latn}"
    )
    root = f"corpus.root={sentences.CORPUS}"
    report = growth.bench([str(file)], [root], rows=10, repeats=1, largest=1000)
    assert [row["to"] for row in report.rows] == [150, *growth.WORDS, *growth.ENTITIES, 1000]
    assert report.rows[0]["what"] == "demo"
    ways = ("default", "align", "align_gap", "ner")
    assert all(row[name] > 0 for row in report.rows for name in ways)
    for words, entities in ((20, 2), (80, 26)):
        for pair in growth._sized(3, words, entities):
            assert len(pair.source) == words
            ends = [end for _, end, _ in pair.entities]
            assert len(ends) == entities
            assert ends[-1] <= words
            assert all(
                end <= start for end, (start, *_) in zip(ends, pair.entities[1:], strict=False)
            )


def test_formulations_of_overlap() -> None:
    # Spans 0-1, 0-2 and 1-2; the one entity has no use for the last.
    spans = np.array([0, 0, 1]), np.array([1, 2, 2])
    instance = matching.Instance(np.array([[0.5, 0.9, 0.0]]), *spans)
    scoring = matching._variables(instance, all_pairs=False)
    assert scoring.spans == [[0], [1], []]
    assert scoring.entities == [[0, 1]]
    every = matching._variables(instance, all_pairs=True)
    assert sorted(map(sorted, matching._pairwise(instance, every))) == [
        [0],
        [0, 1],
        [1],
        [1, 2],
        [2],
    ]
    assert [sorted(row) for row in matching._wordwise(instance, every)] == [[0, 1], [1, 2]]


# Jobs


@pytest.mark.slow
def test_job() -> None:
    report = job.bench(rows=700, repeats=1, cpus=1, method="align")
    _check(report, [job.RAY, job.ALONE])
    _check_rates(report, "sentences")
    assert report.same == 1
    assert all(row["peak MB"] > 0 for row in report.rows)


# The command


def test_the_command_prints_json_alone(capfd: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "matching", "--instances", "2", "--repeats", "1", "--json"]
    assert main([*command, "--programmes", "words-highs"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["same"] == 1
    assert "instances:2" in report["signature"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "--shape", "huge"],
        ["label", "--corpus", "/nowhere"],
        ["matching", "--programmes", "words-gurobi"],
        ["matching", "--jobs", "/nowhere.yaml"],
        ["job", "--method", "magic"],
    ],
)
def test_what_cannot_be_measured(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert arguments[-1].lstrip("/") in capfd.readouterr().err.splitlines()[-1]


def test_nmt(demo_models: object) -> None:
    from projner.bench import nmt

    report = nmt.bench(rows=20, threads=1)
    assert [row["method"] for row in report.rows] == list(nmt.METHODS)
    assert report.rows[-1]["times align"] == 1
    assert all(row["seconds"] > 0 for row in report.rows)
    # Scores computed together and one by one project alike.
    assert report.same == 1
