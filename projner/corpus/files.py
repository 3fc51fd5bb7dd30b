"""Files by name, pattern or folder, as they are or packed, and their lines as Arrow strings."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from projner import storage
from projner.errors import JobError

BLOCK = 1 << 20
"""Bytes that are read and parsed at once."""
LONGEST = 64 << 20
"""Bytes that a line, or a CoNLL sentence, may have."""
HEAD = 1 << 16
"""Bytes at a file's beginning that its format is told by."""

_CODECS = {".gz": "gzip", ".zst": "zstd"}
_BOM = b"\xef\xbb\xbf"
_LOOKS = {
    b"PAR1": ("Parquet", "set corpus.format to parquet"),
    b"\x1f\x8b": ("gzip", "give its name the ending .gz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "give its name the ending .zst"),
    b"BZh": ("bzip2", "unpack it"),
    b"\xfd7zXZ": ("xz", "unpack it"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"ARROW1": ("an Arrow file", "write it as Parquet, or give its folder with format hub"),
    b"%PDF": ("PDF", "extract its text"),
    b"\xff\xfe": ("UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16", "save it as UTF-8"),
}


@dataclass(frozen=True)
class File:
    """A file under the name that the user gave it, and where it is."""

    name: str
    path: str


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file, without their ends."""

    text: pa.StringArray
    offset: np.ndarray
    """Byte at which each begins (int64)."""
    before: int
    """Number of lines before the first."""
    problems: dict[int, str]
    """What is wrong with a line's bytes; they are replaced in `text`."""
    end: int
    """Byte after the last."""


def expand(patterns: Iterable[str], root: str, key: str) -> list[File]:
    """The files that names, globs and folders stand for, in order; hidden ones are left out.

    Relative ones start from `root`. Raises JobError, naming the job file's `key`, where there is
    nothing.
    """
    found: list[File] = []
    for pattern in patterns:
        alone = not root or os.path.isabs(pattern) or storage.is_url(pattern)
        path = pattern if alone else os.path.join(root, pattern)
        place = storage.at(path) if storage.is_url(path) else None
        if isinstance(place, storage.Local):
            path = place.url
        if isinstance(place, storage.Remote):
            paths = place.matches()
        elif os.path.isfile(path):
            paths = [path]
        elif os.path.isdir(path):
            paths = _files_under(path)
        else:
            paths = [p for p in sorted(glob.glob(path, recursive=True)) if os.path.isfile(p)]
        if not paths:
            what = "holds no files" if os.path.isdir(path) else "no such file"
            start = f" (relative paths start from {root})" if root else ""
            raise JobError(f"{path}: {what}; mend corpus.{key}{start}")
        found += [File(p if alone else _relative(p, root), p) for p in paths]
    return found


def _relative(path: str, root: str) -> str:
    if storage.is_url(root):
        return path.removeprefix(root.rstrip("/") + "/")
    return os.path.relpath(path, root)


def _files_under(folder: str) -> list[str]:
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(
        os.path.join(folder, relative)
        for relative in (path.relative_to(folder) for path in paths)
        if not any(part.startswith(".") for part in relative.parts)
    )


@contextmanager
def open_at(file: File, offset: int = 0) -> Iterator[Callable[[int], bytes]]:
    """A function that reads on from the byte `offset` of the (unpacked) file.

    In a packed file that place is reached by unpacking what comes before.
    """
    codec = _CODECS.get(os.path.splitext(file.path)[1])
    try:
        raw = storage.at(file.path).open(forward=True)
    except OSError as error:
        raise JobError(f"{file.path}: cannot be opened: {_reason(error)}") from None
    with raw:
        stream = pa.CompressedInputStream(raw, codec) if codec else raw

        def read(size: int) -> bytes:
            try:
                return bytes(stream.read(size))
            except (OSError, pa.ArrowException) as error:
                what = f"unpacked as {codec}" if codec else "read"
                raise JobError(
                    f"{file.path}: cannot be {what} ({_reason(error)}); is the file whole?"
                ) from None

        if codec:
            while offset and (skipped := read(min(offset, BLOCK))):
                offset -= len(skipped)
        else:
            raw.seek(offset)
        yield read


def _reason(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
    # Arrow names the file again, and its number for the reason.
    return re.sub(r".*Detail: \[errno \d+\] ", "", text)


def head(file: File) -> str:
    """The beginning of a text file, in whole lines unless it has none; bad bytes are replaced.

    Raises JobError when the file is empty or is no text.
    """
    with open_at(file) as read:
        data = read(HEAD)
    if data in (b"", _BOM):
        raise JobError(f"{file.path}: is empty; leave it out, or mend what should have written it")
    _refuse_other(file, data)
    if len(data) == HEAD:
        data = data[: data.rfind(b"\n") + 1] or data
    return data.removeprefix(_BOM).decode("utf-8", errors="replace")


def _refuse_other(file: File, data: bytes) -> None:
    for magic, (name, mend) in _LOOKS.items():
        if data.startswith(magic):
            raise JobError(f"{file.path}: looks like {name}, not text; {mend}")
    if data.count(0) * 10 > len(data):
        raise JobError(f"{file.path}: looks like binary data, not text; give a UTF-8 text file")


def is_json_lines(beginning: str) -> bool:
    """Whether a text begins with a line that is a JSON object."""
    try:
        return isinstance(json.loads(beginning.strip().partition("\n")[0]), dict)
    except ValueError:
        return False


def after_last_line(data: bytes) -> int:
    """Number of bytes of `data` that are whole lines."""
    return data.rfind(b"\n") + 1


def lines(
    file: File,
    offset: int,
    before: int,
    end: int | None = None,
    whole: Callable[[bytes], int] = after_last_line,
) -> Iterator[Lines]:
    """The lines of a file from byte `offset`, the start of a line with `before` others before it.

    Goes to the byte `end` or the end of the file, in blocks of about a megabyte that end where
    `whole` says that something is complete. Lines end with `\\n` or `\\r\\n`.
    """
    with open_at(file, offset) as read:
        rest = b""
        while piece := read(BLOCK if end is None else min(BLOCK, end - offset - len(rest))):
            rest += piece
            size = whole(rest)
            if not size and len(rest) > LONGEST:
                raise JobError(
                    f"{file.path}:{before + 1}: nothing ends within {LONGEST >> 20} MB from here; "
                    "sentences end with their line, in CoNLL with a blank one"
                )
            if size:
                block = _parse(file, rest[:size], offset, before)
                yield block
                rest, offset, before = rest[size:], offset + size, before + len(block.text)
        if rest:
            yield _parse(file, rest, offset, before)


def _parse(file: File, data: bytes, offset: int, before: int) -> Lines:
    end = offset + len(data)
    if offset == 0 and data.startswith(_BOM):
        data, offset = data[len(_BOM) :], len(_BOM)
    if not data.endswith(b"\n"):
        data += b"\n"
    ends = _newlines(data)
    begins = offset + np.concatenate([[0], ends[:-1] + 1])
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
        ends = _newlines(data)
    bounds = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int32)
    bare = data.replace(b"\n", b"")
    problems: dict[int, str] = {}
    if _is_text(bare):
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(bare)]
        text = pa.Array.from_buffers(pa.string(), len(ends), buffers)
    else:
        texts = data[:-1].split(b"\n")
        for row, line in enumerate(texts):
            if problem := _problem(line):
                problems[row] = f"{file.path}:{before + row + 1}: {problem}"
        text = pa.array([line.decode(errors="replace") for line in texts], pa.string())
    return Lines(text, begins, before, problems, end)


def _newlines(data: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))


def _is_text(data: bytes) -> bool:
    if 0 in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _problem(line: bytes) -> str | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        byte = error.start
        return f"byte {byte + 1} (0x{line[byte]:02x}) is not UTF-8; convert the file to UTF-8"
    if 0 in line:
        return f"byte {line.index(0) + 1} is NUL, which is not text; take it out"
    return None
