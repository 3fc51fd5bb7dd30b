"""The job file: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from projner import config
from projner.errors import JobError

CORPUS = {
    "format": "bitext",
    "source": "a.conll",
    "target": "b.txt",
    "source_lang": "eng_Latn",
    "target_lang": "sw",
}
TEXT = """\
corpus:
  format: bitext
  source: a.conll
  target: [b.txt, c.txt]
  source_lang: eng_Latn
  target_lang: sw
align: {engine: surface, min_similarity: 0.9}
project:
  method: heuristic
output: out
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_job_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    job = config.load(written(tmp_path, TEXT))
    assert job.corpus.source == ("a.conll",)
    assert job.corpus.target == ("b.txt", "c.txt")
    assert job.corpus.target_lang == ("swh_Latn",)
    assert job.align == (config.Surface(min_similarity=0.9),)
    assert job.project.method == "heuristic"
    assert job.corpus.on_error == "fail"


def test_overrides_are_yaml_and_make_sections(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    job = config.load(path, ["project.limit=2", "corpus.ignore=[MISC]", "evaluate.gold=g.conll"])
    assert (job.project.limit, job.corpus.ignore) == (2, ("MISC",))
    assert job.evaluate.gold == "g.conll"


@pytest.mark.parametrize(
    ("replace", "by", "message"),
    [
        ("  method: heuristic", "  metod: heuristic", ":9: unknown key `metod`; did you mean `method`?"),
        ("project:", "projct:", ":8: unknown key `projct`; did you mean `project`?"),
        ("min_similarity", "min_simlarity", "`min_simlarity`; did you mean `min_similarity`?"),
        ("source_lang: eng_Latn", "source_lang: eng_Ltn", ":5: corpus.source_lang: unknown language"),
        ("  source: a.conll\n", "", "format bitext needs `source` and `target`"),
        ("  format: bitext\n", "", "job.yaml:1: `corpus.format` is missing"),
        ("method: heuristic", "method: [x", "job.yaml:10: not valid YAML"),
        ("engine: surface", "engine: sufrace", "job.yaml:7: align"),
        ("target: [b.txt, c.txt]", "target: 7", "job.yaml:4: corpus.target: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, replace: str, by: str, message: str
) -> None:
    assert replace in TEXT
    with pytest.raises(JobError) as refused:
        config.load(written(tmp_path, TEXT.replace(replace, by)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("project.metod=match", "--set project.metod: unknown key `metod`; did you mean `method`?"),
        ("project", "--set project: write it as section.key=value"),
        ("corpus.format.x=1", "--set corpus.format.x=1: format holds no keys"),
        ("project.limit=[", "'[' is not valid YAML"),
        ("project.limit=0", "--set project.limit: project.limit: "),
    ],
)
def test_a_bad_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(JobError) as refused:
        config.load(written(tmp_path, TEXT), [override])
    assert message in str(refused.value)


def test_files_that_are_no_job_files(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="cannot read the job file: No such file"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(JobError, match="a job file holds sections"):
        config.load(written(tmp_path, "- a\n- b\n"))
    (tmp_path / "job.yaml").write_bytes(b"corpus: \xff")
    with pytest.raises(JobError, match="byte 8 is not UTF-8"):
        config.load(tmp_path / "job.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "text", "links": "l"}, "for both, use bitext"),
        ({"format": "jsonl"}, "format jsonl needs `path`"),
        ({"path": "x"}, "under `source` and `target`"),
        (
            {"target_lang": ["sw", "ha"]},
            "several target languages need a corpus with a source side",
        ),
    ],
)
def test_sections_that_contradict_themselves(changes: dict, message: str) -> None:
    with pytest.raises(JobError, match=message):
        config.build({"corpus": {**CORPUS, **changes}})


def test_configs_are_frozen() -> None:
    job = config.build({"corpus": CORPUS})
    with pytest.raises(ValidationError):
        job.project.limit = 2  # type: ignore[misc]


def test_fingerprints_follow_what_they_are_made_of() -> None:
    match, heuristic = config.Project(), config.Project(method="heuristic")
    assert config.fingerprint(match, 1) == config.fingerprint(config.Project(), 1)
    assert config.fingerprint(match, 1) != config.fingerprint(match, 2)
    assert config.fingerprint(match) != config.fingerprint(heuristic)
    assert config.fingerprint({"a": 1, "b": 2}) == config.fingerprint({"b": 2, "a": 1})


def test_nothing_in_a_job_file_runs(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="not valid YAML"):
        config.load(written(tmp_path, "corpus: !!python/object/apply:os.getcwd []\n"))


def test_a_language_differs_in_what_it_says() -> None:
    project = config.Project(score="align", max_words=3, languages={"hau": {"score": "align_gap"}})
    assert project.of("hau_Latn") == config.Project(score="align_gap", max_words=3)
    assert project.of("swh_Latn") is project
    assert config.Project.model_validate(project.model_dump()) == project


@pytest.mark.parametrize(
    ("score", "weights"),
    [
        ("align", {"align": 1}),
        ({"align": 0.5, "ner_spans": 0.5, "nmt": 1}, {"align": 0.5, "ner_spans": 0.5, "nmt": 1}),
    ],
)
def test_scores_have_weights(score: Any, weights: dict[str, float]) -> None:
    assert config.Project(score=score).weights == weights


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("alignment", "project.score: Input should be .evidence"),
        ({"alignment": 1}, "project.score: Input should be .evidence"),
        ({"align": 0}, "project.score: Input should be greater than 0"),
        ({}, "`score` has no scores; name one"),
    ],
)
def test_what_scores_are_refused(score: Any, message: str) -> None:
    with pytest.raises(JobError, match=message):
        config.build({"corpus": CORPUS, "project": {"score": score}})


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        ({"hau": {"scores": "align"}}, "unknown key `scores`; did you mean `score`"),
        ({"nowhere": {}}, "nowhere"),
        ({"hau": {"languages": {"swh": {}}}}, "`languages` within `languages`"),
    ],
)
def test_what_languages_are_refused(languages: dict, message: str) -> None:
    with pytest.raises(JobError, match=message):
        config.build({"corpus": CORPUS, "project": {"languages": languages}})
