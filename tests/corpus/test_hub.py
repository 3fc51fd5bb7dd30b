"""Data sets that `datasets` saved in a folder, and those of the hub, without a network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projner import config
from projner.corpus import index as corpus_index
from projner.errors import JobError

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]

COLUMNS = {"source_tokens": "tokens", "source_tags": "ner_tags"}
TOKENS = [["EU", "said"], ["no"], ["Anna", "B", "left"]] * 5
TAGS = [["B-ORG", "O"], ["O"], ["B-PER", "I-PER", "O"]] * 5
NAMES = ["O", "B-PER", "I-PER", "B-ORG"]


@pytest.fixture
def dataset() -> Any:
    datasets = pytest.importorskip("datasets", reason="needs the extra projner[hub]")
    tags = datasets.ClassLabel(names=NAMES)
    features = {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(tags)}
    rows = {"tokens": TOKENS, "ner_tags": [[NAMES.index(tag) for tag in row] for row in TAGS]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def check(table: pa.Table) -> None:
    assert table["source_tokens"].to_pylist() == TOKENS
    found = [
        [(entity["start"], entity["end"], entity["label"]) for entity in row]
        for row in table["source_entities"].to_pylist()
    ]
    assert found == [[(0, 1, "ORG")], [], [(0, 2, "PER")]] * 5


@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_a_folder_and_a_split_of_it(
    corpus: Build, read_all: ReadAll, tmp_path: Path, dataset: Any, chunk_rows: int
) -> None:
    import datasets

    dataset.save_to_disk(tmp_path / "alone")
    datasets.DatasetDict(dev=dataset).save_to_disk(tmp_path / "splits")
    settings: dict[str, Any] = {"format": "hub", "columns": COLUMNS}
    check(read_all(corpus({}, **settings, path="alone"), chunk_rows))
    check(read_all(corpus({}, **settings, path="splits", data_split="dev"), chunk_rows))
    with pytest.raises(JobError, match=r"has no split 'train', only dev; set corpus.data_split"):
        corpus_index.index(corpus({}, **settings, path="splits"))


def test_parquet_that_datasets_wrote_names_its_tags(
    corpus: Build, read_all: ReadAll, tmp_path: Path, dataset: Any
) -> None:
    dataset.to_parquet(tmp_path / "p")
    assert pq.read_schema(tmp_path / "p").field("ner_tags").type.value_type == pa.int64()
    check(read_all(corpus({}, format="parquet", path="p", columns=COLUMNS)))


@pytest.mark.parametrize("known", [True, False])
def test_a_data_set_of_the_hub_is_streamed(
    corpus: Build,
    read_all: ReadAll,
    dataset: Any,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    import datasets

    asked: list[Any] = []

    def load(*names: Any, **settings: Any) -> Any:
        asked.append((names, settings))
        if known:
            return dataset.to_iterable_dataset()
        rows = [{"tokens": t, "ner_tags": n} for t, n in zip(TOKENS, TAGS, strict=True)]
        return datasets.IterableDataset.from_generator(lambda: iter(rows))

    monkeypatch.setattr(datasets, "load_dataset", load)
    settings: dict[str, Any] = {"path": "some/name", "name": "sw", "revision": "v1"}
    check(read_all(corpus({}, format="hub", columns=COLUMNS, data_split="dev", **settings)))
    expected = {"split": "dev", "revision": "v1", "streaming": True}
    assert all(item == (("some/name", "sw"), expected) for item in asked)


def test_what_the_hub_says_is_passed_on(
    corpus: Build, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def load(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("no such data set\nand so on")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(JobError, match=r"^a/b: cannot be loaded \(FileNotFoundError: no such data"):
        corpus_index.index(corpus({}, format="hub", path="a/b"))


def test_a_missing_package_is_named(corpus: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(JobError, match=r"pip install 'projner\[hub\]'"):
        corpus_index.index(corpus({}, format="hub", path="a/b"))
