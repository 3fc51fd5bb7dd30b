"""Which files a corpus is made of, packed ones, and where lines begin in them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from projner import config
from projner.corpus import files
from projner.corpus.files import File
from projner.errors import JobError

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]


def packed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def test_names_globs_and_folders_in_order(corpus: Build, tmp_path: Path) -> None:
    names = ["b.txt", "a.txt", "c.md", "in/y", "in/deep/x", "in/.hidden", "in/.git/z", "odd[1].txt"]
    corpus(dict.fromkeys(names, "x"), format="text", source="*")

    def found(*patterns: str) -> list[str]:
        return [file.name for file in files.expand(patterns, str(tmp_path), "source")]

    assert found("c.md", "b.txt") == ["c.md", "b.txt"]
    assert found("*.txt") == ["a.txt", "b.txt", "odd[1].txt"]
    assert found("in") == ["in/deep/x", "in/y"]
    assert found("**/x", "a.txt") == ["in/deep/x", "a.txt"]
    assert found("odd[1].txt") == ["odd[1].txt"]


def test_names_stay_as_the_user_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    path = str(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert files.expand(["a"], "", "source") == [File("a", "a")]
    assert files.expand([path], "elsewhere", "source") == [File(path, path)]
    assert files.expand(["a"], str(tmp_path), "source") == [File("a", path)]


@pytest.mark.parametrize(("ending", "codec"), [(".gz", "gzip"), (".zst", "zstd")])
def test_packed_files_hold_what_they_pack(
    corpus: Build, read_all: ReadAll, ending: str, codec: str
) -> None:
    text = "".join(f"sentence {number}\n" for number in range(100))
    plain = read_all(corpus({"s": text}, format="text", source="s"))
    name = f"s{ending}"
    table = read_all(corpus({name: packed(text.encode(), codec)}, format="text", source=name))
    for column in ("id", "source_text", "source_tokens"):
        assert table[column].equals(plain[column])


def test_gzip_files_in_several_parts_are_read_to_the_end(corpus: Build, read_all: ReadAll) -> None:
    parts = [gzip.compress(f"sentence {number}\n".encode()) for number in range(9)]
    table = read_all(corpus({"s.gz": b"".join(parts)}, format="text", source="s.gz"))
    assert table["source_text"].to_pylist() == [f"sentence {number}" for number in range(9)]


def test_a_truncated_file_is_an_error(corpus: Build, read_all: ReadAll) -> None:
    data = gzip.compress(bytes(range(32, 127)) * 999 + b"\n")[:-20]
    with pytest.raises(
        JobError, match=r"s\.gz: cannot be unpacked as gzip .*; is the file whole\?"
    ):
        read_all(corpus({"s.gz": data}, format="text", source="s.gz"))


LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")))


@settings(deadline=None)
@given(
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    mark=st.booleans(),
    block=st.integers(1, 40),
)
def test_lines_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    end: str,
    last: bool,
    mark: bool,
    block: int,
) -> None:
    text = end.join(lines) + (end if last and lines else "")
    assume(text or not mark)
    expected = [line.removesuffix("\r") for line in text.split("\n")]
    expected = expected[:-1] if text.endswith("\n") or not text else expected
    path = tmp_path_factory.mktemp("lines") / "f"
    path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
    file = File("f", str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", block)
        blocks = list(files.lines(file, 0, 0))
        found = [line for part in blocks for line in part.text.to_pylist()]
        assert found == expected
        offsets = [offset for part in blocks for offset in part.offset.tolist()]
        # From where a line begins, the rest of the file follows.
        for number, offset in list(enumerate(offsets))[::3]:
            rest = [line for part in files.lines(file, offset, number) for line in part.text]
            assert [line.as_py() for line in rest] == found[number:]


def test_only_line_feeds_end_lines(corpus: Build, read_all: ReadAll) -> None:
    text = "a\u2028b\x85c\x0bd\x0ce\rf\ng\n"
    table = read_all(corpus({"s": text}, format="text", source="s"))
    assert table["source_text"].to_pylist() == [text[:-3], "g"]


def test_a_line_without_end_is_not_read_into_memory(
    corpus: Build, read_all: ReadAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 64)
    monkeypatch.setattr(files, "LONGEST", 1024)
    with pytest.raises(JobError, match=r"s:2: nothing ends within 0 MB from here; sentences end"):
        read_all(corpus({"s": "a\n" + "b" * 4096}, format="text", source="s"))
