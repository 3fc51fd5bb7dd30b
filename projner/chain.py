"""Commands that follow one another: from corpora to a tagger and its figures, as one job."""

from __future__ import annotations

import json
import shlex
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

from projner.config import Section
from projner.errors import JobError


class Chain(Section):
    """A whole chain file. What its commands have finished, they do not do again: a chain that was
    killed goes on where it was."""

    values: dict[str, str] = Field({})
    """What `$name` stands for in `steps`, such as where data lie."""
    steps: dict[str, str] = Field(min_length=1)
    """By name and in order, arguments of `projner`, such as `project job.yaml --set label.model=$tagger`."""

    @field_validator("steps")
    @classmethod
    def _are_commands(cls, steps: dict[str, str]) -> dict[str, str]:
        for name, line in steps.items():
            try:
                words = shlex.split(line)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if not words or words[0] == "chain":
                raise ValueError(f"{name}: give a command of projner, such as `train FILE`")
        return steps

    def commands(self) -> dict[str, list[str]]:
        """The arguments of each step. Raises JobError for a `$name` without a value."""
        found = {}
        for name, line in self.steps.items():
            try:
                # The values come last, so that blanks in a path part nothing.
                words = [string.Template(word) for word in shlex.split(line)]
                found[name] = [word.substitute(self.values) for word in words]
            except KeyError as error:
                raise JobError(
                    f"step {name}: ${error.args[0]} stands for nothing; add it to `values`"
                ) from None
            except ValueError as error:
                raise JobError(f"step {name}: {error}; write $$ for a dollar sign") from None
        return found


@dataclass(frozen=True)
class Step:
    """A step that is done."""

    name: str
    seconds: float
    figures: dict[str, Any] | None
    """What `evaluate` found, as its `--json` prints it."""


def run(chain: Chain) -> Iterator[Step]:
    """Run the commands one after the other, each in a process of its own.

    Their output goes where this process's goes, but for that of `evaluate`, which becomes figures.
    Raises JobError when one fails; the others are not begun.
    """
    for name, arguments in chain.commands().items():
        evaluating = arguments[0] == "evaluate"
        command = [sys.executable, "-m", "projner", *arguments, *(["--json"] * evaluating)]
        print(f"== {name}: projner {shlex.join(arguments)}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE if evaluating else None, check=False)
        if done.returncode:
            raise JobError(
                f"step {name}: ended with exit code {done.returncode}, for the reason above; "
                "mend it and run the chain again"
            )
        figures = json.loads(done.stdout) if evaluating else None
        step = Step(name, time.perf_counter() - began, figures)
        found = f", F1 {figures['overall']['f1']:.3f}" if figures else ""
        print(f"== {name}: {step.seconds:.0f} s{found}", file=sys.stderr, flush=True)
        yield step
