"""A fastText model small enough to be written by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def fasttext_model(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Writes a classifier that knows each word's language: `fasttext_model({word: label})`.

    A text's scores are a softmax over 8 times the share of its known words in each language. The
    word `a` is in none.
    """

    def write(languages: Mapping[str, str]) -> Path:
        labels = sorted(set(languages.values()))
        words = ["a", *languages]
        size = len(labels)
        inputs = [[8.0 * (languages.get(word) == label) for label in labels] for word in words]
        outputs = [[float(row == column) for column in range(size)] for row in range(size)]
        # dim, ws, epoch, minCount, neg, wordNgrams, loss (softmax), model (supervised), bucket,
        # minn, maxn, lrUpdateRate, t
        arguments = struct.pack("<12id", size, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4)
        counts = struct.pack("<iiiqq", len(words) + size, len(words), size, 100, -1)
        entries = [word.encode() + struct.pack("<bqb", 0, 1, 0) for word in words]
        entries += [f"__label__{label}".encode() + struct.pack("<bqb", 0, 1, 1) for label in labels]
        matrices = [
            struct.pack("<?qq", False, len(rows), size)
            + b"".join(struct.pack(f"<{size}f", *row) for row in rows)
            for rows in (inputs, outputs)
        ]
        path = tmp_path / "model.bin"
        magic = struct.pack("<ii", 793712314, 12)
        path.write_bytes(magic + arguments + counts + b"".join(entries + matrices))
        return path

    return write
