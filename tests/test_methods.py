"""Which stages a job becomes, which settings name its runs, and one sentence without Ray."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from typing import Any, ClassVar

import pyarrow as pa
import pytest

import projner
from projner import config, methods
from projner.align.surface import SurfaceAligner
from projner.errors import JobError
from projner.stage import Stage
from tests.conftest import PAIRS, ROOT, labelled

GIVEN = ("source_tokens", "target_tokens", "source_entities", "links")
BARE = GIVEN[:3]


def job(**sections: Any) -> config.Job:
    corpus = {"format": "bitext", "source": "s", "target": "t"}
    languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
    return config.build(
        {"corpus": {**corpus, **languages, **sections.pop("corpus", {})}, **sections}
    )


def names(segments: list[methods.Segment]) -> list[list[str]]:
    return [[step.name for step in segment.stages] for segment in segments]


SURFACE = {"engine": "surface"}
RULES = {"method": "heuristic"}


@pytest.mark.parametrize(
    ("sections", "given", "partial", "expected"),
    [
        ({}, GIVEN, (), [["surface", "match"]]),
        ({"project": {"surface": None}}, GIVEN, (), [["match"]]),
        ({"project": RULES}, GIVEN, (), [["heuristic"]]),
        ({"project": {"method": "span"}}, GIVEN, (), [["heuristic"]]),
        # Links that are given win, unless some rows lack them.
        ({"align": SURFACE}, GIVEN, (), [["surface", "match"]]),
        ({"align": SURFACE}, GIVEN, ("links",), [["surface"], ["surface", "match"]]),
        ({"align": SURFACE, "project": RULES}, BARE, (), [["surface"], ["heuristic"]]),
        ({"align": [SURFACE, SURFACE], "project": RULES}, BARE, (), [["fused"], ["heuristic"]]),
    ],
)
def test_what_runs_follows_from_what_is_given(
    sections: dict[str, Any],
    given: Collection[str],
    partial: Collection[str],
    expected: list[list[str]],
) -> None:
    segments = methods.chain(job(**sections), given, partial)
    assert names(segments) == expected
    assert segments[-1].name == "project"
    parents = [None, *(segment.fingerprint for segment in segments)]
    assert [segment.settings["parent"] for segment in segments] == parents[:-1]
    assert segments[-1].signature.startswith(segments[0].signature)


MODEL = {"model": "m", "device": "cpu", "dtype": "float32"}
LABELLED = ("source_text", "source_tokens", "source_entities")
MARKED = {"method": "marked"}
BACK = {"method": "back_translation"}


@pytest.mark.parametrize(
    ("sections", "given", "expected"),
    [
        # Neither another translation nor links: nobody reads them.
        ({"project": MARKED, "align": SURFACE}, LABELLED, [["marked"], ["marked"]]),
        (
            {"project": BACK, "align": SURFACE},
            (*BARE, "target_text"),
            [["marked"], ["surface", "surface", "match"]],
        ),
        # The plain translation gets the labels of the marked one.
        (
            {"project": BACK, "align": SURFACE},
            LABELLED,
            [["translate"], ["marked"], ["surface", "surface", "match"]],
        ),
        (
            {"project": BACK | {"through": "heuristic"}, "align": {"engine": "eflomal"}},
            (*GIVEN, "target_text"),
            [["marked"], ["eflomal"], ["heuristic"]],
        ),
    ],
)
def test_methods_with_markers(
    sections: dict[str, Any], given: Collection[str], expected: list[list[str]]
) -> None:
    pytest.importorskip("ctranslate2")
    segments = methods.chain(job(translate=MODEL, **sections), {*given, "source_text"})
    assert names(segments) == expected
    assert segments[-1].name == "project"
    xml = sections | {"project": sections["project"] | {"markers": "xml"}}
    other = methods.chain(job(translate=MODEL, **xml), {*given, "source_text"})
    anew = [a.fingerprint != b.fingerprint for a, b in zip(segments, other, strict=True)]
    assert anew == [stages != ["translate"] for stages in expected]


def test_the_model_that_keeps_markers() -> None:
    pytest.importorskip("ctranslate2")
    own, usual = (
        methods.chain(job(project=MARKED, **sections), LABELLED)[0].fingerprint
        for sections in (
            {"translate": {**MODEL, "beam_size": 1}, "translate_marked": MODEL},
            {"translate": MODEL},
        )
    )
    assert own == usual


@pytest.mark.parametrize(
    ("sections", "given", "message"),
    [
        ({"project": MARKED}, LABELLED, "method marked gives a translation model texts with"),
        ({"project": BACK}, BARE, "method back_translation gives a translation model"),
        (
            {"project": BACK, "translate": MODEL},
            (*BARE, "source_text"),
            "method back_translation aligns .*; name an aligner under `align` of a job",
        ),
        (
            {"project": MARKED, "translate": MODEL},
            (*LABELLED, "target_tokens"),
            "method marked makes a target side, but the corpus has one",
        ),
    ],
)
def test_what_methods_with_markers_need(
    sections: dict[str, Any], given: Collection[str], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        methods.chain(job(**sections), given)


class Learns(Stage):
    """Makes links once it has seen the corpus."""

    name: ClassVar[str] = "learns"
    learns: ClassVar[bool] = True
    inputs = ("source_tokens", "target_tokens")
    outputs = ("links",)

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        return table


class Labels(Learns):
    name: ClassVar[str] = "labels"
    learns: ClassVar[bool] = False
    outputs = ("source_entities",)


def test_what_learns_starts_from_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "preparation", lambda *_: [Labels(), Learns()])
    texts = ("source_tokens", "target_tokens")
    assert names(methods.chain(job(), texts)) == [["labels"], ["learns"], ["surface", "match"]]
    assert names(methods.chain(job(), BARE)) == [["learns"], ["surface", "match"]]


class Sees(Learns):
    """Stands for a model that looks at the target side."""

    name: ClassVar[str] = "sees"
    room: ClassVar[str | None] = "label"
    learns: ClassVar[bool] = False
    inputs = ("target_tokens",)
    outputs = ("target_labels", "target_probs")


class Weighs(Sees):
    """Stands for a model that scores."""

    name: ClassVar[str] = "weighs"
    inputs = ("source_entities", "target_labels")
    outputs = ("nmt_scores",)


class Ends(Learns):
    """Stands for projection without links."""

    name: ClassVar[str] = "ends"
    learns: ClassVar[bool] = False
    inputs = ("target_labels",)
    outputs = ("target_entities",)


def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """`score: align` has two models look first; `method: span` has one, and reads no links."""
    known = methods.projection_stages

    def stages(project: config.Project, job: config.Job | None = None) -> list[Stage]:
        if project.method == "span":
            return [Sees(), Ends()]
        seen = [Sees(), SurfaceAligner(0.5, beside=True), Weighs()]
        return [*(seen if project.score == "align" else []), *known(project, job)]

    monkeypatch.setattr(methods, "projection_stages", stages)


def test_models_of_a_method_have_runs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    many, one, none = (
        methods.chain(job(align=SURFACE, project=project), BARE, (), [job(align=SURFACE)])
        for project in ({"score": "align"}, {"method": "span"}, {})
    )
    seen = ["surface", "target_labels+target_probs", "nmt_scores", "project"]
    assert [segment.name for segment in many] == seen
    last = [["surface", "weighs"], ["surface", "match"]]
    assert names(many) == [["surface"], ["sees"], *last]
    assert names(one) == [["surface"], ["sees"], ["ends"]]
    assert names(none) == [["surface"], ["surface", "match"]]
    assert many[0].fingerprint == one[0].fingerprint == none[0].fingerprint
    assert many[1].fingerprint == one[1].fingerprint


def test_what_nobody_reads_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    assert names(methods.chain(job(align=SURFACE, project={"method": "span"}), BARE)) == [
        ["sees"],
        ["ends"],
    ]
    assert names(methods.chain(job(project={"method": "span"}), ["target_tokens"])) == [
        ["sees"],
        ["ends"],
    ]


def test_languages_have_methods_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    corpus = {"format": "jsonl", "path": "j", "source": [], "target": []}
    codes = ["swh_Latn", "hau_Latn", "yor_Latn", "ibo_Latn"]
    project = {
        "score": "align_gap",
        "languages": {"hau": {"method": "span"}, "yor": {"score": "align"}},
    }
    monkeypatch.setattr(methods, "preparation", lambda *_: [])
    given = job(corpus=corpus | {"target_lang": codes}, project=project)
    # As if words had been translated.
    monkeypatch.setattr(methods, "_check", lambda *_: None)
    found = [
        [(step.name, step.languages) for step in segment.stages]
        for segment in methods.chain(given, ["source_tokens"])
    ]
    rest, hau, yor = ("ibo_Latn", "swh_Latn"), ("hau_Latn",), ("yor_Latn",)
    assert found == [
        [("sees", (*hau, *yor))],
        [("surface", yor), ("weighs", yor)],
        [("surface", (*rest, *yor)), ("match", rest), ("ends", hau), ("match", yor)],
    ]
    settings = dict(methods.chain(given, ["source_tokens"])[-1].settings["stages"])
    assert settings["ends.1"] == {"languages": list(hau)}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("source_tokens", "the corpus has no source side; give "),
        ("target_tokens", "the corpus has no target side; give "),
        ("source_entities", "the corpus has no labels on its source side; give that side as CoNLL"),
        (
            "links",
            "the corpus has no word links; give corpus.links, or name an aligner under `align`",
        ),
    ],
)
def test_what_is_neither_given_nor_made(missing: str, message: str) -> None:
    given = [column for column in GIVEN if column != missing]
    with pytest.raises(JobError, match=f"^{message}"):
        methods.chain(job(), given)


def test_a_target_side_is_in_one_language() -> None:
    corpus = {"format": "jsonl", "path": "j", "source": [], "target": []}
    many = job(corpus=corpus | {"target_lang": ["swh_Latn", "hau_Latn"]})
    with pytest.raises(JobError, match=r"corpus.target_lang names several languages, but"):
        methods.chain(many, GIVEN)


@pytest.mark.parametrize(
    ("changed", "prepares_anew", "projects_anew"),
    [
        ({}, False, False),
        ({"output": "elsewhere", "evaluate": {"gold": "g"}}, False, False),
        ({"resources": {"shard_rows": 5, "align": {"actors": 3}}}, False, False),
        ({"corpus": {"root": "/elsewhere"}}, False, False),
        ({"project": {"score": "align"}}, False, True),
        ({"align": SURFACE | {"min_similarity": 0.9}}, True, True),
        ({"corpus": {"source": ["another", "one more"]}}, False, False),
        ({"corpus": {"skip": 3, "limit": 5}}, False, False),
        ({"corpus": {"ignore": ["MISC"]}}, True, True),
        ({"corpus": {"target_lang": "hau_Latn"}}, True, True),
    ],
    ids=str,
)
def test_fingerprints(changed: dict[str, Any], prepares_anew: bool, projects_anew: bool) -> None:
    before = methods.chain(job(align=SURFACE), BARE)
    after = methods.chain(job(**{"align": SURFACE, **changed}), BARE)
    anew = [a.fingerprint != b.fingerprint for a, b in zip(before, after, strict=True)]
    assert anew == [prepares_anew, projects_anew]


def test_a_newer_version_of_a_stage_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = methods.chain(job(), GIVEN)[0].fingerprint
    monkeypatch.setattr(methods.Match, "version", methods.Match.version + 1)
    assert methods.chain(job(), GIVEN)[0].fingerprint != before


def test_the_sentence_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import projner\n.*?project_sentence.*?)```", readme, re.S)
    exec(code, {})
    (promised,) = re.findall(r"# (\[.*\])", code)
    assert capsys.readouterr().out.strip() == promised


def test_where_the_labels_of_a_sentence_come_from() -> None:
    pair = projner.project_sentence(
        ["Ada", "met", "Eva"], ["Eva", "na", "Ada"], [(0, 1, "A"), (2, 3, "B")], [(0, 2), (2, 0)]
    )
    assert pair.tokens == ["Eva", "na", "Ada"]
    assert pair.tags == ["B-B", "O", "B-A"]
    assert [entity["source_index"] for entity in pair.entities] == [1, 0]
    assert (pair.status, pair.detail) == ("ok", None)


@pytest.mark.parametrize("method", methods.usable())
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.source)
def test_every_named_method_on_easy_sentences(method: str, pair: Any) -> None:
    source, spans = labelled(pair.source)
    target, expected = labelled(pair.target)
    links = [tuple(map(int, link.split("-"))) for link in pair.links.split()]
    found = projner.project_sentence(source, target, [tuple(span) for span in spans], links, method)
    assert [(e["start"], e["end"], e["label"]) for e in found.entities] == expected


def test_a_method_may_be_a_section_of_a_job_file() -> None:
    sentence = ["Ada", "Byron"]
    section = config.Project(score="align", surface=None, max_words=1)
    found = projner.project_sentence(sentence, sentence, [(0, 2, "PER")], [(0, 0), (1, 1)], section)
    assert found.tags == ["B-PER", "O"]


def test_an_empty_sentence_and_one_without_entities() -> None:
    assert projner.project_sentence(["a"], [], [], []).tags == []
    assert projner.project_sentence(["a"], [], [(0, 1, "PER")], []).tags == []
    assert projner.project_sentence(["a"], ["b"], [], [(0, 0)]).tags == ["O"]


def test_no_tags_where_no_choice_satisfies_the_limit() -> None:
    section = config.Project(relation="=", limit=2)
    found = projner.project_sentence(["Ada"], ["Ada"], [(0, 1, "PER")], [(0, 0)], section)
    assert (found.status, found.tags, found.entities) == ("infeasible", ["O"], [])
    assert found.detail == "no choice of spans uses each of 1 entities = 2 times"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Ada left", ["Ada"], [], []), "give each sentence as a list of words"),
        ((["Ada"], "Ada", [], []), "give each sentence as a list of words"),
        (
            (["Ada"], ["Ada"], [(0, 2, "PER")], []),
            r"entity \(0, 2, 'PER'\) is empty or outside the 1",
        ),
        ((["Ada"], ["Ada"], [(0, 0, "PER")], []), r"entity \(0, 0, 'PER'\) is empty or outside"),
        ((["Ada"], ["Ada"], [(-1, 1, "PER")], []), r"entity \(-1, 1, 'PER'\) is empty or outside"),
        ((["Ada"], ["Ada"], [], [(1, 1)]), r"link \(1, 1\) is outside 1 source and 1 target words"),
        ((["Ada"], ["Ada"], [], [(0, -1)]), r"link \(0, -1\) is outside"),
        (
            (["Ada"], ["Ada"], [], [], "best"),
            "unknown method 'best'; choose one of default, heuristic",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_one_sentence_is_refused_for(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(JobError, match=message):
        projner.project_sentence(*arguments)


def test_one_sentence_needs_no_ray_and_no_model() -> None:
    code = (
        "import sys, projner\n"
        "ada = ['Ada']\n"
        "assert projner.project_sentence(ada, ada, [(0, 1, 'PER')], [(0, 0)]).tags == ['B-PER']\n"
        "print(*sorted({'ray', 'torch', 'transformers', 'eflomal', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "ner",
            "score ner looks at the target side with a tagger; name one under `label_target` or",
        ),
        ("align_ner_spans", "score ner_spans looks at the target side with a tagger; name one"),
        ("ner_candidates", "candidates ner looks at the target side with a tagger; name one"),
        (
            "nmt",
            "score nmt asks a translation model how likely spans are; name one under `translate`",
        ),
        ("codec", "score codec gives a translation model texts with markers .*`translate_marked`"),
        ("labelpigeon", "method marked gives a translation model texts with markers"),
        ("back_translation", "method back_translation gives a translation model texts with"),
    ],
)
def test_what_one_sentence_has_no_model_for(method: str, message: str) -> None:
    with pytest.raises(JobError, match=message):
        projner.project_sentence(["Ada"], ["Ada"], [(0, 1, "PER")], [(0, 0)], method)
    assert method not in methods.usable()
    with pytest.raises(JobError, match=message):
        methods.chain(job(project=methods.named(method).model_dump()), GIVEN)


def test_the_method_of_a_language_is_looked_at_too() -> None:
    with pytest.raises(JobError, match="score ner looks at the target side"):
        methods.chain(job(project={"languages": {"swh": {"score": "ner"}}}), GIVEN)
    assert methods.chain(job(project={"languages": {"hau": {"score": "ner"}}}), GIVEN)
