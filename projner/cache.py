"""Where projner keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """`$PROJNER_CACHE`, or else `$XDG_CACHE_HOME/projner`; perhaps not there yet."""
    given = os.environ.get("PROJNER_CACHE")
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or Path(above) / "projner").expanduser()
