"""Whole jobs whose corpora and runs are in an object store, on a real Ray."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from projner import config, methods, record, storage
from projner.errors import JobError
from projner.evaluate import f1
from projner.runs import history, lease
from projner.runs import run as runs
from projner.stage import Stage
from tests.conftest import PAIRS, labelled
from tests.test_pipeline import NEW, Bitext, check, done, many

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def in_s3(bitext: Bitext, s3: str) -> Bitext:
    """Like `bitext`, with the corpus and the output in a bucket."""

    def write(*given: Any, **settings: Any) -> dict[str, Any]:
        job = bitext(*given, **settings)
        for path in Path(job["corpus"]["root"]).iterdir():
            (storage.at(s3) / "corpus" / path.name).write(path.read_bytes())
        job["corpus"]["root"] = f"{s3}/corpus"
        return {**job, "output": f"{s3}/out"}

    return write


def test_a_job_is_run_refreshed_read_and_collected(in_s3: Bitext, tmp_path: Path) -> None:
    job = in_s3() | {"resources": {"shard_rows": 2}}
    first, rows = done(job)
    check(rows, PAIRS)
    assert first.computed == 5
    assert str(first.run.folder).startswith("s3://projner-")
    assert done(job)[0].computed == 0

    in_s3([*PAIRS[1:], NEW])
    result, rows = done(job)
    check(rows, [*PAIRS[1:], NEW])
    assert (result.computed, result.snapshot.number) == (1, 2)
    assert runs.find(job["output"]).folder == first.run.folder
    labels = f1.read_labelled(job["output"])
    assert labels.tokens == [labelled(pair.target)[0] for pair in [*PAIRS[1:], NEW]]
    assert history.diff(result.run, first.snapshot, result.snapshot).added == 1
    (taken,) = history.collect(job["output"], keep=1)
    assert (taken.snapshots, taken.shards) == ([1], 1)
    assert done(job)[1] == rows
    # Nothing of it is on this machine.
    assert {path.name for path in tmp_path.iterdir()} <= {"corpus"}


def test_a_job_that_was_killed_goes_on(in_s3: Bitext, monkeypatch: pytest.MonkeyPatch) -> None:
    job = in_s3(many(9)) | {"resources": {"shard_rows": 2}}
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            done(job)
    (run,) = (
        runs.Run(storage.at(job["output"]) / "runs" / name)
        for name in (storage.at(job["output"]) / "runs").folders()
    )
    assert run.latest() is None
    names = list((run.folder / "data").files())
    (run.folder / "data" / names[0]).remove()
    result, rows = done(job)
    check(rows, many(9))
    assert result.computed == 2


def test_the_second_of_two_jobs_is_refused(in_s3: Bitext) -> None:
    job = in_s3()
    first, _ = done(job)
    in_s3([*PAIRS, NEW])
    with lease.hold(first.run.folder):
        with pytest.raises(JobError, match=r"has been writing here for \d+ s"):
            done(job)
        with pytest.raises(JobError, match=r"has been writing here for \d+ s"):
            history.collect(job["output"], keep=1)
    assert done(job)[0].computed == 1


def test_a_lease_in_a_store_expires_and_is_taken_once(s3: str) -> None:
    folder = storage.at(s3)
    with lease.hold(folder, 60) as mine:
        # S3 tells whole seconds, and a busy machine may be late with a sign of life.
        time.sleep(10.1)
        start, tried = threading.Barrier(4), threading.Barrier(4)
        taken: list[bool] = []

        def take() -> None:
            start.wait()
            try:
                with lease.hold(folder, 10):
                    taken.append(True)
                    # Whoever came after it was released would win as well.
                    tried.wait(60)
            except JobError:
                taken.append(False)
                tried.wait(60)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False, False, False, True]
        with pytest.raises(JobError, match="took this one for dead"):
            mine.check()


class Counts(Stage):
    """Gives every row a link for each sentence that was learnt from."""

    name: ClassVar[str] = "counts"
    learns: ClassVar[bool] = True
    inputs = ("source_tokens",)
    outputs = ("links",)

    def __init__(self, folder: Path | None = None, room: str | None = None):
        self.folder = folder
        self.room = room  # type: ignore[misc]

    def settings(self) -> dict[str, Any]:
        return {}

    def learn(self, tables: Any, folder: Path) -> None:
        (folder / "count").write_text(str(sum(table.num_rows for table in tables)))

    def recall(self, folder: Path) -> Stage:
        return Counts(folder, self.room)

    def __call__(self, table: pa.Table) -> pa.Table:
        assert self.folder is not None
        count = int((self.folder / "count").read_text())
        link = {"source": 0, "target": 0, "score": 1.0}
        return record.with_column(table, "links", [[link] * count] * table.num_rows)


@pytest.mark.parametrize("room", [None, "align"])
def test_what_a_stage_learns_is_kept_in_the_store(
    in_s3: Bitext, monkeypatch: pytest.MonkeyPatch, room: str | None
) -> None:
    monkeypatch.setattr(methods, "preparation", lambda *_: [Counts(room=room)])
    job = in_s3()
    del job["corpus"]["links"]
    _, rows = done(job)
    assert {len(row["links"]) for row in rows} == {5}
    # It is not learnt again.
    in_s3([NEW, *PAIRS])
    _, rows = done(job)
    assert {len(row["links"]) for row in rows} == {5}


def test_globs_folders_packed_and_parquet_corpora(s3: str, tmp_path: Path) -> None:
    import gzip

    folder = storage.at(s3) / "corpus"
    (folder / "a.txt").write(b"one .\ntwo .\n")
    (folder / "b.txt.gz").write(gzip.compress(b"three .\n"))
    (folder / "in" / "c.txt").write(b"four .\n")
    (folder / ".hidden").write(b"x\n")
    (folder / "t.parquet").write_table(pa.table({"source_text": ["one .", "five ."]}))

    from projner.corpus import index as corpora

    def texts(format: str, root: str, *names: str) -> list[str]:
        key = "path" if format == "parquet" else "source"
        langs = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
        job = config.build({"corpus": {"format": format, key: names, "root": root, **langs}})
        index = corpora.index(job.corpus, 1)
        assert all("projner-" not in each.origin for c in index.chunks for each in c.stretches)
        return [
            text
            for chunk in index.chunks
            for text in corpora.read(
                job.corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows]
            )["source_text"].to_pylist()
        ]

    assert texts("text", str(folder), "*.txt", "b.txt.gz") == ["one .", "two .", "three ."]
    assert texts("text", s3, "corpus/in") == ["four ."]
    assert texts("parquet", str(folder), "t.parquet") == ["one .", "five ."]
    with pytest.raises(JobError, match=r"s3://.*/corpus/none: no such file; mend corpus.source"):
        texts("text", str(folder), "none")
