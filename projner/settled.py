"""What a job's chain of runs was settled as, kept beside the runs.

Where models run decides what `auto` means, so a chain is settled there, by a Ray that must be started or
joined, perhaps on a GPU that must be got. Whoever only wants to know whether there is anything to do reads
it here instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import projner
from projner import checkpoints, config
from projner.methods import WHICH, Segment
from projner.storage import Place


class UnsettledError(Exception):
    """A remembered segment has no stages, and rows must be computed with them."""


class Memory:
    """The chain that a job had under this code, with these columns and models."""

    def __init__(self, output: Place, job: config.Job, *given: Sequence[str]):
        plain = job.model_dump(
            mode="json",
            exclude={
                "output": True,
                "resources": True,
                "evaluate": True,
                "compare": True,
                "corpus": WHICH,
            },
        )
        models = [checkpoints.identity(model) for model in sorted(set(_models(plain)))]
        key = config.fingerprint(_code(), plain, models, *map(list, given))
        self._place = output / "settled" / f"{key}.json"

    def chain(self) -> list[Segment] | None:
        """The segments, without their stages; None where they were never settled."""
        with suppress(FileNotFoundError, ValueError, TypeError):
            stored = json.loads(self._place.read())
            return [Segment(stages=(), **segment) for segment in stored]
        return None

    def keep(self, chain: Sequence[Segment]) -> None:
        """Remember the segments of a chain that could be settled nowhere but where models run."""
        stored = [
            {"name": each.name, "settings": each.settings, "signature": each.signature}
            for each in chain
        ]
        self._place.parent.make()
        self._place.write(json.dumps(stored, indent=1).encode())


def _models(plain: Any) -> Iterator[str]:
    """Every model that a job names."""
    if isinstance(plain, dict):
        if isinstance(plain.get("model"), str):
            yield plain["model"]
        for value in plain.values():
            yield from _models(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _models(value)


@cache
def _code() -> str:
    """A digest of this package: with the same code, the same job is settled in the same way."""
    folder = Path(projner.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
