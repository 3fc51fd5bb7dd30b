"""Sentence pairs to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner.record import Status

WORDS = ("source_tokens", "target_tokens")


def sample(
    tables: Iterable[pa.Table], most: int, longest: int, columns: Sequence[str] = ()
) -> pa.Table:
    """At most `most` pairs from all over the corpus: every n-th, n doubled whenever it are too many.

    Pairs that are `ok` with 1 to `longest` words on either side; `WORDS` and `columns` of them,
    as far as the tables have these.
    """
    kept: list[pa.Table] = []
    every, seen = 1, 0
    for table in tables:
        usable = pc.equal(table["status"], Status.OK.value)
        for name in WORDS:
            lengths = pc.list_value_length(table[name])
            fits = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, longest))
            usable = pc.and_(usable, fits)
        present = [name for name in (*columns, *WORDS) if name in table.column_names]
        table = table.select(present).filter(usable)
        kept.append(table.take(pa.array(np.arange(-seen % every, table.num_rows, every))))
        seen += table.num_rows
        while sum(part.num_rows for part in kept) > most:
            together = pa.concat_tables(kept)
            kept = [together.take(pa.array(np.arange(0, together.num_rows, 2)))]
            every *= 2
    return pa.concat_tables(kept).combine_chunks()
