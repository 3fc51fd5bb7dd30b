"""Corpora in a temporary folder, and all that comes out of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from projner import config
from projner.corpus import index as corpus_index


def _read_all(corpus: config.Corpus, chunk_rows: int = 3) -> pa.Table:
    index = corpus_index.index(corpus, chunk_rows)
    tables = []
    for chunk in index.chunks:
        assert chunk.first == sum(table.num_rows for table in tables)
        ids = index.ids[chunk.first : chunk.first + chunk.rows]
        tables.append(corpus_index.read(corpus, chunk, ids))
    table = pa.concat_tables(tables)
    assert tuple(table.column_names) == index.columns
    assert table.num_rows == len(index.ids)
    origins = index.origins()
    assert origins["file"].to_pylist() == [origin["file"] for origin in table["origin"].to_pylist()]
    assert origins["position"].to_pylist() == [
        origin["index"] for origin in table["origin"].to_pylist()
    ]
    return table


@pytest.fixture(scope="session")
def read_all() -> Callable[..., pa.Table]:
    """Every row of a corpus, chunk by chunk."""
    return _read_all


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., config.Corpus]:
    """A corpus, eng_Latn to swh_Latn, of files that are written for it: `corpus({name: content},
    format=...)`. Paths start from the folder."""

    def build(contents: dict[str, str | bytes], **settings: Any) -> config.Corpus:
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
        return config.Corpus(root=str(tmp_path), **(languages | settings))

    return build
