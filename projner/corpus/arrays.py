"""Arrow columns of lists from flat arrays, and the columns that corpora are made of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record, tags
from projner.tags import Scheme

Ints = np.ndarray[Any, Any]


def lists(bounds: Ints, values: pa.Array, given: pa.Array | None = None) -> pa.ListArray:
    """Row i holds `values[bounds[i]:bounds[i + 1]]`; null where `given`, if any, is null."""
    mask = given.is_null() if given is not None and given.null_count else None
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values, mask=mask)


def flat(column: pa.ListArray) -> tuple[Ints, pa.Array]:
    """Bounds (n + 1, from 0) and values of a list column; a null row is an empty one."""
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(counts)]), column.flatten()


def counts(column: pa.ListArray) -> Ints:
    """Number of values in each row; 0 where null."""
    return np.diff(flat(column)[0])


def keep(column: pa.ListArray, kept: pa.BooleanArray) -> pa.ListArray:
    """`column` with only those of its flat values that `kept` marks."""
    bounds, values = flat(column)
    before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    return lists(before[bounds], values.filter(kept), column)


def rows_of(bounds: Ints) -> Ints:
    """The row of each flat value."""
    return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def words_at_white_space(text: pa.StringArray) -> pa.ListArray:
    """Words as `str.split` finds them."""
    words = pc.utf8_split_whitespace(text)
    return keep(words, pc.not_equal(words.flatten(), ""))


def entities(
    bounds: Ints, start: Any, end: Any, label: Any, score: Any = None, given: Any = None
) -> pa.ListArray:
    """A column of the record's entities from flat arrays; the score is 1 unless there is one."""
    score = np.ones(len(start), np.float32) if score is None else score
    return lists(bounds, _struct(record.ENTITY, [start, end, label, score]), given)


def links(
    bounds: Ints, source: Any, target: Any, score: Any = None, given: Any = None
) -> pa.ListArray:
    """A column of the record's links from flat arrays; the score is 1 unless there is one."""
    score = np.ones(len(source), np.float32) if score is None else score
    return lists(bounds, _struct(record.LINK, [source, target, score]), given)


def _struct(type_: pa.StructType, arrays: list[Any]) -> pa.StructArray:
    fields = list(type_)
    children = [
        array.cast(field.type) if isinstance(array, pa.Array) else pa.array(array, field.type)
        for array, field in zip(arrays, fields, strict=True)
    ]
    return pa.StructArray.from_arrays(children, fields=fields)


def entities_of_tags(
    bounds: Ints, tagged: pa.StringArray, scheme: Scheme, ignore: Collection[str], given: Any = None
) -> tuple[pa.ListArray, dict[int, str]]:
    """What the tags of sentences say, without the classes in `ignore`.

    Args:
        bounds: (n + 1,) where each sentence's tags begin in `tagged`.

    Returns: the entities, and what is wrong with tags that are not in the scheme, by place in
    `tagged`; these count as O.
    """
    encoded = tagged.dictionary_encode()
    codes = encoded.indices.to_numpy()
    wrong: dict[int, str] = {}
    parts: list[tuple[str, str]] = []
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        try:
            parts.append(tags.split_tag(name, scheme))
        except ValueError as error:
            wrong |= {int(place): str(error) for place in np.flatnonzero(codes == code)}
            parts.append(("O", ""))
    labels = sorted({label for _, label in parts})
    label = np.array([labels.index(label) for _, label in parts], np.int64)[codes]

    def has(prefixes: str) -> Ints:
        found: Ints = np.array([prefix in prefixes for prefix, _ in parts], bool)[codes]
        return found

    # As `tags.to_spans` has it, which goes by a word and the one before alone.
    inside = ~has("O")
    goes_on = np.zeros(len(codes) + 1, bool)
    goes_on[1:-1] = has("IE")[1:] & has("BI")[:-1] & (label[1:] == label[:-1])
    goes_on[bounds] = False
    start = np.flatnonzero(inside & ~goes_on[:-1])
    stop = 1 + np.flatnonzero(inside & ~goes_on[1:])
    kept = ~np.isin(label[start], [labels.index(name) for name in ignore if name in labels])
    start, stop = start[kept], stop[kept]
    row = np.searchsorted(bounds, start, side="right") - 1
    before = np.searchsorted(start, bounds)
    first = bounds[row]
    named = pa.array(labels, pa.string()).take(pa.array(label[start]))
    return entities(before, start - first, stop - first, named, None, given), wrong
