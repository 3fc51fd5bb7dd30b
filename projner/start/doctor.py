"""`projner doctor`: what is installed here, what it is for, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

import projner
from projner import cache, storage
from projner.errors import JobError

GIVES = {
    "models": "translation, labelling and word alignment by models",
    "eflomal": "statistical word alignment (GPL-3.0, compiled from source)",
    "awesome-align": "the package awesome-align as an engine",
    "vllm": "language models that translate, in an environment of its own (README.md)",
    "langid": "filters by language",
    "icu": "dictionaries for languages that write no spaces",
    "hub": "data sets of the Hugging Face hub",
    "s3": "corpora and runs in S3",
    "gcs": "corpora and runs in Google Cloud Storage",
    "spacy": "export to spaCy",
    "cluster": "Ray's dashboard, which takes jobs in",
    "completion": "completion of commands by bash, zsh and tcsh",
}
"""What users install beside the base, by extra. Others are for developers."""
LEAST_SPACE = 1e9
"""Bytes on a disk with which nothing sensible can be started."""
LITTLE_SPACE = 10e9
"""Bytes that a model of the usual size, with its conversion, takes."""

State = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: State
    """missing: optional, and not there. wrong: nothing, or not what was asked for, works so."""
    says: str
    mend: str | None = None


def examine(output: str = ".", needed: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at everything, one after the other; extras that are `needed` are wrong when missing.

    Starts Ray, or joins the cluster of RAY_ADDRESS, for a moment; writes nothing. Raises JobError for
    an extra that there is not.
    """
    for name in needed:
        if name not in GIVES:
            raise JobError(f"--need {name}: no such extra; choose among {', '.join(GIVES)}")
    yield Finding(
        "projner",
        "ok",
        f"{projner.__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} CPUs",
    )
    try:
        declared = [Requirement(text) for text in metadata.requires("projner") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("base", "wrong", "projner is not installed", "pip install .")
    else:
        yield _base(declared)
        known = metadata.metadata("projner").get_all("Provides-Extra") or ()
        yield from (_extra(name, declared, name in needed) for name in GIVES if name in known)
    yield _devices()
    yield _ray()
    yield _disk("output", Path(output)) if not storage.is_url(output) else _store(output)
    yield _disk("cache", cache.folder())
    yield from _models()


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether everything that is needed is there."""
    return all(finding.state != "wrong" for finding in findings)


def as_text(finding: Finding) -> str:
    """A finding as a line."""
    mend = f": {finding.mend}" if finding.mend else ""
    return f"{finding.state:<8}{finding.about:<15}{finding.says}{mend}"


def as_json(findings: Sequence[Finding]) -> str:
    """All findings, and whether they are healthy."""
    return json.dumps(
        {"healthy": healthy(findings), "findings": [vars(finding) for finding in findings]}
    )


def _base(declared: Sequence[Requirement]) -> Finding:
    wanted = [each for each in declared if _asked(each, "")]
    if lacking := _lacking(wanted):
        return Finding("base", "wrong", "; ".join(lacking), "pip install projner")
    return Finding("base", "ok", f"{len(wanted)} packages")


def _extra(name: str, declared: Sequence[Requirement], needed: bool) -> Finding:
    wanted = list(_of_extra(name, declared))
    lacking = _lacking(wanted)
    says = GIVES[name]
    if not lacking:
        if not wanted:
            return Finding(name, "missing", f"{says}; not for this Python")
        direct = [each for each in declared if _asked(each, name) and not _asked(each, "")]
        named = [each.name for each in direct if each.name != "projner"]
        found = ", ".join(f"{each} {metadata.version(each)}" for each in named)
        return Finding(name, "ok", f"{says} ({found})")
    mend = f"pip install 'projner[{name}]'"
    if name in ("models", "awesome-align") and _version("torch") is None:
        mend = f"pip install torch, for a CPU or your CUDA, then {mend}"
    partly = len(lacking) < len(wanted) or any("wants" in each for each in lacking)
    says += f" ({'; '.join(lacking)})" if partly else ""
    return Finding(name, "wrong" if needed else "missing", says, mend)


def _of_extra(name: str, declared: Sequence[Requirement]) -> Iterator[Requirement]:
    """What an extra asks for, with what extras within it ask for, of ours and of others."""
    for each in declared:
        if not _asked(each, name) or _asked(each, ""):
            continue
        if each.name == "projner":
            for other in sorted(each.extras):
                yield from _of_extra(other, declared)
            continue
        yield each
        if each.extras and _version(each.name):
            theirs = [Requirement(text) for text in metadata.requires(each.name) or ()]
            for other in sorted(each.extras):
                yield from _of_extra(other, theirs)


def _asked(each: Requirement, extra: str) -> bool:
    return each.marker is None or each.marker.evaluate({"extra": extra})


def _lacking(wanted: Sequence[Requirement]) -> list[str]:
    found = []
    for each in wanted:
        version = _version(each.name)
        if version is None:
            found.append(f"no {each.name}")
        elif not each.specifier.contains(version, prereleases=True):
            found.append(f"{each.name} {version}, wants {each.specifier}")
    return found


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _devices() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("devices", "missing", "no torch, so no model can run")
    except OSError as error:
        reason = str(error).partition("\n")[0]
        return Finding("devices", "wrong", f"torch cannot be loaded ({reason})", "install it anew")
    found = []
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory / 1e9
        found.append(f"cuda:{number} {torch.cuda.get_device_name(number)}, {memory:.0f} GB")
    if torch.backends.mps.is_available():
        found.append("mps")
    from projner import devices

    fast = "computes in bfloat16" if devices.computes_in_bfloat16("cpu") else "no bfloat16"
    found.append(f"cpu, {torch.get_num_threads()} threads, {fast}")
    return Finding("devices", "ok", f"torch {torch.__version__}: {'; '.join(found)}")


def _ray() -> Finding:
    try:
        import ray

        from projner import pipeline

        with pipeline.session():
            answered = ray.remote(num_cpus=1)(_answer).remote()
            ready, _ = ray.wait([answered], timeout=120)
            had = ray.cluster_resources()
    except JobError as error:
        return Finding("ray", "wrong", str(error))
    # Ray has many ways not to start; none of them should keep the rest from being said.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        return Finding(
            "ray", "wrong", f"does not start: {reason}", "see /tmp/ray/session_latest/logs"
        )
    where = os.environ.get("RAY_ADDRESS") or "this machine"
    what = f"{ray.__version__} on {where}: {had.get('CPU', 0):g} CPUs, {had.get('GPU', 0):g} GPUs"
    if not ready:
        return Finding("ray", "wrong", f"{what}; a task did not run within 120 s", "free a CPU")
    return Finding("ray", "ok", f"{what}; a task ran")


def _answer() -> bool:
    return True


def _disk(about: str, folder: Path) -> Finding:
    there = folder.expanduser().absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        mend = "give another --output" if about == "output" else "set PROJNER_CACHE to a folder"
        return Finding(about, "wrong", f"{there}: cannot be written", mend)
    free = shutil.disk_usage(there).free
    says = f"{folder}: {free / 1e9:.1f} GB free"
    if free < LEAST_SPACE:
        return Finding(about, "wrong", says, "make room")
    little = about == "cache" and free < LITTLE_SPACE
    return Finding(about, "ok", f"{says}, which is little for models" if little else says)


def _store(output: str) -> Finding:
    try:
        storage.at(output).files()
    except JobError as error:
        return Finding("output", "wrong", str(error))
    return Finding("output", "ok", f"{output}: answers")


def _models() -> Iterator[Finding]:
    """What the caches hold: conversions and toy models of ours, and what came from the hub."""
    ours = [name for name in ("ctranslate2", "demo", "marked") if _holds(cache.folder(), name)]
    if ours:
        size = _size(cache.folder())
        yield Finding("made here", "ok", f"{', '.join(ours)}: {size / 1e6:,.0f} MB")
    try:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.errors import CacheNotFound
    except ImportError:
        return
    try:
        held = sorted(scan_cache_dir().repos, key=lambda repo: repo.repo_id)
    except CacheNotFound:
        held = []
    named = [f"{repo.repo_id} ({repo.size_on_disk / 1e9:.1f} GB)" for repo in held]
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    yield Finding("from the hub", "ok", f"{HF_HUB_CACHE}: {', '.join(named) or 'nothing'}{offline}")


def _holds(folder: Path, name: str) -> bool:
    return any(folder.glob(f"{name}*"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
