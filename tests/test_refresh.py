"""Jobs that are run again: what is new, corrected, gone or retried, through the whole chain of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest

from projner import cli, config, methods, pipeline, record, settled
from projner.errors import JobError
from projner.runs import run as runs
from projner.stage import Stage
from tests.conftest import PAIRS, Pair, conll, plain
from tests.test_pipeline import NEW, Bitext, Row, check, done, many

if TYPE_CHECKING:
    from projner.demo.models import Models

pytestmark = pytest.mark.usefixtures("ray_session")


class Flaky(Stage):
    """Makes links, and fails on sentences with a word of the file `spoilt`. Notes what it is given."""

    name: ClassVar[str] = "flaky"
    inputs = ("source_tokens", "target_tokens")
    outputs = ("links",)

    def __init__(self, folder: Path, device: str | None = None):
        self.folder = folder
        self.device = device

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        spoilt = set((self.folder / "spoilt").read_text().split())
        for words in table["source_tokens"].to_pylist():
            if spoilt & set(words):
                raise ZeroDivisionError("spoilt")
        with (self.folder / "seen").open("a") as file:
            file.writelines(f"{id_}\n" for id_ in table["id"].to_pylist())
        links = [
            [{"source": n, "target": n, "score": 1.0} for n in range(min(map(len, pair)))]
            for pair in zip(*(table[name].to_pylist() for name in self.inputs), strict=True)
        ]
        return record.with_column(table, "links", links)

    def seen(self) -> list[int]:
        path = self.folder / "seen"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    (tmp_path / "spoilt").write_text("")
    stage = Flaky(tmp_path)
    monkeypatch.setattr(methods, "preparation", lambda *_: [stage])
    return stage


def without_links(job: dict[str, Any]) -> dict[str, Any]:
    del job["corpus"]["links"]
    return job


def statuses(rows: list[Row]) -> list[str]:
    return [row["status"] for row in rows]


def test_rows_that_failed_are_retried_on_request_and_nothing_else_is_touched(
    bitext: Bitext, flaky: Flaky
) -> None:
    job = without_links(bitext(many(6)))
    (flaky.folder / "spoilt").write_text("Ada1 Ada4")
    _, before = done(job)
    failed = [before[n]["id"] for n in (1, 4)]
    assert statuses(before) == ["ok", "error", "ok", "ok", "error", "ok"]
    (flaky.folder / "spoilt").write_text("Ada4")
    assert done(job)[0].computed == 0
    (flaky.folder / "seen").unlink()

    result = pipeline.project(config.build(job), retry=["error", "translation_failed"])
    rows = result.run.read(result.snapshot).to_pylist()
    # Both of them in both runs: what failed again is a new attempt, too.
    assert [part.computed for part in result.parts] == [2, 2]
    assert flaky.seen() == failed[:1]
    assert statuses(rows) == ["ok"] * 4 + ["error", "ok"]
    assert result.snapshot.statuses == {"error": 1, "ok": 5}
    assert rows[1]["ner_tags"] == ["B-PER", "O", "B-LOC", "O"]
    for n in (0, 2, 3, 5):
        assert rows[n] == before[n]
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    # The snapshot before still says what it said.
    assert result.run.read(result.run.snapshot(1)).to_pylist() == before

    assert pipeline.project(config.build(job)).computed == 0
    (flaky.folder / "spoilt").write_text("")
    last = pipeline.project(config.build(job), retry=["error"])
    assert (last.computed, last.snapshot.statuses) == (1, {"ok": 6})
    assert pipeline.project(config.build(job), retry=["error"]).computed == 0
    assert last.snapshot.number == 3


def test_a_retry_that_was_killed_before_it_was_published_is_not_lost(
    bitext: Bitext, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = config.build(without_links(bitext(many(4))))
    (flaky.folder / "spoilt").write_text("Ada1 Ada2")
    pipeline.project(job)
    (flaky.folder / "spoilt").write_text("Ada2")
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pipeline.project(job, retry=["error"])
    (flaky.folder / "seen").unlink()
    # The first run has both attempts, the second one follows it.
    result = pipeline.project(job)
    assert flaky.seen() == []
    assert (result.computed, result.snapshot.statuses) == (2, {"error": 1, "ok": 3})


@pytest.mark.parametrize("status", ["ok", "eror"])
def test_what_cannot_be_retried(bitext: Bitext, status: str) -> None:
    with pytest.raises(JobError, match=f"--retry {status}: choose statuses among empty, invalid"):
        pipeline.project(config.build(bitext()), retry=[status])


def own_ids(tmp_path: Path, pairs: list[Pair], ids: list[int]) -> dict[str, Any]:
    """A job on records that bring their ids, in English and unlabelled Swahili."""
    path = tmp_path / "records.jsonl"
    lines = [
        json.dumps({"id": id_, "source_text": plain(p.source), "target_text": plain(p.target)})
        for id_, p in zip(ids, pairs, strict=True)
    ]
    path.write_text("\n".join(lines))
    corpus = {
        "format": "jsonl",
        "path": str(path),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }
    return {"corpus": corpus, "output": str(tmp_path / "out")}


def test_what_is_corrected_under_an_id_of_its_own_is_computed_again(
    tmp_path: Path, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Names(Stage):
        name: ClassVar[str] = "names"
        inputs = ("source_tokens",)
        outputs = ("source_entities",)

        def settings(self) -> dict[str, Any]:
            return {}

        def __call__(self, table: pa.Table) -> pa.Table:
            entity = {"start": 0, "end": 1, "label": "PER", "score": 1.0}
            return record.with_column(table, "source_entities", [[entity]] * table.num_rows)

    monkeypatch.setattr(methods, "preparation", lambda *_: [Names(), flaky])
    pairs = many(4)
    job = own_ids(tmp_path, pairs, [11, 22, 33, 44])
    first, before = done(job)
    assert [row["id"] for row in before] == [11, 22, 33, 44]
    (flaky.folder / "seen").unlink()
    pairs[1] = NEW
    result, rows = done(own_ids(tmp_path, pairs, [11, 22, 33, 44]))
    assert flaky.seen() == [22]
    assert [part.computed for part in result.parts] == [1, 1]
    assert result.run.folder == first.run.folder
    assert rows[1]["target_text"] == plain(NEW.target)
    assert [rows[n] for n in (0, 2, 3)] == [before[n] for n in (0, 2, 3)]
    # And back again for nothing.
    back, rows = done(own_ids(tmp_path, many(4), [11, 22, 33, 44]))
    assert (back.computed, rows) == (0, before)
    # Ids that change places are other rows.
    assert done(own_ids(tmp_path, many(4), [22, 11, 33, 44]))[0].computed == 2


def test_a_file_that_is_added_to_a_list_is_a_refresh(bitext: Bitext, tmp_path: Path) -> None:
    first, before = done(bitext())
    job = bitext([NEW])
    for key, file in (("source", "source.conll"), ("target", "target.txt")):
        (tmp_path / "corpus" / f"new-{file}").write_text((tmp_path / "corpus" / file).read_text())
        job["corpus"][key] = [file, f"new-{file}"]
    (tmp_path / "corpus" / "new-links").write_text(NEW.links)
    job["corpus"]["links"] = ["links.pharaoh", "new-links"]
    bitext()
    result, rows = done(job)
    check(rows, [*PAIRS, NEW])
    assert (result.computed, result.run.folder) == (1, first.run.folder)
    assert rows[:-1] == before
    more, rows = done({**job, "corpus": job["corpus"] | {"limit": 2}})
    assert (more.computed, len(rows)) == (0, 2)


def test_another_corpus_does_not_drive_out_a_run(bitext: Bitext, tmp_path: Path) -> None:
    first, _ = done(bitext())
    job = bitext(many(2))
    for key, file in (("source", "source.conll"), ("target", "target.txt")):
        (tmp_path / "corpus" / file).rename(tmp_path / "corpus" / f"other-{file}")
        job["corpus"][key] = f"other-{file}"
    (tmp_path / "corpus" / "other").write_text("".join(f"{p.links}\n" for p in many(2)))
    job["corpus"]["links"] = "other"
    with pytest.raises(JobError, match=r"holds another corpus \(.*source.conll.*\), of which this"):
        done(job)
    assert first.run.snapshots() == [1]
    # What came under other names before has rows in common.
    (tmp_path / "corpus" / "other-source.conll").write_text(conll([p.source for p in PAIRS]))
    (tmp_path / "corpus" / "other-target.txt").write_text(
        "".join(f"{plain(p.target)}\n" for p in PAIRS)
    )
    (tmp_path / "corpus" / "other").write_text("".join(f"{p.links}\n" for p in PAIRS))
    assert done(job)[0].computed == 0
    # So has what was replaced, all of it, in its place.
    assert done(bitext(many(3)))[0].snapshot.rows == 3


def test_a_job_with_models_and_nothing_to_do_starts_nothing(
    bitext: Bitext, demo_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = without_links(bitext())
    # What its `device: auto` means, only a Ray can tell.
    job["align"] = {"engine": "encoder", "model": str(demo_models.encoder), "layer": 1}
    assert done(job)[0].computed == 5

    def refuse(*_: object) -> None:
        raise AssertionError("Ray was asked for")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "session", refuse)
        assert done(job)[0].computed == 0
        # Sentences that left are no reason either.
        bitext(PAIRS[:3])
        assert done(job)[0].snapshot.rows == 3
        with pytest.raises(AssertionError, match="Ray was asked for"):
            done(without_links(bitext([NEW])) | {"align": job["align"]})
        # Neither what the code settled before it was changed, nor with another model, is believed.
        patch.setattr(settled, "_code", lambda: "other")
        with pytest.raises(AssertionError, match="Ray was asked for"):
            done(job)
    bitext([*PAIRS, NEW])
    assert done(job)[0].computed == 1


def test_the_command_says_what_is_new(
    bitext: Bitext, job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(bitext())

    def refresh(*options: str) -> Any:
        assert cli.main(["refresh", str(path), *options]) == 0
        return capsys.readouterr().out

    assert refresh().startswith("first snapshot: 5 rows; 5 computed now in ")
    assert refresh().startswith("nothing has changed: snapshot 1 stays, 5 rows; 0 computed now in ")
    bitext([*PAIRS[1:], NEW])
    out = json.loads(refresh("--json", "--gc", "1"))
    counts = {key: out[key] for key in ("added", "removed", "changed", "same", "computed", "rows")}
    # The first sentence is the last one, too, and so keeps its id there.
    assert counts == {
        "added": 1,
        "removed": 1,
        "changed": 0,
        "same": 4,
        "computed": 1,
        "rows": 5,
    }
    assert (out["snapshot"], out["published"]) == (2, True)
    assert [each["snapshots"] for each in out["collected"]] == [[1]]
    assert json.loads(refresh("--json"))["published"] is False

    assert cli.main(["snapshots", out["run"]]) == 0
    assert "corpus" in capsys.readouterr().out
    assert cli.main(["snapshots", out["run"], "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert (only["number"], only["rows"], only["statuses"]) == (2, 5, {"ok": 5})
    bitext()
    refresh()
    assert cli.main(["diff", out["run"], "2", "3"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("snapshot 2 to 3: 1 added, 1 removed, 0 changed, 4 same\n")
    assert f"  removed  target.txt:4  ok  {plain(NEW.target)}" in told
    assert cli.main(["diff", out["run"], "2", "3", "--json", "--examples", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 1
    assert cli.main(["gc", out["run"], "--keep", "1"]) == 0
    assert "removed 1 snapshots" in capsys.readouterr().out
    assert cli.main(["diff", out["run"], "2", "3"]) == 2
    assert "has no snapshot 2; there are 3" in capsys.readouterr().err
