"""Filtering: which rows get which status, and that all of them come out."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import config, methods, pipeline, record, stage, words
from projner.errors import JobError
from projner.filter.stage import Filter
from projner.stage import Stage

SIDES = {"source": "eng_Latn", "target": "swh_Latn"}


def rows(*pairs: tuple[str, str], statuses: list[str] | None = None) -> pa.Table:
    """Sentence pairs, as a reader gives them."""
    columns: dict[str, Any] = {}
    for side, texts in zip(SIDES, zip(*pairs, strict=True), strict=True):
        columns[f"{side}_text"] = list(texts)
        columns[f"{side}_tokens"] = [words.words(text, SIDES[side]) for text in texts]
    columns["status"] = statuses or ["ok"] * len(pairs)
    columns["status_detail"] = [None] * len(pairs)
    return pa.table(columns, schema=record.schema(list(columns)))


def outcome(table: pa.Table) -> list[tuple[str, str | None]]:
    return list(zip(table["status"].to_pylist(), table["status_detail"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("ok", None)),
        ({"min_words": 2, "max_words": 4, "min_chars": 4, "max_chars": 9}, ("ok", None)),
        ({"max_words": 3}, ("too_long", "the source side has 4 words; filter.max_words is 3")),
        ({"min_words": 3}, ("filtered", "the target side has 2 words; filter.min_words is 3")),
        ({"max_chars": 8}, ("too_long", "the source side has 9 chars; filter.max_chars is 8")),
        ({"min_chars": 6}, ("filtered", "the target side has 4 chars; filter.min_chars is 6")),
        # The first reason is told.
        (
            {"min_words": 3, "max_chars": 8},
            ("too_long", "the source side has 9 chars; filter.max_chars is 8"),
        ),
    ],
)
def test_limits(settings: dict[str, int], expected: tuple[str, str | None]) -> None:
    # Four words of nine characters, and two of four.
    done = stage.run(Filter(config.Filter(**settings), SIDES), rows(("one 2 é !", "é na")))
    assert outcome(done) == [expected]


def test_only_the_sides_that_are_given_count() -> None:
    table = rows(("one two three", "moja"))
    chosen = config.Filter(max_words=2)
    assert outcome(stage.run(Filter(chosen, {"target": "swh_Latn"}), table)) == [("ok", None)]


@given(
    lengths=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1),
    least=st.integers(1, 4),
    most=st.integers(4, 6),
    statuses=st.data(),
)
def test_every_row_comes_out_in_its_place(
    lengths: list[tuple[int, int]], least: int, most: int, statuses: st.DataObject
) -> None:
    before = statuses.draw(
        st.lists(
            st.sampled_from(["ok", "empty", "invalid"]),
            min_size=len(lengths),
            max_size=len(lengths),
        )
    )
    table = rows(*((" ".join("a" * n), " ".join("b" * m)) for n, m in lengths), statuses=before)
    table = table.append_column("id", pa.array(range(len(lengths)), pa.int64()))
    done = stage.run(Filter(config.Filter(min_words=least, max_words=most), SIDES), table)
    assert done.drop_columns(["status", "status_detail"]).equals(
        table.drop_columns(["status", "status_detail"])
    )
    for (status, detail), was, pair in zip(outcome(done), before, lengths, strict=True):
        wrong = [n for n in pair if not least <= n <= most]
        if was != "ok" or not wrong:
            assert (status, detail) == (was, None)
        else:
            assert status == ("too_long" if wrong[0] > most else "filtered")
            assert f"has {wrong[0]} words" in (detail or "")


def test_sentences_in_another_language() -> None:
    table = rows(
        ("The children are playing in the garden.", "Watoto wanacheza bustanini leo asubuhi."),
        ("Watoto wanacheza bustanini leo asubuhi.", "Watoto wanacheza bustanini leo asubuhi."),
        ("The children are playing in the garden.", "The children are playing in the garden."),
        ("The children are playing in the garden.", "?!"),
    )
    chosen = Filter(config.Filter(language=config.Py3langid()), SIDES)
    done = stage.run(pickle.loads(pickle.dumps(chosen)), table)
    assert done["status"].to_pylist() == ["ok", "filtered", "filtered", "filtered"]
    details = done["status_detail"].to_pylist()
    expected = r"the source side is eng_Latn with probability 0\.0\d, and sw with [01]\.\d\d"
    assert re.fullmatch(expected, details[1])
    assert details[2].startswith("the target side is swh_Latn with probability 0.0")


def test_a_language_that_the_engine_cannot_tell() -> None:
    sides = {"source": "eng_Latn", "target": "bam_Latn"}
    chosen = config.Filter(language=config.Py3langid())
    with pytest.raises(JobError, match=r"py3langid cannot tell Bambara \(bam_Latn\); leave it out"):
        Filter(chosen, sides)
    # It need not be told where it is not given.
    assert Filter(chosen, {"source": "eng_Latn"}).sides == {"source": "eng_Latn"}


def test_a_model_that_can(fasttext_model: Callable[[Mapping[str, str]], Path]) -> None:
    path = fasttext_model({"ni": "bam_Latn", "sogoma": "bam_Latn", "yako": "swh_Latn"})
    language = config.FastText(engine="fasttext", model=str(path), min_score=0.9)
    chosen = Filter(config.Filter(language=language), {"target": "bam_Latn"})
    table = rows(("-", "ni sogoma"), ("-", "ni yako yako"), ("-", "yako"), ("-", "zzz"))
    assert outcome(stage.run(chosen, table)) == [
        ("ok", None),
        ("filtered", "the target side is bam_Latn with probability 0.06, and swh_Latn with 0.94"),
        ("filtered", "the target side is bam_Latn with probability 0.00, and swh_Latn with 1.00"),
        ("filtered", "the target side is bam_Latn with probability 0.00"),
    ]


def test_settings_tell_filters_apart() -> None:
    languages = {"source": "eng_Latn"}
    variants = [
        Filter(config.Filter(min_words=2), languages),
        Filter(config.Filter(min_words=3), languages),
        Filter(config.Filter(max_words=3), languages),
        Filter(config.Filter(min_words=2), SIDES),
        Filter(config.Filter(min_words=2, language=config.Py3langid()), languages),
        Filter(config.Filter(min_words=2, language=config.Py3langid(min_score=0.6)), languages),
    ]
    assert len({json.dumps(each.settings()) for each in variants}) == len(variants)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"min_words": 5, "max_words": 4}, "filter: min_words 5 is more than max_words 4"),
        ({"min_chars": 5, "max_chars": 4}, "filter: min_chars 5 is more than max_chars 4"),
        ({"language": {"engine": "fasttext"}}, "filter.language.model` is missing"),
        ({"language": {"engine": "py3langid", "model": "m"}}, "unknown key `model`"),
    ],
)
def test_what_a_job_file_may_not_say(section: dict[str, Any], message: str) -> None:
    corpus = {"format": "text", "target": "t", "source_lang": "en", "target_lang": "sw"}
    with pytest.raises(JobError, match=message):
        config.build({"corpus": corpus, "filter": section})


class Copy(Stage):
    """Stands for translation, labelling and alignment: the source side is the target side."""

    name: ClassVar[str] = "copy"
    inputs = ("target_tokens",)
    outputs = ("source_tokens", "source_entities", "links")

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        tokens = table["target_tokens"].to_pylist()
        links = [
            [{"source": n, "target": n, "score": 1.0} for n in range(len(row))] for row in tokens
        ]
        entities = [[{"start": 0, "end": 1, "label": "X", "score": 1.0}] for _ in tokens]
        table = record.with_column(table, "source_tokens", tokens)
        table = record.with_column(table, "source_entities", entities)
        return record.with_column(table, "links", links)


@pytest.mark.usefixtures("ray_session")
def test_a_job_over_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Ada alikutana. Ni.\n\nMvua ilinyesha sana leo asubuhi.", "", "Eva aliondoka."]
    lines = (json.dumps({"doc_id": f"d{n}", "target_text": text}) for n, text in enumerate(texts))
    (tmp_path / "news.jsonl").write_text("\n".join(lines))
    job = config.build(
        {
            "corpus": {
                "format": "jsonl",
                "path": "news.jsonl",
                "documents": True,
                "root": str(tmp_path),
                "source_lang": "eng_Latn",
                "target_lang": "swh_Latn",
            },
            "filter": {"min_words": 3, "max_words": 5},
            "output": str(tmp_path / "out"),
            "resources": {"shard_rows": 2},
        }
    )
    prepared = methods.preparation
    monkeypatch.setattr(methods, "preparation", lambda *given: [*prepared(*given), Copy()])
    result = pipeline.project(job)
    found = result.run.read(result.snapshot).to_pylist()
    assert [(row["doc"]["id"], row["doc"]["sentence"], row["status"]) for row in found] == [
        ("d0", 0, "ok"),
        ("d0", 1, "filtered"),
        ("d0", 2, "too_long"),
        ("d1", 0, "empty"),
        ("d2", 0, "ok"),
    ]
    assert [row["ner_tags"] for row in found] == [
        ["B-X", "O", "O"],
        None,
        None,
        None,
        ["B-X", "O", "O"],
    ]
    assert [row["origin"]["index"] for row in found] == [0, 0, 0, 1, 2]
    assert result.snapshot.statuses == {"empty": 1, "filtered": 1, "ok": 2, "too_long": 1}
    assert "filter.1:" in result.snapshot.signature
