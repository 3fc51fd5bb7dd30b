"""Project named-entity labels from a language that has them to one that has none, on Ray.

`project_sentence` projects one sentence, without Ray; `projner.pipeline.project` runs a whole job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Projection", "__version__", "project_sentence"]

if TYPE_CHECKING:
    from projner.methods import Projection, project_sentence


def __getattr__(name: str) -> Any:
    # Loaded when asked for, so that `projner --help` answers at once. No name here may be a
    # subpackage's, which takes its place once it is imported.
    if name in ("Projection", "project_sentence"):
        from projner import methods

        globals()[name] = getattr(methods, name)
        return globals()[name]
    raise AttributeError(f"module 'projner' has no attribute {name!r}")
