"""Labels that people corrected, into the next snapshot and through all that comes after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from projner import cli, config, pipeline
from projner.evaluate import f1
from projner.export.importing import Imported, import_file
from projner.export.sentences import Choice
from projner.export.write import export
from projner.runs import history
from projner.runs.run import Run
from tests.conftest import PAIRS
from tests.report.test_page import ROWS, certain, made, row, span
from tests.test_pipeline import NEW, Bitext, done
from tests.test_refresh import Flaky, flaky, own_ids, without_links

__all__ = ["flaky"]

Lines = list[dict[str, Any]]


def exported(location: str, path: Path, **choice: Any) -> Lines:
    path.unlink(missing_ok=True)
    export(location, "jsonl", str(path), Choice(**choice))
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def taken_in(location: str, path: Path, lines: Lines, form: str = "jsonl") -> Imported:
    texts = [json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(texts) if form == "jsonl" else f"[{','.join(texts)}]", "utf-8")
    return import_file(location, str(path), form)


def edited(line: dict[str, Any], *entities: tuple[int, int, str]) -> dict[str, Any]:
    """A line of an export as somebody leaves it who writes down what is right."""
    spans = [{"start": start, "end": end, "label": label} for start, end, label in entities]
    return {"id": line["id"], "tokens": line["tokens"], "entities": spans}


def labels(row: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(each["start"], each["end"], each["label"]) for each in row["target_entities"]]


@pytest.mark.usefixtures("ray_session")
def test_corrections_come_back_and_stay_whatever_is_run_again(
    bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext()
    result, before = done(job)
    output, file = job["output"], tmp_path / "checked.jsonl"
    lines = exported(output, file)
    # One label is another, one entity is gone, one sentence is right.
    given = [edited(lines[0], (0, 1, "ORG"), (2, 3, "LOC")), edited(lines[3]), lines[2]]
    imported = taken_in(output, file, given)
    assert (imported.before, imported.snapshot) == (1, 2)
    assert (imported.relabelled, imported.confirmed, imported.known) == (2, 1, 0)
    assert imported.projected is not None
    # Five were projected, of which Rome, Wangari Maathai and Nyeri are right; the gold has Ada too.
    assert imported.projected.overall.precision == pytest.approx(3 / 5)
    assert imported.projected.overall.recall == pytest.approx(3 / 4)

    snapshot = result.run.latest()
    assert snapshot is not None
    assert (snapshot.corrected, snapshot.rows) == (3, 5)
    assert snapshot.signature == f"{result.snapshot.signature}|corrected:3"
    assert snapshot.seconds == result.snapshot.seconds
    rows = result.run.read(snapshot).to_pylist()
    assert [rows[n] for n in (1, 4)] == [before[n] for n in (1, 4)]
    assert labels(rows[0]) == [(0, 1, "ORG"), (2, 3, "LOC")]
    assert rows[0]["ner_tags"] == ["B-ORG", "O", "B-LOC", "O"]
    assert [
        (e["score"], e["confidence"], e["source_index"]) for e in rows[0]["target_entities"]
    ] == [
        (1, 1, 0),
        (1, 1, 1),
    ]
    assert (labels(rows[3]), set(rows[3]["ner_tags"])) == ([], {"O"})
    assert [each["status_detail"] for each in rows] == [
        "corrected: checked.jsonl" if n in (0, 2, 3) else None for n in range(5)
    ]

    # What comes out is what went in, and comes in again without a change.
    again = exported(output, tmp_path / "again.jsonl")
    assert [line["corrected"] for line in again] == [True, False, True, True, False]
    assert taken_in(output, tmp_path / "again.jsonl", [again[n] for n in (0, 2, 3)]).snapshot == 2
    assert taken_in(output, file, given).known == 3
    assert done(job)[0].computed == 0
    assert result.run.snapshots() == [1, 2]
    found = history.diff(result.run, result.snapshot, snapshot)
    assert (found.changed, found.same) == (3, 2)

    # A new sentence comes, old snapshots go.
    with_new, _ = done(bitext([*PAIRS, NEW]))
    assert (with_new.computed, with_new.snapshot.corrected) == (1, 3)
    history.collect(output, keep=1)
    more, rows = done(bitext([*PAIRS, NEW]))
    assert (more.computed, labels(rows[0])[0]) == (0, (0, 1, "ORG"))
    # A source sentence that is another one has no correction.
    bitext()
    source = tmp_path / "corpus" / "source.conll"
    source.write_text(source.read_text("utf-8").replace("rose", "fell"), encoding="utf-8")
    changed, rows = done(job)
    assert (changed.computed, changed.snapshot.corrected) == (1, 2)
    assert labels(rows[3]) == [(0, 3, "ORG")]
    assert labels(rows[0])[0] == (0, 1, "ORG")


@pytest.mark.usefixtures("ray_session")
def test_a_row_that_is_computed_again_keeps_its_correction(
    bitext: Bitext, flaky: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = without_links(bitext())
    (flaky.folder / "spoilt").write_text("Nyeri Kenya")
    result, _ = done(job)
    assert result.snapshot.statuses == {"error": 2, "ok": 3}
    lines = exported(job["output"], tmp_path / "failed.jsonl", statuses=("error",))
    given = [edited(lines[0], (0, 2, "PER"))]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            taken_in(job["output"], tmp_path / "failed.jsonl", given)
    # Killed before the end, it is there after the next job.
    corrected, rows = done(job)
    assert (corrected.computed, corrected.snapshot.statuses) == (0, {"error": 1, "ok": 4})
    assert labels(rows[2]) == [(0, 2, "PER")]
    assert taken_in(job["output"], tmp_path / "failed.jsonl", given).known == 1
    # To the run before, it is still a row that failed.
    (flaky.folder / "spoilt").write_text("")
    retried = pipeline.project(config.build(job), retry=["error"])
    assert retried.computed == 2
    assert (retried.snapshot.statuses, retried.snapshot.corrected) == ({"ok": 5}, 1)
    rows = retried.run.read(retried.snapshot).to_pylist()
    assert labels(rows[2]) == [(0, 2, "PER")]
    assert rows[2]["status_detail"] == "corrected: failed.jsonl"
    assert labels(rows[3]) != []


@pytest.mark.usefixtures("ray_session")
def test_under_an_id_of_its_own_a_changed_sentence_loses_it(tmp_path: Path, flaky: Flaky) -> None:
    job = own_ids(tmp_path, list(PAIRS[:3]), [11, 22, 33])
    path = Path(job["corpus"]["path"])
    records = [json.loads(line) for line in path.read_text().splitlines()]
    with_entities(path, records, "met")
    result, _ = done(job)
    lines = exported(job["output"], tmp_path / "x.jsonl")
    taken_in(job["output"], tmp_path / "x.jsonl", [edited(lines[0], (1, 2, "MISC"))])
    with_entities(path, records, "saw")
    changed, rows = done(job)
    assert changed.run.folder == result.run.folder
    assert (rows[0]["id"], changed.snapshot.corrected) == (11, 0)
    assert labels(rows[0]) != [(1, 2, "MISC")]
    with_entities(path, records, "met")
    assert done(job)[0].snapshot.corrected == 1


def with_entities(path: Path, records: Lines, verb: str) -> None:
    lines = [
        json.dumps(
            {
                **each,
                "source_text": each["source_text"].replace("met", verb),
                "source_entities": [{"start": 0, "end": 1, "label": "PER"}],
            }
        )
        for each in records
    ]
    path.write_text("\n".join(lines))


# ---- Files, on a run made by hand: sentences 0 to 4, of which 4 has no labels ----


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`ROWS` and, as number 5, a sentence with a character that browsers count twice."""
    wide = row(
        "Hi \U0001f600 Ada .", "\U0001f600 Ada, Roma", [], [span(1, 2, "LOC", **certain(0.3))]
    )
    wide["target_tokens"] = ["\U0001f600", "Ada", ",", "Roma"]
    wide["ner_tags"] = ["O", "B-LOC", "O", "O"]
    return made(tmp_path / "run", [*ROWS, wide])


def task(id_: int, text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    data = {"id": str(id_), "text": text, "lang": "swh_Latn"}
    return {"id": 1000 + id_, "data": data, "annotations": list(annotations), "predictions": []}


def annotation(*regions: tuple[int, int, str, str], **more: Any) -> dict[str, Any]:
    results = [
        {
            "type": "labels",
            "from_name": "label",
            "to_name": "text",
            "value": {"start": start, "end": end, "labels": [label], "text": text},
        }
        for start, end, label, text in regions
    ]
    return {"result": [*results, {"type": "choices", "value": {"choices": ["odd"]}}], **more}


def test_label_studio_brings_back_what_somebody_annotated(run: Run, tmp_path: Path) -> None:
    first, wide = ROWS[0]["target_text"], "\U0001f600 Ada, Roma"
    tasks = [
        # The last one counts, but for ground truth, and what was cancelled never does.
        task(
            0,
            first,
            annotation((0, 3, "ORG", "Ada"), updated_at="2026-01-03"),
            annotation((0, 3, "PER", "Ada"), updated_at="2026-01-02", ground_truth=True),
            annotation(updated_at="2026-01-04", was_cancelled=True),
        ),
        task(3, ROWS[3]["target_text"]),
        # "Ada" begins after two units of a browser and a space; half of a word is all of it.
        task(5, wide, annotation((3, 6, "PER", "Ada"), (8, 11, "LOC", "Rom"))),
    ]
    imported = taken_in(str(run.folder), tmp_path / "tasks.json", tasks, "label-studio")
    assert (imported.rows, imported.untouched, imported.widened) == (2, 1, 1)
    snapshot = run.latest()
    assert snapshot is not None
    rows = run.read(snapshot).to_pylist()
    assert labels(rows[0]) == [(0, 1, "PER")]
    assert labels(rows[5]) == [(1, 2, "PER"), (3, 4, "LOC")]
    export(str(run.folder), "conll", str(tmp_path / "gold"), Choice(corrected=True))
    gold = f1.read_labelled(str(tmp_path / "gold"))
    assert gold.tokens == [rows[0]["target_tokens"], rows[5]["target_tokens"]]
    # Exported again, they are annotations, which come back as they are.
    export(str(run.folder), "label-studio", str(tmp_path / "out.json"))
    out = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [("annotations" in each, "predictions" in each) for each in out] == [
        (n in (0, 4), n not in (0, 4)) for n in range(5)
    ]
    back = import_file(str(run.folder), str(tmp_path / "out.json"), "label-studio")
    assert (back.known, back.snapshot) == (2, 2)


def test_a_row_without_labels_gets_some_of_a_new_class(run: Run, tmp_path: Path) -> None:
    given = [{"id": "4", "entities": [{"start_char": 0, "end_char": 5, "label": "NEW"}]}]
    taken_in(str(run.folder), tmp_path / "x.jsonl", given)
    snapshot = run.latest()
    assert snapshot is not None
    assert snapshot.statuses == {"ok": 6}
    assert snapshot.entities["NEW"] == 1
    assert labels(run.read(snapshot).to_pylist()[4]) == [(0, 1, "NEW")]


WORDS = ROWS[3]["target_tokens"]
"""Mvua ilinyesha ."""


def one(**more: Any) -> str:
    return json.dumps({"id": 3, "entities": [], **more})


def entity(start: Any, end: Any, label: Any = "PER") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": holds no sentence; there is nothing"),
        (f'{one()}\n\n{{"id": 3,', ":3: no JSON: Expecting property name"),
        ("[]", ":1: is no JSON object"),
        ('{"id": 3}', ":1: has neither `entities` nor `ner_tags`"),
        ('{"entities": []}', ":1: has no `id` such as"),
        (one(id="x"), ":1: has no `id` such as"),
        (
            f"{one()}\n{one(id=77)}\n{one(id=10**30)}",
            ": ids that no sentence of snapshot 1 has, at 2, 3; ",
        ),
        (f"{one(id=1)}\n{one()}\n{one()}", ":3: id 3 was at 2 already"),
        (
            one(entities=[entity(1, 4)]),
            ":1: PER from word 1 to 4 is not within the sentence's 3 words",
        ),
        (one(entities=[entity(-1, 1)]), ":1: PER from word -1 to 1 is not within"),
        (one(entities=[entity(1, 1)]), ":1: PER from word 1 to 1 is not within"),
        (one(entities=[entity(0, 2), entity(1, 3, "LOC")]), ":1: PER and LOC overlap at word 1"),
        (one(entities=[entity("0", 1)]), ":1: an entity PER lacks whole numbers"),
        (one(entities=[entity(0, True)]), ":1: an entity PER lacks whole numbers"),
        (one(entities=[entity(0, 1, "")]), ":1: '' is no class"),
        (one(entities=[entity(0, 1, "a b")]), ":1: 'a b' is no class"),
        (one(entities={}), ":1: `entities` must be a list"),
        (one(entities=[3]), ":1: an entity must be an object"),
        (one(tokens=["Mvua"]), ":1: the words are not those of the run"),
        (one(text="Mvua"), ":1: the words are not those of the run"),
        (one(tokens=WORDS, ner_tags=["O"]), ":1: `ner_tags` must be a list of one tag for each"),
        (one(tokens=WORDS, ner_tags=["O", "X-A", "O"]), ":1: `ner_tags`: 'X-A' is not a tag"),
        (
            one(tokens=WORDS, ner_tags=["B-A", "O", "O"]),
            ":1: `entities` and `ner_tags` say different",
        ),
    ],
)
def test_what_is_wrong_with_lines_is_one_line(content, message, run, tmp_path, capsys) -> None:
    refused(run, tmp_path / "bad.jsonl", content, "jsonl", message, capsys)


TEXT = ROWS[3]["target_text"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"data": {},\n}]', ":3: no JSON: "),
        ("{}", ": is no list of tasks; export from Label Studio as JSON"),
        ([{"text": "x", "label": []}], ": task 1: has no `data`; export"),
        ([task(3, TEXT)], ": no task is annotated"),
        (
            [task(3, TEXT, annotation((0, 99, "PER", "x")))],
            ": task 1: PER from character 0 to 99 is not",
        ),
        ([task(3, TEXT, annotation((0, 4, "PER", "Ada")))], ": task 1: 'Ada' does not stand at"),
        (
            [task(3, TEXT, annotation((4, 5, "PER", " ")))],
            ": task 1: PER from character 4 on holds no",
        ),
        ([task(3, "Mvua", annotation())], ": task 1: the words are not those of the run"),
        (
            [task(9, TEXT, annotation())],
            ": ids that no sentence of snapshot 1 has, at task 1; take",
        ),
    ],
)
def test_what_is_wrong_with_tasks_is_one_line(content, message, run, tmp_path, capsys) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    refused(run, tmp_path / "bad.json", text, "label-studio", message, capsys)


def refused(run: Run, path: Path, content: str, form: str, message: str, capsys: Any) -> None:
    path.write_text(content, "utf-8")
    before = files(run)
    assert cli.main(["import", str(run.folder), str(path), "--format", form]) == 2
    told = capsys.readouterr().err
    assert f"projner: {path}{message}" in told
    assert len(told.strip().splitlines()) == 1
    assert files(run) == before


def files(run: Run) -> list[Path]:
    return sorted(path for path in Path(str(run.folder)).rglob("*.*") if "lease" not in path.parts)


def test_other_things_that_are_wrong(run: Run, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    for file, form, message in [
        ("no", "jsonl", "cannot be read: No such file"),
        ("latin", "jsonl", "is not UTF-8 (byte 0)"),
        ("latin", "conll", "unknown format 'conll'; choose one of label-studio, jsonl"),
    ]:
        assert cli.main(["import", str(run.folder), str(tmp_path / file), "--format", form]) == 2
        assert message in capsys.readouterr().err


def test_the_command_says_what_it_did(run: Run, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(one(tokens=WORDS, entities=[entity(0, 1, "MISC")]))
    command = ["import", str(run.folder), str(path), "--format", "jsonl"]
    assert cli.main(command) == 0
    assert (
        "snapshot 2: 1 sentences checked by people; 1 labelled otherwise" in capsys.readouterr().out
    )
    assert cli.main(command) == 0
    assert "nothing has changed: snapshot 2 has these" in capsys.readouterr().out
    assert cli.main(["snapshots", str(run.folder)]) == 0
    assert "corrected" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 1
