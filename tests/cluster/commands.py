"""Shell commands as our files and pages have them: parsed by what would run them, but not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import click

from projner import cli
from tests.conftest import ROOT

OTHERS = {
    *("apt-get", "awk", "aws", "cat", "cd", "cp", "docker", "echo", "env", "exit", "for", "do"),
    *("done", "export", "gcloud", "grep", "head", "helm", "hostname", "kubectl", "ls", "make"),
    *("mkdir", "od", "openssl", "rm", "scontrol", "sed", "set", "source", "srun", "sudo", "tail"),
    *("test", "tr", "trap", "ulimit", "umask", "useradd", "watch", "wget", "wait", "ssh", "scp"),
    *(
        "base64",
        "[",
        "[[",
        "if",
        "then",
        "fi",
        "hf",
        "jq",
        "sinfo",
        "squeue",
        "scancel",
        "kind",
        "git",
    ),
}
"""Programs whose own options we leave to them."""


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a shell script: their words, with `1` in place of what would be expanded.

    Raises ValueError for quotes that do not close.
    """
    script = re.sub(r"\\\n", " ", script)
    script = re.sub(r"\$\((?:[^()]|\([^()]*\))*\)", "1", script)
    script = re.sub(r"\$\{[^}]*\}|\$[@\w]+", "1", script)
    for line in script.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="();|&<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in words:
            if set(word) <= set("();|&"):
                yield from _simple(command)
                command = []
            else:
                command.append(word)
        yield from _simple(command)


def _simple(words: list[str]) -> Iterator[list[str]]:
    """A command without redirections, the variables it sets, and the words before the program."""
    words = [word for word in words if word not in (">", ">>", "<")]
    while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] in ("env", "sudo", "do", "!")):
        words = words[1:]
    if words:
        yield words


def check(words: list[str]) -> None:
    """Assert that a command exists, takes these options, and names files of ours that there are."""
    program, *arguments = words
    name = program.rsplit("/", 1)[-1]
    if name == "ray":
        _check_ray(arguments)
    elif name == "projner":
        _parse(arguments)
    elif name in ("python", "python3"):
        if arguments[0].startswith("jobs/"):
            _check_job(arguments)
    elif name == "pip":
        _check_extras(arguments)
    elif name == "sbatch":
        assert (ROOT / arguments[0]).is_file(), arguments[0]
        _parse(["project", *arguments[1:]])
    elif name == "srun":
        _check_srun(arguments)
    else:
        assert name in OTHERS, f"who is {program}? ({' '.join(words)})"
    for word in words:
        if word.startswith(("cluster/", "jobs/", "demo/")) and "*" not in word:
            assert (ROOT / word).exists(), f"{word} is not there"


def _parse(arguments: list[str]) -> None:
    try:
        cli._parser().parse_args(arguments)
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"projner {' '.join(arguments)}") from None


def _check_job(arguments: list[str]) -> None:
    script = (ROOT / arguments[0]).read_text(encoding="utf-8")
    found = re.search(r'main\(\["(\w+)"', script)
    assert found, f"{arguments[0]} is no thin script"
    _parse([found[1], *arguments[1:]])


def _check_extras(arguments: list[str]) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (section,) = re.findall(r"^\[project.optional-dependencies\]$(.*?)^\[", text, re.M | re.S)
    known = set(re.findall(r"^(\w+) = \[", section, re.M))
    for argument in arguments:
        for extras in re.findall(r"(?:\.|projner)\[([\w,]+)\]$", argument):
            assert set(extras.split(",")) <= known, argument


def _check_ray(arguments: list[str]) -> None:
    from ray.scripts.scripts import cli as ray

    command: Any = ray
    names = []
    while isinstance(command, click.Group) and not arguments[0].startswith("-"):
        names.append(arguments[0])
        command = command.get_command(click.Context(command), arguments[0])
        assert command is not None, f"ray {' '.join(names)}"
        arguments = arguments[1:]
    ours: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, ours = arguments[:at], arguments[at + 1 :]
    try:
        if names == ["symmetric-run"]:
            context = command.make_context("symmetric-run", arguments, resilient_parsing=True)
            start = list(context.params["ray_args_and_entrypoint"])
            ray.get_command(context, "start").make_context("start", start)
        else:
            command.make_context(" ".join(names), [*arguments, *ours[:1]])
    except click.exceptions.Exit:
        pass  # --help, --version
    except click.ClickException as error:
        raise AssertionError(f"ray {' '.join(names)}: {error.format_message()}") from None
    for simple in _simple(ours):
        check(simple)


def _check_srun(arguments: list[str]) -> None:
    program = next(n for n, word in enumerate(arguments) if not word.startswith("-"))
    check(arguments[program:])
