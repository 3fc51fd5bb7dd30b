"""Statistical word alignment with eflomal (Östling and Tiedemann 2016), both directions, symmetrised.

eflomal samples at random, so links are found once and kept. Those of the pairs that priors are learnt on
are stored with the priors, by id; other pairs are aligned with these priors, batch by batch, in bounded
memory. The package is GPL-3.0 and therefore an extra, called through its public interface.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record, stage
from projner.align.sample import sample
from projner.align.symmetrise import symmetrise
from projner.columns import Lists
from projner.config import Eflomal
from projner.errors import JobError
from projner.record import Status
from projner.stage import Stage

LONGEST = 1023
"""Words of a sentence that eflomal is given; longer ones it leaves without links, and is silent."""
ITERATIONS_WITH_PRIORS = 0.1
"""Relative to eflomal's own choice, which is for learning from nothing: much less work, and no
difference was measured."""
WHITE_SPACE = r"[\pZ\x09-\x0d\x1c-\x1f\x{85}]"
"""What would part a word in two in eflomal's files, and shift the links of those after it."""
_STORED, _PRIORS = "links.arrow", "priors.arrow"
_LINK = ("source", "target")
_KEY = ("id", "revision")
"""Columns that tell what a row was made from."""


class EflomalAligner(Stage):
    """Fills `links` by eflomal; `learn` comes first, once in a run."""

    name: ClassVar[str] = "eflomal"
    learns: ClassVar[bool] = True
    inputs = ("id", "source_tokens", "target_tokens")
    outputs = ("links",)

    def __init__(self, config: Eflomal, folder: Path | None = None) -> None:
        """An aligner that has learnt what is in `folder`, or that has yet to learn.

        Raises JobError when eflomal is not installed.
        """
        _library()
        self.config = config
        self._folder = folder

    def settings(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        """Align a sample of the corpus and keep its links, and priors for the other pairs."""
        pairs = sample(tables, self.config.sample, LONGEST, _KEY)
        sides = self._lines(pairs["source_tokens"]), self._lines(pairs["target_tokens"])
        forward, reverse = _align(*sides, self.config.model)
        links = _symmetrised(forward, reverse, self.config.symmetrise)
        order = pc.sort_indices(pairs["id"])
        kept = {name: pairs[name] for name in pairs.column_names if name in _KEY}
        stored = pa.table({**kept, "links": links}).take(order)
        _write(folder / _STORED, stored)
        _write(folder / _PRIORS, _priors(*sides, forward, reverse))

    def recall(self, folder: Path) -> Stage:
        return EflomalAligner(self.config, folder)

    def __call__(self, table: pa.Table) -> pa.Table:
        assert self._folder is not None, "learn first"
        stored = _read(self._folder / _STORED)
        known, ids = np.asarray(stored["id"]), np.asarray(table["id"])
        place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        held = known[place] == ids if len(known) else np.zeros(len(ids), bool)
        if len(known) and "revision" in stored.column_names:
            held &= stored["revision"].to_numpy()[place] == table["revision"].to_numpy()
        lengths = [
            np.asarray(pc.list_value_length(table[name]))
            for name in ("source_tokens", "target_tokens")
        ]
        long = ~held & (np.maximum(*lengths) > LONGEST)
        new = ~held & ~long
        parts = [stored["links"].take(pa.array(place[held])).combine_chunks()]
        if new.any():
            parts.append(self._with_priors(table.filter(pa.array(new))))
        where = np.zeros(len(ids), np.int64)
        where[held] = np.arange(held.sum())
        where[new] = held.sum() + np.arange(new.sum())
        links = pa.concat_arrays(parts).take(pa.array(where, mask=long))
        table = record.with_column(table, "links", links)
        detail = f"eflomal aligns sentences of up to {LONGEST} words"
        return stage.with_status(table, long, Status.ALIGNMENT_FAILED, [detail] * int(long.sum()))

    def _with_priors(self, table: pa.Table) -> pa.Array:
        assert self._folder is not None
        sides = self._lines(table["source_tokens"]), self._lines(table["target_tokens"])
        priors = _priors_of(_read(self._folder / _PRIORS), *sides)
        return _symmetrised(*_align(*sides, self.config.model, priors), self.config.symmetrise)

    def _lines(self, tokens: pa.ChunkedArray) -> pa.StringArray:
        """Sentences as eflomal reads them: a line of words each, lower-cased and cut to `prefix`."""
        words = pc.utf8_lower(pc.list_flatten(tokens))
        if self.config.prefix is not None:
            words = pc.utf8_slice_codeunits(words, 0, self.config.prefix)
        words = pc.replace_substring_regex(words, WHITE_SPACE, "_")
        words = pc.if_else(pc.equal(words, ""), "_", words)
        lengths = pc.list_value_length(tokens).combine_chunks()
        offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int32)
        rows = pa.ListArray.from_arrays(pa.array(offsets), words.combine_chunks())
        return pc.binary_join_element_wise(pc.binary_join(rows, " "), "\n", "")


def _library() -> ModuleType:
    try:
        import eflomal
    except ImportError:
        raise JobError(
            "align.engine eflomal is not installed: pip install 'projner[eflomal]' (GPL-3.0)"
        ) from None
    library: ModuleType = eflomal
    return library


def _align(
    source: pa.StringArray, target: pa.StringArray, model: int, priors: str | None = None
) -> tuple[Lists, Lists]:
    """Links from source to target, and from target to source, of every pair of lines."""
    library = _library()
    if not len(source):
        return columns.no_lists(0, _LINK), columns.no_lists(0, _LINK)
    with tempfile.TemporaryDirectory(prefix="projner-eflomal-") as folder:
        files = os.path.join(folder, "forward"), os.path.join(folder, "reverse")
        iterations = 1.0 if priors is None else ITERATIONS_WITH_PRIORS
        aligner = library.Aligner(model=model, rel_iterations=iterations)
        given = io.StringIO(priors) if priors is not None else None
        aligner.align(source.to_pylist(), target.to_pylist(), *files, priors_input=given)
        forward, reverse = (_read_links(Path(file).read_bytes()) for file in files)
    if not len(forward.offsets) == len(reverse.offsets) == len(source) + 1:
        counts = len(forward.offsets) - 1, len(source)
        raise RuntimeError("eflomal aligned {} of {} sentence pairs".format(*counts))
    return forward, reverse


def _read_links(text: bytes) -> Lists:
    """The links of lines such as `0-0 1-2`, each of which ends with a line break."""
    symbols = np.frombuffer(text, np.uint8)
    numbers = text.replace(b"-", b" ").strip()
    # Of white space alone, numpy makes a number.
    words = np.fromstring(numbers, np.int32, sep=" ") if numbers else np.empty(0, np.int32)
    source, target = words.reshape(-1, 2).T
    ends = np.flatnonzero(symbols == ord("\n"))
    offsets = np.concatenate([[0], np.searchsorted(np.flatnonzero(symbols == ord("-")), ends)])
    return Lists(offsets, {"source": source, "target": target})


def _symmetrised(forward: Lists, reverse: Lists, method: str) -> pa.ListArray:
    """The `links` column of links in both directions."""
    if len(forward.offsets) <= columns.MANY_ROWS:
        sides = forward.pairs(*_LINK), reverse.pairs(*_LINK)
        rows = zip(forward.rows(), reverse.rows(), strict=True)
        found = [symmetrise(sides[0][one], sides[1][other], method) for one, other in rows]
        offsets = np.cumsum([0, *map(len, found)])
        source, target = np.concatenate([np.empty((0, 2), np.int32), *found]).T
    else:
        # Here, since it takes half a second to load.
        from projner.align.symmetrise_kernel import symmetrise_all

        links = symmetrise_all(forward, reverse, method)
        offsets, source, target = links.offsets, links.fields["source"], links.fields["target"]
    scores = np.ones(len(source), np.float32)
    items = pa.StructArray.from_arrays(
        [pa.array(source), pa.array(target), pa.array(scores)], fields=list(record.LINK)
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def _priors(
    source: pa.StringArray, target: pa.StringArray, forward: Lists, reverse: Lists
) -> pa.Table:
    """What was learnt, a line of eflomal's priors file a row, with the words that it is about."""
    library = _library()
    text = io.StringIO()
    written = (_written(links).to_pylist() for links in (forward, reverse))
    sides = source.to_pylist(), target.to_pylist()
    library.write_priors(text, *library.calculate_priors(*sides, *written))
    lines = pa.array(text.getvalue().splitlines(keepends=True), pa.string())
    parts = pc.split_pattern(lines, "\t")
    kind, first, second = (pc.list_element(parts, place) for place in range(3))
    # LEX names a source and a target word, FERF a source word, FERR a target word.
    of_source = pc.is_in(kind, pa.array(["LEX", "FERF"]))
    of_target = pc.is_in(kind, pa.array(["LEX", "FERR"]))
    named = pc.if_else(pc.equal(kind, "LEX"), second, first)
    nothing = pa.scalar(None, pa.string())
    return pa.table(
        {
            "source": pc.if_else(of_source, first, nothing),
            "target": pc.if_else(of_target, named, nothing),
            "line": lines,
        }
    )


def _priors_of(priors: pa.Table, source: pa.StringArray, target: pa.StringArray) -> str:
    """The priors file without what is about other words than these lines have."""
    kept = pa.array(np.ones(priors.num_rows, bool))
    for name, lines in (("source", source), ("target", target)):
        words = pc.unique(pc.list_flatten(pc.utf8_split_whitespace(lines)))
        mine = pc.or_(pc.is_in(priors[name], words), pc.is_null(priors[name]))
        kept = pc.and_(kept, mine)
    return "".join(priors["line"].filter(kept).to_pylist())


def _written(links: Lists) -> pa.StringArray:
    """Lines such as `0-0 1-2` of the links of each row."""
    ends = (pa.array(links.fields[name]).cast(pa.string()) for name in _LINK)
    pairs = pc.binary_join_element_wise(*ends, "-")
    rows = pa.ListArray.from_arrays(pa.array(links.offsets, pa.int32()), pairs)
    return pc.binary_join_element_wise(pc.binary_join(rows, " "), "\n", "")


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path) -> pa.Table:
    """A stored table, mapped into memory: only what is looked at is read."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
