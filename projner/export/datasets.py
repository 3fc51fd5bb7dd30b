"""A folder that `datasets.load_dataset` reads: Parquet with `ClassLabel` tags, and a data card."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from projner import languages
from projner.export.sentences import Sentence

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("lang", pa.string()),
        ("tokens", pa.list_(pa.string())),
        ("ner_tags", pa.list_(pa.int64())),
    ]
)
ROWS = 10_000


def hf(
    sentences: Iterable[Sentence], folder: Path, classes: Sequence[str], signature: str = ""
) -> None:
    """Write `data/train.parquet` and `README.md`.

    Args:
        sentences: what is written.
        folder: made here.
        classes: of the entities; the tags are O, then B- and I- of each.
        signature: how the labels were made; goes into the data card.
    """
    names = ["O", *(f"{prefix}-{label}" for label in classes for prefix in "BI")]
    numbers = {name: number for number, name in enumerate(names)}
    (folder / "data").mkdir(parents=True)
    found: set[str] = set()
    remaining = iter(sentences)
    with pq.ParquetWriter(folder / "data" / "train.parquet", SCHEMA, compression="zstd") as writer:
        while part := list(itertools.islice(remaining, ROWS)):
            rows = [
                {
                    "id": each.id,
                    "lang": each.language,
                    "tokens": each.tokens,
                    "ner_tags": [numbers[tag] for tag in each.tags],
                }
                for each in part
            ]
            found.update(each.language for each in part)
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    (folder / "README.md").write_text(_card(names, sorted(found), signature), "utf-8")


def _card(names: Sequence[str], codes: Sequence[str], signature: str) -> str:
    tags = {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}
    front = {
        "language": sorted({code.partition("_")[0] for code in codes}),
        "task_categories": ["token-classification"],
        "task_ids": ["named-entity-recognition"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
        ],
        "dataset_info": {
            "features": [
                {"name": "id", "dtype": "int64"},
                {"name": "lang", "dtype": "string"},
                {"name": "tokens", "sequence": "string"},
                {"name": "ner_tags", "sequence": tags},
            ]
        },
    }
    spoken = ", ".join(languages.find(code).name for code in codes)
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
            "---",
            "",
            f"# Named entities in {spoken}",
            "",
            "Labels that projner projected from another language; nobody has checked them. What the "
            "models in the signature were trained on may limit what you may do with them: see their "
            "licences.",
            "",
            f"Signature: `{signature}`",
            "",
        ]
    )
