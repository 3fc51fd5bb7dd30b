"""Fixtures shared by every test."""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from hypothesis import settings

from projner.tags import Span, to_tags

if TYPE_CHECKING:
    from projner.demo.models import Models

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
CACHE = os.environ.get("PROJNER_CACHE")
"""The developer's own; some tests have others."""

# A test that fails because the machine is busy says nothing about the code; and what CI judges is one
# change, not the luck of a new draw. On a developer's machine every run draws anew.
settings.register_profile("projner", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("projner")


class Pair(NamedTuple):
    """A sentence with its entities in brackets, its translation, and Pharaoh links."""

    source: str
    target: str
    links: str


PAIRS = (
    Pair("[PER Ada] met [LOC Rome] .", "[PER Ada] alikutana [LOC Roma] .", "0-0 1-1 2-2 3-3"),
    Pair("It rained .", "Mvua ilinyesha .", "1-0 1-1 2-2"),
    Pair(
        "[PER Wangari Maathai] was born in [LOC Nyeri] .",
        "[PER Wangari Maathai] alizaliwa [LOC Nyeri] .",
        "0-0 1-1 3-2 5-3 6-4",
    ),
    Pair(
        "The [ORG Bank of Kenya] rose .",
        "[ORG Benki ya Kenya] ilipanda .",
        "1-0 3-2 4-3 5-4",
    ),
    # Gold files have such repetitions, and every one comes out.
    Pair("[PER Ada] met [LOC Rome] .", "[PER Ada] alikutana [LOC Roma] .", "0-0 1-1 2-2 3-3"),
)
"""Pairs whose targets are labelled as the default method labels them."""


def labelled(text: str) -> tuple[list[str], list[Span]]:
    """The words and the spans of a sentence like `[PER Ada Lovelace] met [LOC Rome] .`"""
    tokens: list[str] = []
    spans: list[Span] = []
    for label, inside, word in re.findall(r"\[(\S+) ([^]]+)\]|(\S+)", text):
        words = inside.split() if label else [word]
        if label:
            spans.append(Span(len(tokens), len(tokens) + len(words), label))
        tokens += words
    return tokens, spans


def conll(sentences: Sequence[str]) -> str:
    """Sentences like those that `labelled` takes as the text of a CoNLL file, tagged in IOB2."""
    blocks = []
    for sentence in sentences:
        tokens, spans = labelled(sentence)
        tags = to_tags(spans, len(tokens))
        rows = zip(tokens, tags, strict=True)
        blocks.append("".join(f"{token} {tag}\n" for token, tag in rows) + "\n")
    return "".join(blocks)


def plain(sentence: str) -> str:
    """A sentence like those that `labelled` takes, without its labels."""
    return " ".join(labelled(sentence)[0])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora that developers and CI have beside the project; users do not."""
    if not SHARED.is_dir():
        pytest.skip("needs the developers' data folder (../shared/data), which is not here")
    return SHARED


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[int]:
    """The port at which this process and its children look for S3, whether or not it is there."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "projner-test-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "projner-test-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield port


@pytest.fixture(scope="session")
def ray_session(s3_environment: int) -> Iterator[str]:
    """The address of one local Ray, of two CPUs, that this process has joined."""
    import ray

    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server(s3_environment: int) -> Iterator[None]:
    """A server that speaks S3, for this process and its children."""
    server = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors")
    pytest.importorskip("s3fs", reason="needs the extra projner[s3]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer("127.0.0.1", s3_environment, verbose=False)
    running.start()
    yield
    running.stop()


@pytest.fixture
def s3(s3_server: None) -> str:
    """The URL of an empty bucket."""
    import s3fs

    bucket = f"projner-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def pairs_run(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of a job over `PAIRS`, whose second sentence has no entity. Only to be read."""
    from projner import config, pipeline

    folder = tmp_path_factory.mktemp("run")
    (folder / "source.conll").write_text(conll([pair.source for pair in PAIRS]), encoding="utf-8")
    (folder / "target.conll").write_text(conll([pair.target for pair in PAIRS]), encoding="utf-8")
    (folder / "links").write_text("".join(f"{pair.links}\n" for pair in PAIRS), encoding="utf-8")
    corpus = {
        "format": "bitext",
        "source": "source.conll",
        "target": "target.conll",
        "links": "links",
        "root": str(folder),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }
    pipeline.project(config.build({"corpus": corpus, "output": str(folder / "out")}))
    return str(folder / "out")


@pytest.fixture(scope="session")
def demo_models() -> Models:
    """The toy models of the demo, trained if this machine's cache does not have them."""
    pytest.importorskip("torch", reason="needs the extra projner[models]")
    from projner.demo import models

    with _own_cache():
        return models.models()


@pytest.fixture(scope="session")
def marked_translator() -> Path:
    """The toy translator that keeps markers, trained if this machine's cache does not have it."""
    pytest.importorskip("torch", reason="needs the extra projner[models]")
    from projner.demo import models

    with _own_cache():
        return models.marked_translator()


@contextmanager
def _own_cache() -> Iterator[None]:
    """The cache that this machine keeps, whatever a test has made of it since."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROJNER_CACHE", raising=False)
        if CACHE is not None:
            patch.setenv("PROJNER_CACHE", CACHE)
        yield


@pytest.fixture
def bitext(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a corpus: `bitext(PAIRS, **settings_of_corpus)` gives the job.

    In `corpus/` are `source.conll`, `target.txt` (`target.conll` where `gold` is true), and
    `links.pharaoh`; runs go to `out/`.
    """

    def write(pairs: Sequence[Pair] = PAIRS, gold: bool = False, **settings: Any) -> dict[str, Any]:
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        targets = [pair.target for pair in pairs]
        name = "target.conll" if gold else "target.txt"
        lines = "".join(f"{plain(text)}\n" for text in targets)
        contents = {
            "source.conll": conll([pair.source for pair in pairs]),
            name: conll(targets) if gold else lines,
            "links.pharaoh": "".join(f"{pair.links}\n" for pair in pairs),
        }
        for file, content in contents.items():
            (folder / file).write_text(content, encoding="utf-8")
        corpus = {
            "format": "bitext",
            "source": "source.conll",
            "target": name,
            "links": "links.pharaoh",
            "root": str(folder),
            "source_lang": "eng_Latn",
            "target_lang": "swh_Latn",
        }
        return {"corpus": corpus | settings, "output": str(tmp_path / "out")}

    return write


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a job file: `job_file(job, name="job")` gives its path."""

    def write(job: dict[str, Any], name: str = "job") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(job), encoding="utf-8")
        return path

    return write
