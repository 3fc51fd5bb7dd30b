"""Training workers that are lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from projner.train import fit, loop


class DiesOnce:
    """The work of a training of which a worker dies before its `step`th step, the first time."""

    def __init__(self, flag: Path, step: int) -> None:
        self.flag = flag
        self.step = step

    def __call__(self, given: dict[str, Any]) -> None:
        work, flag, taken = loop._Worker.step, self.flag, []

        def dying(*arguments: Any) -> Any:
            taken.append(1)
            if len(taken) == self.step and not flag.exists():
                flag.touch()
                os._exit(1)
            return work(*arguments)

        loop._Worker.step = dying  # type: ignore[method-assign]
        fit._work(given)
