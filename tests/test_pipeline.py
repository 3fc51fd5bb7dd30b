"""Whole jobs on a real Ray: what comes out, what is done again, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projner import config, methods, pipeline, record
from projner.corpus import index as corpus_index
from projner.errors import JobError
from projner.runs import lease
from projner.runs import run as runs
from projner.stage import Stage
from projner.tags import Span, to_tags
from tests.conftest import PAIRS, Pair, labelled

Bitext = Callable[..., dict[str, Any]]
Row = dict[str, Any]

pytestmark = pytest.mark.usefixtures("ray_session")

NEW = Pair("[LOC Nairobi] grew .", "[LOC Nairobi] ilikua .", "0-0 1-1 2-2")


def done(job: dict[str, Any]) -> tuple[pipeline.Result, list[Row]]:
    """The result of a job and its rows in corpus order."""
    result = pipeline.project(config.build(job))
    return result, result.run.read(result.snapshot).to_pylist()


def many(count: int) -> list[Pair]:
    """Pairs that differ from each other."""
    return [
        Pair(
            f"[PER Ada{n}] met [LOC Rome] .", f"[PER Ada{n}] alikutana [LOC Roma] .", "0-0 1-1 2-2"
        )
        for n in range(count)
    ]


def check(rows: list[Row], pairs: list[Pair] | tuple[Pair, ...]) -> None:
    """That the rows are those pairs, in order, with their targets' labels."""
    assert len(rows) == len(pairs)
    for row, pair in zip(rows, pairs, strict=True):
        words, spans = labelled(pair.target)
        assert row["source_tokens"] == labelled(pair.source)[0]
        assert row["tokens"] == row["target_tokens"] == words
        assert row["ner_tags"] == to_tags(spans, len(words))
        assert (row["status"], row["status_detail"]) == ("ok", None)
        found = [Span(e["start"], e["end"], e["label"]) for e in row["target_entities"]]
        assert found == spans
    assert len({row["id"] for row in rows}) == len(rows)


def test_every_row_comes_out_labelled_and_in_order(bitext: Bitext) -> None:
    result, rows = done(bitext())
    check(rows, PAIRS)
    assert result.computed == len(PAIRS)
    assert result.snapshot.statuses == {"ok": len(PAIRS)}
    assert result.snapshot.entities == {"LOC": 3, "ORG": 1, "PER": 3}
    assert result.snapshot.signature.startswith("schema:")
    assert [row["origin"] for row in rows] == [
        {"file": "target.txt", "index": number} for number in range(len(PAIRS))
    ]
    assert {row["source_lang"] for row in rows} == {"eng_Latn"}
    assert {row["target_lang"] for row in rows} == {"swh_Latn"}


def test_shards_are_parquet_of_the_record_alone(bitext: Bitext) -> None:
    result, _ = done(bitext())
    for name in result.snapshot.shards:
        schema = pq.read_schema(result.run.folder / "data" / name)
        assert schema.names == [column for column in record.COLUMNS if column in schema.names]
        for field in schema:
            assert field.type.equals(record.COLUMNS[field.name]), field.name
        assert schema.metadata[b"projner.schema_version"] == str(record.SCHEMA_VERSION).encode()
        assert {"tokens", "ner_tags"} <= set(schema.names)
    folder = Path(result.run.folder)
    left = {path.name for path in folder.iterdir()}
    assert left == {"data", "index", "job.yaml", "lease", "snapshots", "steps"}
    assert not list(folder.rglob(".*"))


def test_a_trainer_reads_a_run_as_it_is(bitext: Bitext, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    result, _ = done(bitext())
    files = [str(result.run.folder / "data" / name) for name in result.snapshot.shards]
    found = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    expected = sorted(labelled(pair.target)[0] for pair in PAIRS)
    assert sorted(found["tokens"]) == expected
    assert all(len(row["tokens"]) == len(row["ner_tags"]) for row in found)


@pytest.mark.parametrize("method", methods.usable())
def test_a_job_gives_what_its_stages_give_in_one_process(bitext: Bitext, method: str) -> None:
    job = config.build(bitext(list(PAIRS) * 3)).model_copy(
        update={"project": methods.named(method)}
    )
    index = corpus_index.index(job.corpus)
    (chunk,) = index.chunks
    table = corpus_index.read(job.corpus, chunk, index.ids)
    expected = methods.apply(methods.projection_stages(job.project), table)
    result = pipeline.project(job)
    rows = result.run.read(result.snapshot)
    assert rows.to_pylist() == expected.select(rows.column_names).to_pylist()


def test_what_was_done_is_not_done_again(bitext: Bitext) -> None:
    first, before = done(bitext())
    again, rows = done(bitext())
    assert (again.computed, again.snapshot) == (0, first.snapshot)
    assert rows == before


def test_nothing_to_do_starts_nothing(bitext: Bitext, monkeypatch: pytest.MonkeyPatch) -> None:
    done(bitext())

    def refuse(*_: object) -> None:
        raise AssertionError("Ray was asked for")

    monkeypatch.setattr(pipeline, "session", refuse)
    monkeypatch.setattr(pipeline, "_compute", refuse)
    result, rows = done(bitext())
    assert result.computed == 0
    check(rows, PAIRS)


def test_only_new_lines_are_computed_wherever_they_stand(bitext: Bitext) -> None:
    first, before = done(bitext())
    pairs = [*PAIRS[:2], NEW, *PAIRS[2:]]
    result, rows = done(bitext(pairs))
    check(rows, pairs)
    assert result.computed == 1
    assert result.run.folder == first.run.folder
    assert result.snapshot.number == 2
    assert rows[:2] + rows[3:] == before
    places = result.run.index(result.snapshot)
    assert places["id"].to_pylist() == [row["id"] for row in rows]
    assert places["position"].to_pylist() == list(range(len(pairs)))


def test_a_repeated_line_is_a_new_one(bitext: Bitext) -> None:
    done(bitext())
    result, rows = done(bitext([*PAIRS, PAIRS[0]]))
    check(rows, [*PAIRS, PAIRS[0]])
    assert result.computed == 1


def test_removed_lines_leave_the_snapshot_and_come_back_for_nothing(bitext: Bitext) -> None:
    done(bitext())
    result, rows = done(bitext(PAIRS[1:4]))
    check(rows, PAIRS[1:4])
    assert (result.computed, result.snapshot.rows) == (0, 3)
    back, rows = done(bitext())
    check(rows, PAIRS)
    assert (back.computed, back.snapshot.number) == (0, 3)


def test_another_order_is_another_snapshot(bitext: Bitext) -> None:
    done(bitext())
    result, rows = done(bitext(PAIRS[:4][::-1]))
    check(rows, PAIRS[:4][::-1])
    assert (result.computed, result.snapshot.number) == (0, 2)


def test_changed_labels_and_links_are_computed_anew(bitext: Bitext) -> None:
    done(bitext())
    changed = PAIRS[2]._replace(source=PAIRS[2].source.replace("LOC", "ORG"))
    result, rows = done(bitext([*PAIRS[:2], changed, *PAIRS[3:]]))
    assert result.computed == 1
    assert rows[2]["ner_tags"] == ["B-PER", "I-PER", "O", "B-ORG", "O"]
    moved = PAIRS[0]._replace(links="0-0")
    assert done(bitext([moved, *PAIRS[1:]]))[0].computed == 1


def test_other_settings_are_another_run(bitext: Bitext) -> None:
    job = bitext()
    first, _ = done(job)
    other, rows = done({**job, "project": {"method": "heuristic"}})
    check(rows, PAIRS)
    assert other.computed == len(PAIRS)
    assert other.run.folder != first.run.folder
    assert other.run.folder.parent == first.run.folder.parent
    same, _ = done({**job, "resources": {"shard_rows": 1}})
    assert (same.computed, same.run.folder) == (0, first.run.folder)
    with pytest.raises(JobError, match="holds several runs"):
        runs.find(job["output"])


def test_empty_and_invalid_rows_come_out_with_a_reason(bitext: Bitext) -> None:
    pairs = [PAIRS[0], Pair("[PER Ada] left .", "", ""), PAIRS[2]]
    result, rows = done(bitext(pairs))
    assert [row["status"] for row in rows] == ["ok", "empty", "ok"]
    assert rows[1]["status_detail"] == "the target side has no words"
    assert rows[1]["ner_tags"] is rows[1]["tokens"] is None
    assert result.snapshot.statuses == {"empty": 1, "ok": 2}


def test_a_corpus_in_which_nothing_is_ok(bitext: Bitext) -> None:
    result, rows = done(bitext([Pair("[PER Ada] left .", "", "")]))
    assert [row["status"] for row in rows] == ["empty"]
    assert result.snapshot.entities == {}


SPOILT = {"tag": 1, "link": 3, "byte": 4}
"""What `spoil` makes bad, and in which row."""


def spoil(job: dict[str, Any], *kinds: str) -> dict[str, Any]:
    folder = Path(job["corpus"]["root"])
    replaced = {
        "tag": ("source.conll", b"rained O", b"rained X-PER"),
        "link": ("links.pharaoh", b"3-2 4-3", b"3-2 4-99"),
        "byte": ("target.txt", b"alikutana Roma .\n", b"alikutana Rom\xff .\n"),
    }
    for kind in kinds or SPOILT:
        name, good, bad = replaced[kind]
        before, _, after = (folder / name).read_bytes().rpartition(good)
        (folder / name).write_bytes(before + bad + after)
    return job


def test_bad_rows_stop_a_job_before_anything_is_written(bitext: Bitext, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"corpus/source.conll:7: 'X-PER' is not a tag"):
        done(spoil(bitext()))
    assert not (tmp_path / "out").exists()


def test_bad_rows_become_a_status_where_that_is_asked_for(bitext: Bitext) -> None:
    result, rows = done(spoil(bitext(on_error="status")))
    assert [row["status"] for row in rows] == ["ok", "invalid", "ok", "invalid", "invalid"]
    assert result.snapshot.statuses == {"invalid": 3, "ok": 2}
    for number, words in (
        (1, "'X-PER' is not a tag"),
        (3, "link 4-99"),
        (4, "byte 18 (0xff) is not UTF-8"),
    ):
        assert words in rows[number]["status_detail"]
        assert rows[number]["ner_tags"] is None
    assert rows[2]["ner_tags"] == ["B-PER", "I-PER", "O", "B-LOC", "O"]


@pytest.mark.parametrize("kind", SPOILT)
def test_a_mended_row_is_computed_again(bitext: Bitext, kind: str) -> None:
    _, rows = done(spoil(bitext(on_error="status"), kind))
    assert rows[SPOILT[kind]]["status"] == "invalid"
    result, rows = done(bitext(on_error="status"))
    check(rows, PAIRS)
    assert result.computed == 1


def test_a_row_that_breaks_a_stage_costs_only_itself(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Stage):
        name: ClassVar[str] = "breaks"
        inputs = ("target_tokens",)
        outputs = ("surface_links",)

        def settings(self) -> dict[str, Any]:
            return {}

        def __call__(self, table: pa.Table) -> pa.Table:
            if ["Ada1", "alikutana", "Roma", "."] in table["target_tokens"].to_pylist():
                raise ZeroDivisionError("not with her")
            return record.with_column(table, "surface_links", [[] for _ in range(table.num_rows)])

    chosen = methods.projection_stages(config.Project(surface=None))
    monkeypatch.setattr(methods, "projection_stages", lambda *_: [Breaks(), *chosen])
    result, rows = done(bitext(many(5)))
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok", "ok"]
    assert rows[1]["status_detail"] == "breaks: ZeroDivisionError: not with her"
    assert rows[1]["tokens"] is rows[1]["ner_tags"] is None
    assert rows[4]["ner_tags"] == ["B-PER", "O", "B-LOC", "O"]
    assert result.snapshot.statuses == {"error": 1, "ok": 4}


@pytest.mark.parametrize("shard_rows", [1, 4])
def test_shards_hold_no_more_rows_than_asked(bitext: Bitext, shard_rows: int) -> None:
    pairs = many(11)
    result, rows = done({**bitext(pairs), "resources": {"shard_rows": shard_rows}})
    check(rows, pairs)
    assert len(result.snapshot.shards) >= 11 / shard_rows
    for name in result.snapshot.shards:
        shard = pq.read_metadata(result.run.folder / "data" / name)
        assert 1 <= shard.num_rows <= shard_rows


def test_a_job_that_died_goes_on_with_what_is_missing(bitext: Bitext) -> None:
    job = {**bitext(many(9)), "resources": {"shard_rows": 2}}
    first, _ = done(job)
    folder = Path(first.run.folder)
    lost = folder / "data" / first.snapshot.shards[1]
    missing = pq.read_metadata(lost).num_rows
    lost.unlink()
    for path in (folder / "snapshots").iterdir():
        path.unlink()
    (folder / "data" / ".0123.parquet.4567").write_bytes(b"PAR1 torn")
    result, rows = done(job)
    check(rows, many(9))
    assert result.computed == missing


def test_prepared_columns_are_kept_when_another_method_is_tried(bitext: Bitext) -> None:
    job = bitext()
    del job["corpus"]["links"]
    job["align"] = {"engine": "surface"}
    first, rows = done(job)
    assert list(first.seconds) == ["surface", "project"]
    assert [part.computed for part in first.parts] == [len(PAIRS), len(PAIRS)]
    # Each row counts once, however many runs it went through.
    assert first.computed == len(PAIRS)
    assert all(row["links"] is not None for row in rows)
    assert rows[0]["ner_tags"] == ["B-PER", "O", "B-LOC", "O"]
    assert first.snapshot.parent is not None
    other, _ = done({**job, "project": {"method": "span"}})
    assert [part.computed for part in other.parts] == [0, len(PAIRS)]
    assert other.snapshot.parent == first.snapshot.parent
    assert runs.find(first.run.folder).latest() == first.snapshot
    more, rows = done(job | {"corpus": bitext([NEW, *PAIRS])["corpus"] | {"links": []}})
    assert [part.computed for part in more.parts] == [1, 1]
    assert rows[0]["ner_tags"] == ["B-LOC", "O", "O"]


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("names", ["*", "folder", "list"])
def test_several_files_by_glob_folder_or_list_packed_or_not(
    bitext: Bitext, tmp_path: Path, ending: str, names: str
) -> None:
    job = bitext([*PAIRS, NEW])
    root = tmp_path / "corpus"
    parts = {"part-1": PAIRS, "part-2": [NEW]}
    for key, file in (
        ("source", "source.conll"),
        ("target", "target.txt"),
        ("links", "links.pharaoh"),
    ):
        (root / key).mkdir()
        for part, pairs in parts.items():
            bitext(pairs)
            content = (root / file).read_bytes()
            path = root / key / f"{part}{Path(file).suffix}{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)
        every = [f"{key}/{path.name}" for path in sorted((root / key).iterdir())]
        job["corpus"][key] = {"*": f"{key}/*", "folder": key, "list": every}[names]
    _, rows = done(job)
    assert [row["ner_tags"] for row in rows] == [
        to_tags(spans, len(words)) for words, spans in (labelled(p.target) for p in [*PAIRS, NEW])
    ]
    origins = [(row["origin"]["file"], row["origin"]["index"]) for row in rows]
    assert origins == [
        *((f"target/part-1.txt{ending}", number) for number in range(len(PAIRS))),
        (f"target/part-2.txt{ending}", 0),
    ]


LONG = 600
ODD = {
    "one word": (Pair("[LOC Rome]", "[LOC Roma]", "0-0"), {}),
    "no links": (Pair("[LOC Rome] fell", "[LOC Roma] ilianguka", ""), {}),
    "repeated links": (Pair("[LOC Rome] fell", "[LOC Roma] ilianguka", "0-0 0-0 1-1 0-0"), {}),
    "Arabic": (
        Pair("[PER Ada] came to [LOC Rome]", "وصلت [PER آدا] إلى [LOC روما]", "0-1 1-0 2-2 3-3"),
        {"target_lang": "arb_Arab"},
    ),
    "Chinese": (
        Pair("[LOC Rome] fell .", "[LOC 罗 马] 陷 落 。", "0-0 0-1 1-2 1-3 2-4"),
        {"target_lang": "zho_Hans"},
    ),
    "emoji": (Pair("[LOC Rome] 😀 !", "👩‍👩‍👧 [LOC Roma] 🇮🇹", "0-1 1-0"), {}),
    "combining marks": (
        Pair("[LOC Ẹdo] fell", "[LOC Ẹ\u0301dó] ṣubú", "0-0 1-1"),
        {"target_lang": "yo"},
    ),
    "600 words": (
        Pair(
            " ".join(f"a{n} [LOC Rome{n}] b" for n in range(LONG // 3)),
            " ".join(f"c{n} [LOC Roma{n}] d" for n in range(LONG // 3)),
            " ".join(f"{n}-{n}" for n in range(LONG)),
        ),
        {},
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_sentences(bitext: Bitext, kind: str) -> None:
    pair, settings = ODD[kind]
    pairs = [PAIRS[0], pair, pair, PAIRS[1]]
    _, rows = done(bitext(pairs, **settings))
    check(rows, pairs)


def test_unsplit_chinese_is_split_by_the_rule_of_its_language(bitext: Bitext) -> None:
    pair = Pair("[LOC Rome] fell .", "罗马陷落。", "0-0 0-1 1-2 1-3 2-4")
    _, (row,) = done(bitext([pair], target_lang="zho_Hans", split="words"))
    assert row["tokens"] == ["罗", "马", "陷", "落", "。"]
    assert row["ner_tags"] == ["B-LOC", "I-LOC", "O", "O", "O"]
    assert row["target_text"] == pair.target


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("last", [True, False])
def test_files_from_other_systems(
    bitext: Bitext, tmp_path: Path, ending: str, mark: str, last: bool
) -> None:
    job = bitext()
    for path in (tmp_path / "corpus").iterdir():
        text = path.read_text(encoding="utf-8")
        text = text if last else text.rstrip("\n")
        path.write_bytes((mark + text.replace("\n", ending)).encode())
    _, rows = done(job)
    check(rows, PAIRS)


def test_relative_paths_are_meant_where_the_command_runs(
    bitext: Bitext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers of a cluster that is joined are elsewhere, as those of this Ray are.
    job = bitext()
    monkeypatch.chdir(tmp_path / "corpus")
    del job["corpus"]["root"]
    _, rows = done(job | {"output": "runs-here"})
    check(rows, PAIRS)
    assert {row["origin"]["file"] for row in rows} == {"target.txt"}
    assert (tmp_path / "corpus" / "runs-here").is_dir()


def test_a_run_has_one_writer(bitext: Bitext) -> None:
    first, _ = done(bitext())
    with lease.hold(first.run.folder):
        # Reading needs no lease.
        assert done(bitext())[0].computed == 0
        with pytest.raises(JobError, match=r"has been writing here for \d+ s .*; wait for it"):
            done(bitext([*PAIRS, NEW]))
    result, rows = done(bitext([*PAIRS, NEW]))
    check(rows, [*PAIRS, NEW])
    assert result.computed == 1


def test_a_file_that_changes_while_a_job_reads_it_is_refused(
    bitext: Bitext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bitext()
    index = corpus_index.index

    def then_cut(*arguments: Any) -> corpus_index.Index:
        found = index(*arguments)
        path = tmp_path / "corpus" / "target.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
        return found

    monkeypatch.setattr(pipeline.corpora, "index", then_cut)
    path = tmp_path / "corpus" / "target.txt"
    with pytest.raises(JobError) as refused:
        done(job)
    assert str(refused.value) == f"{path}: has changed since it was read first; start again"
    monkeypatch.undo()
    assert runs.Run(next((tmp_path / "out" / "runs").iterdir())).latest() is None
    _, rows = done(bitext())
    check(rows, PAIRS)


@pytest.mark.parametrize("where", ["setup", "write"])
def test_what_a_worker_asks_the_user_to_mend_is_one_line(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Refuses(Stage):
        name: ClassVar[str] = "refuses"
        room: ClassVar[str | None] = "align"
        inputs = ("target_tokens",)
        outputs = ("links",)

        def settings(self) -> dict[str, Any]:
            return {}

        def setup(self, cpus: float | None = None) -> None:
            raise JobError("no such model; give another")

        def __call__(self, table: pa.Table) -> pa.Table:
            return table

    def refuse(*_: object) -> None:
        raise JobError("no such model; give another")

    job = bitext()
    if where == "write":
        monkeypatch.setattr(pipeline, "_write", refuse)
    else:
        monkeypatch.setattr(methods, "preparation", lambda *_: [Refuses()])
        del job["corpus"]["links"]
    with pytest.raises(JobError) as refused:
        done(job)
    assert str(refused.value) == "no such model; give another"


def test_no_output_and_no_place_for_it(bitext: Bitext, tmp_path: Path) -> None:
    job = bitext()
    with pytest.raises(JobError, match="the job has no `output`; add one, or give --output DIR"):
        done({"corpus": job["corpus"]})
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="file: is a file, not a folder; give another --output"):
        done({**job, "output": str(tmp_path / "file")})


def test_a_folder_with_another_run_in_it_is_refused(bitext: Bitext) -> None:
    first, _ = done(bitext())
    settings = Path(first.run.folder, "job.yaml")
    settings.write_text(settings.read_text().replace("swh_Latn", "hau_Latn"))
    with pytest.raises(JobError, match=r"made with other settings \(corpus.target_lang\)"):
        done(bitext([*PAIRS, NEW]))


@pytest.mark.slow
def test_news_with_links_of_an_aligner_that_learns(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("eflomal", reason="needs the extra projner[eflomal]")
    corpus = {
        "format": "bitext",
        "root": str(shared_data / "lafand" / "en-swa"),
        "source": "train.en.predicted.conll",
        "target": "train.swa",
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
        "limit": 1500,
    }
    job: dict[str, Any] = {
        "corpus": corpus,
        "align": {"engine": "eflomal"},
        "output": str(tmp_path / "out"),
    }
    result, rows = done(job)
    assert len(rows) == len({row["id"] for row in rows}) == 1500
    assert sum(result.snapshot.statuses.values()) == 1500
    good = [row for row in rows if row["status"] == "ok"]
    assert len(good) > 1490
    entities = sum(len(row["source_entities"]) for row in good)
    assert sum(result.snapshot.entities.values()) > 0.8 * entities
    # What was sampled stays.
    other, again = done({**job, "project": {"method": "span"}})
    assert other.computed == 1500
    assert [row["links"] for row in again] == [row["links"] for row in rows]
