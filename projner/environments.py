"""Virtual environments beside this one, for stages whose libraries do not go with the others'.

An actor of such a stage is a process of that environment's Python; what it is given and gives back is
pickled, so both sides must have the same projner, Ray and pyarrow, and a Python of the same release.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from projner import versions
from projner.errors import JobError

PATIENCE_S = 120
"""A cold disk takes its time; a Python that is none may never answer."""


def location(environment: str) -> str:
    """Where the Python of an environment is, from anywhere on a machine."""
    # Not resolved: the link in its folder is what tells Python that it is an environment's.
    return os.path.abspath(os.path.expanduser(environment))


def check(environment: str, needs: Sequence[str] = ()) -> None:
    """Raise JobError where an environment's Python cannot work for this one's.

    `needs`: modules that it must have, such as `vllm`.
    """
    python = location(environment)
    if Path(python).is_dir():
        raise JobError(f"{python}: is a folder; name the Python in it, such as {python}/bin/python")
    if not os.access(python, os.X_OK):
        raise JobError(
            f"{python}: no such Python on {platform.node()}; every node that may hold the model needs "
            "it, or leave `environment` out"
        )
    problem = difference(_ask(python, needs), versions.versions(), needs)
    if problem:
        raise JobError(f"{python}: {problem}")


def difference(
    there: Mapping[str, str | None], here: Mapping[str, str | None], needs: Sequence[str] = ()
) -> str | None:
    """What is wrong with an environment beside this one, from what `versions` says of both."""
    if there["python"] != here["python"]:
        return (
            f"is Python {there['python']}, and this job runs on {here['python']}; make the environment "
            "with that"
        )
    for name in versions.SAME:
        if there[name] is None:
            mend = (
                "pip install projner" if name == "projner" else f"pip install {name}=={here[name]}"
            )
            return f"has no {name}; {mend} there"
        if there[name] != here[name]:
            return (
                f"has {name} {there[name]}, and this job runs on {here[name]}; pip install "
                f"{name}=={here[name]} there"
            )
    for name in needs:
        if there[name] is None:
            return f"has no {name}; pip install 'projner[{name}]' there"
    return None


def _ask(python: str, needs: Sequence[str]) -> dict[str, str | None]:
    """What `versions` says there."""
    # By its text, for that environment may have another projner, or none.
    command = [python, "-c", Path(str(versions.__file__)).read_text(encoding="utf-8"), *needs]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            # Python looks for modules where it is called.
            cwd=Path(python).parent,
        )
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise JobError(f"{python}: is no Python that runs; name one under `environment`") from None
