"""What is compared within vLLM's environment, which has transformers too: prints JSON.

`python inside.py TAGGER SMALL_HEADS SENTENCES`: labels of a file of sentences by both engines, by the
settings of `VARIANTS`; and what is said of a tagger whose heads vLLM has no kernels for.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa

from projner.config import Label
from projner.errors import JobError
from projner.label import Labeller

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    # Every sentence is read in several windows.
    "windows": {"max_tokens": 12, "pooling": "mean"},
}


def words(engine: str, model: str, sentences: list[list[str]], **settings: Any) -> np.ndarray:
    """Tag probabilities of all words, in order."""
    section = Label(engine=engine, model=model, dtype="float32", **settings)  # type: ignore[arg-type]
    labeller = Labeller(section)
    labeller.setup(1)
    counts = np.array([len(each) for each in sentences])
    return labeller._words(pa.array(sentences, pa.list_(pa.string())), counts)


def main(tagger: str, small_heads: str, path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as lines:
        sentences = [line.split() for line in lines]
    found: dict[str, Any] = {}
    for name, settings in VARIANTS.items():
        ours, theirs = (
            words(engine, tagger, sentences, **settings) for engine in ("vllm", "transformers")
        )
        found[name] = {"words": len(ours), "difference": float(np.abs(ours - theirs).max())}
    try:
        words("vllm", small_heads, sentences)
    except JobError as error:
        found["small heads"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
