"""Files and folders on this machine and in object stores, with the few things that runs need.

Whatever is written is whole or is not there, and `create` has one winner however many try at once.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import urllib.parse
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from projner.errors import JobError

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_SECRETS = ("sig", "signature", "token", "secret", "password", "credential", "key")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, order=True)
class Place(ABC):
    """A file or a folder under an absolute path or a URL; small, picklable, and perhaps not there.

    Files whose names begin with a dot are unfinished or lost: `files` leaves them out.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Place:
        return type(self)(self.url.rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: str) -> Place:
        return type(self)(f"{self.url.rstrip('/')}/{name}")

    @abstractmethod
    def read(self) -> bytes:
        """The file's content. Raises FileNotFoundError."""

    @abstractmethod
    def write(self, content: bytes | pa.Buffer) -> None:
        """Put a whole file here, in place of another."""

    @abstractmethod
    def create(self, content: bytes) -> bool:
        """Put a whole file here if there is none; whether this call did it."""

    @abstractmethod
    def remove(self) -> None:
        """Take the file away, if it is there."""

    @abstractmethod
    def remove_folder(self) -> None:
        """Take the folder away with everything in it, if it is there."""

    @abstractmethod
    def make(self) -> None:
        """Have the folder here where folders must be made. Raises OSError."""

    @abstractmethod
    def files(self) -> dict[str, int]:
        """The names of the folder's files, sorted, with their sizes in bytes."""

    @abstractmethod
    def lost(self) -> list[Place]:
        """What writers that were killed left in the folder."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the folder's folders, sorted."""

    @abstractmethod
    def modified(self) -> float:
        """When the file was written last, in seconds, by the clock of the store.

        Raises FileNotFoundError.
        """

    @abstractmethod
    def open(self, forward: bool = False) -> pa.NativeFile:
        """The file, to be read here and there, or, where `forward`, from somewhere on.

        Raises OSError.
        """

    @abstractmethod
    def local(self, cache: Path) -> Path:
        """The folder on this machine: itself, or a copy in `cache`, made once."""

    @abstractmethod
    def is_file(self) -> bool:
        """Whether there is a file here."""

    def is_folder(self) -> bool:
        """Whether there is a folder here; in an object store, whether there is anything in it."""
        return self.name in self.parent.folders()

    def now(self) -> float:
        """The time by the clock that `modified` goes by. Writes into the folder, for a moment."""
        probe = self / f".{uuid.uuid4().hex}"
        probe.write(b"now")
        try:
            return probe.modified()
        finally:
            probe.remove()

    def read_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file, or those of `columns` that it has."""
        with self.open() as file, pq.ParquetFile(file, pre_buffer=True) as parquet:
            if columns is not None:
                present = parquet.schema_arrow.names
                columns = [name for name in columns if name in present]
            return parquet.read(columns=columns)

    def read_schema(self) -> pa.Schema:
        """The schema of a Parquet file."""
        with self.open() as file, pq.ParquetFile(file) as parquet:
            return parquet.schema_arrow

    def write_table(self, table: pa.Table) -> None:
        """Put a whole Parquet file here."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", row_group_size=10_000)
        self.write(sink.getvalue())


class Local(Place):
    """On a disk of this machine, or one that it shares with others."""

    def __fspath__(self) -> str:
        return self.url

    def read(self) -> bytes:
        return Path(self.url).read_bytes()

    def write(self, content: bytes | pa.Buffer) -> None:
        with self._part(content) as part:
            os.replace(part, self.url)

    def create(self, content: bytes) -> bool:
        with self._part(content) as part:
            try:
                os.link(part, self.url)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_without_links(content)
            finally:
                part.unlink(missing_ok=True)
        return True

    def _create_without_links(self, content: bytes) -> bool:
        try:
            with open(self.url, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            return False
        return True

    @contextmanager
    def _part(self, content: bytes | pa.Buffer) -> Iterator[Path]:
        """A hidden file with the content beside this one, on the disk before the block is entered
        and durably under its new name after it."""
        path = Path(self.url)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield part
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # Some file systems cannot do it for a folder, and need not.
            with suppress(OSError):
                os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self) -> None:
        Path(self.url).unlink(missing_ok=True)

    def remove_folder(self) -> None:
        shutil.rmtree(self.url, ignore_errors=True)

    def make(self) -> None:
        Path(self.url).mkdir(parents=True, exist_ok=True)

    def files(self) -> dict[str, int]:
        return {
            entry.name: entry.stat().st_size
            for entry in self._entries()
            if entry.is_file() and not entry.name.startswith(".")
        }

    def lost(self) -> list[Place]:
        return [
            self / entry.name
            for entry in self._entries()
            if entry.is_file() and entry.name.startswith(".")
        ]

    def folders(self) -> list[str]:
        return [entry.name for entry in self._entries() if entry.is_dir()]

    def is_file(self) -> bool:
        return os.path.isfile(self.url)

    def is_folder(self) -> bool:
        return os.path.isdir(self.url)

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.url) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def modified(self) -> float:
        return os.stat(self.url).st_mtime

    def open(self, forward: bool = False) -> pa.NativeFile:
        return pa.OSFile(self.url)

    def local(self, cache: Path) -> Path:
        return Path(self.url)


class Remote(Place):
    """In an object store, or whatever else fsspec reaches. Only whole objects are written.

    Raises JobError for what keeps it from being reached.
    """

    @cached_property
    def _reached(self) -> tuple[Any, str]:
        import fsspec

        # Others write there too, so what was listed once is worth nothing later.
        return fsspec.core.url_to_fs(self.url, use_listings_cache=False)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    @contextmanager
    def _store(self, expected: type[OSError] = FileNotFoundError) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it. Raises what is `expected` as it is."""
        try:
            yield self._reached
        except expected:
            raise
        # Whatever the store's own library raises.
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                raise
            reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
            raise JobError(
                f"{self.url}: {reason or type(error).__name__}; mend the address, what the environment "
                "says about the store and its credentials, or the network"
            ) from error

    def read(self) -> bytes:
        with self._store() as (store, path):
            return bytes(store.cat_file(path))

    def write(self, content: bytes | pa.Buffer) -> None:
        with self._store(FileExistsError) as (store, path):
            store.pipe_file(path, bytes(content))

    def create(self, content: bytes) -> bool:
        try:
            with self._store(FileExistsError) as (store, path):
                store.pipe_file(path, content, mode="create")
        except OSError:
            # It is there, or another writer came at the very same moment. Or this very call wrote it: a
            # client that got no answer asks again, and meets what it wrote itself.
            with suppress(FileNotFoundError):
                return self.read() == content
            return False
        return True

    def remove(self) -> None:
        with suppress(FileNotFoundError), self._store() as (store, path):
            store.rm_file(path)

    def remove_folder(self) -> None:
        with suppress(FileNotFoundError), self._store() as (store, path):
            store.rm(path, recursive=True)

    def make(self) -> None:
        pass

    def files(self) -> dict[str, int]:
        return {
            name: item["size"]
            for name, item in self._entries()
            if item["type"] == "file" and not name.startswith(".")
        }

    def lost(self) -> list[Place]:
        return [
            self / name
            for name, item in self._entries()
            if item["type"] == "file" and name.startswith(".")
        ]

    def folders(self) -> list[str]:
        return [name for name, item in self._entries() if item["type"] == "directory"]

    def _entries(self) -> list[tuple[str, dict[str, Any]]]:
        try:
            with self._store() as (store, path):
                found = store.ls(path, detail=True)
        except FileNotFoundError:
            return []
        # A folder can be listed as an empty object of its own name.
        inside = [item for item in found if item["name"].strip("/") != path.strip("/")]
        named = [(item["name"].rstrip("/").rpartition("/")[2], item) for item in inside]
        return sorted(named, key=lambda pair: pair[0])

    def is_file(self) -> bool:
        with self._store() as (store, path):
            return bool(store.isfile(path))

    def is_folder(self) -> bool:
        with self._store() as (store, path):
            return bool(store.isdir(path))

    def modified(self) -> float:
        with self._store() as (store, path):
            when: datetime = store.modified(path)
            return when.timestamp()

    def open(self, forward: bool = False) -> pa.NativeFile:
        with self._store() as (store, path):
            # Parquet is read in few pieces of known place, text in many that follow each other.
            kind = "readahead" if forward else "none"
            return pa.PythonFile(store.open(path, "rb", cache_type=kind), mode="r")

    def local(self, cache: Path) -> Path:
        place = cache / uuid.uuid5(uuid.NAMESPACE_URL, self.url).hex
        if not place.exists():
            part = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
            part.mkdir(parents=True)
            try:
                self._copy(part)
                # Another process may have been faster.
                with suppress(OSError):
                    part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return place

    def _copy(self, folder: Path) -> None:
        for name in self.files():
            (folder / name).write_bytes((self / name).read())
        for name in self.folders():
            (folder / name).mkdir()
            Remote(str(self / name))._copy(folder / name)

    def matches(self) -> list[str]:
        """The URLs of the files that this stands for as a file, a pattern or a folder, in order;
        without hidden ones."""
        with self._store() as (store, path):
            if glob.has_magic(path):
                found = [name for name in store.glob(path) if store.isfile(name)]
            else:
                found = store.find(path)
            inside = [(name, name.removeprefix(path.rstrip("/"))) for name in sorted(found)]
            return [
                store.unstrip_protocol(name)
                for name, rest in inside
                if not any(part.startswith(".") for part in rest.split("/"))
            ]


def refuse_file(folder: Place) -> None:
    """Raise JobError where a folder that is to be written has a file in its place, or above it."""
    if isinstance(folder, Local):
        path = Path(folder)
        there = next(each for each in (path, *path.parents) if each.exists())
        if not there.is_dir():
            raise JobError(f"{there}: is a file, not a folder; give another --output")


def at(location: str | os.PathLike[str] | Place) -> Place:
    """The place that a path or a URL names.

    Raises JobError for a URL that nothing here can reach, or that holds credentials.
    """
    if isinstance(location, Place):
        return location
    text = os.fspath(location)
    if not is_url(text):
        return Local(os.path.abspath(text))
    if problem := credentials(text):
        raise JobError(problem)
    scheme, _, rest = text.partition("://")
    if scheme in ("file", "local"):
        return Local(os.path.abspath("/" + rest.lstrip("/")))
    _check_reachable(scheme)
    return Remote(text.rstrip("/"))


def is_url(text: str) -> bool:
    """Whether a location is a URL, not a path."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def credentials(location: str) -> str | None:
    """What is wrong with a URL that holds a password, key or token; it is not repeated."""
    if not is_url(location):
        return None
    parts = urllib.parse.urlsplit(location)
    user, at_sign, host = parts.netloc.rpartition("@")
    # Azure writes container@account. A key may have a slash, which ends what is the host to a parser.
    named = at_sign and (":" in user or not parts.scheme.startswith(("ab", "az")))
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else ""
    signed = any(
        word.endswith(_SECRETS)
        for name, _ in urllib.parse.parse_qsl(parts.query)
        for word in name.lower().replace("_", "-").split("-")
    )
    if named or (port and not port.isdigit()) or signed:
        return (
            f"the {parts.scheme} URL holds credentials, which would end up in files and messages; give "
            "them where the store's own library looks, such as the environment, and leave them out"
        )
    return None


def _check_reachable(scheme: str) -> None:
    import fsspec

    if scheme not in fsspec.available_protocols():
        raise JobError(f"{scheme}://: no such kind of storage; s3:// and gs:// are some there are")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        mend = f"pip install 'projner[{extra}]'" if extra else str(error)
        raise JobError(
            f"{scheme}://: the package that reaches it is not installed; {mend}"
        ) from None
