"""Files on disks and in object stores: the same promises on each."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from projner import storage
from projner.errors import JobError
from projner.storage import Place

Folder = Callable[[], Place]


@pytest.fixture(params=["disk", "disk without links", "s3", "memory"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """An empty folder of each kind."""
    if request.param == "s3":
        return storage.at(request.getfixturevalue("s3")) / "folder"
    if request.param == "memory":
        return storage.at(f"memory://{tmp_path.name}")
    if request.param == "disk without links":

        def refuse(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
    return storage.at(tmp_path)


def test_files_are_written_read_listed_and_removed(folder: Place) -> None:
    folder.make()
    place = folder / "a"
    assert folder.files() == {}
    assert not place.is_file()
    with pytest.raises(FileNotFoundError):
        place.read()
    with pytest.raises(FileNotFoundError):
        place.modified()
    before = folder.now()
    place.write(b"one")
    place.write(pa.py_buffer(b"longer"))
    (folder / "b").write(b"")
    assert place.read() == b"longer"
    assert folder.files() == {"a": 6, "b": 0}
    assert place.is_file()
    assert not folder.is_file()
    # S3 counts in seconds.
    assert before - 1 <= place.modified() <= folder.now() + 1
    place.remove()
    place.remove()
    assert folder.files() == {"b": 0}


def test_folders_in_folders(folder: Place) -> None:
    inner = folder / "in" / "ner"
    inner.make()
    (inner / "x").write(b"1")
    (folder / "in" / "y").write(b"2")
    assert folder.folders() == ["in"]
    assert (folder / "in").folders() == ["ner"]
    assert (folder / "in").files() == {"y": 1}
    assert inner.is_folder()
    assert not (folder / "other").is_folder()
    assert (inner.name, inner.parent.name, inner.parent.parent) == ("ner", "in", folder)
    (folder / "in").remove_folder()
    (folder / "in").remove_folder()
    assert folder.folders() == []


def test_hidden_files_are_lost_ones(folder: Place) -> None:
    folder.make()
    (folder / ".torn").write(b"1")
    assert folder.files() == {}
    (lost,) = folder.lost()
    assert lost == folder / ".torn"
    lost.remove()
    assert folder.lost() == []


def test_what_is_created_has_one_winner(folder: Place) -> None:
    folder.make()
    start = threading.Barrier(8)
    won: list[int] = []

    def create(number: int) -> None:
        place = pickle.loads(pickle.dumps(folder / "one"))
        start.wait()
        if place.create(str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [(folder / "one").read()]
    assert not (folder / "one").create(b"later")
    assert folder.lost() == []


def test_parquet_in_parts(folder: Place) -> None:
    folder.make()
    table = pa.table({"id": [1, 2, 3], "text": ["a", None, "ć"]})
    (folder / "t").write_table(table)
    assert (folder / "t").read_table() == table
    assert (folder / "t").read_table(["text", "absent"]) == table.select(["text"])


def test_a_copy_on_this_machine(folder: Place, tmp_path: Path) -> None:
    (folder / "steps").make()
    (folder / "steps" / "a").write(b"1")
    for _ in range(2):
        copy = (folder / "steps").local(tmp_path / "cache")
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == {"a": b"1"}


def test_a_torn_write_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = storage.at(tmp_path) / "a"
    place.write(b"before")
    order: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(number: int) -> None:
        order.append("sync")
        sync(number)

    def replaced(a: object, b: object) -> None:
        order.append("rename")
        replace(a, b)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", replaced)
        place.write(b"after")
    # The content is on the disk before it has the name, and the name before anybody relies on it.
    assert order == ["sync", "rename", "sync"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                place.write(b"never")
        assert place.read() == b"after"
    assert os.listdir(tmp_path) == ["a"]


def test_a_client_that_asks_twice_has_won_once(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = storage.at(s3) / "lease"
    import s3fs

    pipe = s3fs.S3FileSystem.pipe_file

    def twice(self: object, *given: object, **options: object) -> None:
        pipe(self, *given, **options)
        pipe(self, *given, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "pipe_file", twice)
    assert place.create(b"mine")
    assert not place.create(b"yours")
    assert place.read() == b"mine"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/a/b", "/a/b"),
        ("/a/../b/", "/b"),
        ("file:///a/b", "/a/b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        (Path("/a"), "/a"),
    ],
)
def test_where_a_location_is(location: str | Path, url: str) -> None:
    assert str(storage.at(location)) == url
    assert os.path.isabs(storage.at("relative").url)


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("location", "bad"),
    [
        (f"s3://key:{SECRET}@bucket/x", True),
        (f"s3://key:{SECRET}/with/slashes@bucket/x", True),
        (f"s3://{SECRET}@bucket/x", True),
        (f"https://user:{SECRET}@host/x", True),
        (f"https://host:8080/x?X-Amz-Signature={SECRET}", True),
        (f"https://host/x?sig={SECRET}", True),
        (f"https://host/x?access_token={SECRET}", True),
        ("https://host:8080/x?download=true", False),
        ("s3://bucket/a@b:c", False),
        ("abfs://container@account.dfs.core.windows.net/x", False),
        (f"abfs://container:{SECRET}@account/x", True),
        ("/a:b@c/x", False),
        ("C:sig=token", False),
    ],
)
def test_urls_with_credentials_are_refused_and_not_repeated(location: str, bad: bool) -> None:
    problem = storage.credentials(location)
    assert bool(problem) == bad
    if bad:
        with pytest.raises(JobError, match="holds credentials") as refused:
            storage.at(location)
        assert SECRET not in str(refused.value)


def test_stores_that_nothing_here_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="nosuch://: no such kind of storage"):
        storage.at("nosuch://bucket/x")
    import fsspec

    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(JobError, match=r"s3://: the package .* pip install 'projner\[s3\]'"):
        storage.at("s3://bucket/x")


def test_a_store_that_does_not_answer_is_one_line(s3: str) -> None:
    with pytest.raises(JobError, match=r"^s3://no-such-bucket-here/x: .*; mend the address"):
        storage.at("s3://no-such-bucket-here/x").write(b"1")
