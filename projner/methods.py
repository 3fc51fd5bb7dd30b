"""Which stages a job consists of: the only place where the rooms meet.

A projection method is a list of stages; a job is a chain of segments, and each becomes a run.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from projner import config, record, stage, tags
from projner.align.fuse import FusedAligner
from projner.align.surface import SurfaceAligner
from projner.errors import JobError
from projner.project import confidence
from projner.project.abstain import Abstain
from projner.project.filters import COMPLETE, Complete, Restrict
from projner.project.fusion import Scorer
from projner.project.marked import Marked
from projner.project.stages import Candidates, Heuristic, Match
from projner.project.transfer import Ensemble, Transfer
from projner.record import Status
from projner.stage import Renamed, Stage

if TYPE_CHECKING:
    from projner.label.stage import Labeller

NAMED: dict[str, config.Project] = {
    "default": config.Project(),
    "heuristic": config.Project(method="heuristic"),
    "span": config.Project(method="span"),
    "align": config.Project(score="align", surface=None),
    # Published without a bound on the words of a span.
    "align_gap": config.Project(score="align_gap", surface=None, max_words=1000),
    "align_gap+surface": config.Project(score="align_gap", surface=0.75, max_words=1000),
    "ner": config.Project(score="ner"),
    "ner_spans": config.Project(score="ner_spans"),
    "nmt": config.Project(score="nmt"),
    "align_ner": config.Project(score={"align": 0.5, "ner": 0.5}, surface=None),
    "align_ner_spans": config.Project(score={"align": 0.5, "ner_spans": 0.5}, surface=None),
    "all": config.Project(score={"align": 0.5, "ner_spans": 0.5, "nmt": 1}, surface=None),
    "codec": config.Project(score="codec"),
    "easyproject": config.Project(method="marked", markers="brackets"),
    "labelpigeon": config.Project(method="marked", markers="xml"),
    # As published; it has the rules for links come after it.
    "back_translation": config.Project(method="back_translation", through="heuristic"),
    "transfer": config.Project(method="transfer"),
    "ensemble": config.Project(method="ensemble"),
    "ner_candidates": config.Project(score="align", surface=None, candidates="ner"),
}
"""Projection methods by the name under which comparisons list them."""


@dataclass(frozen=True)
class Segment:
    """Stages that run in one stream, and the settings that name their run."""

    name: str
    stages: tuple[Stage, ...]
    settings: dict[str, Any]
    signature: str
    """One line that says how the run's rows were made, from the corpus on."""

    @property
    def fingerprint(self) -> str:
        return config.fingerprint(self.settings)


def chain(
    job: config.Job,
    given: Collection[str],
    partial: Collection[str] = (),
    beside: Iterable[config.Job] = (),
) -> list[Segment]:
    """The segments of a job on a corpus that gives the columns `given`, some of them only `partial`ly.

    A stage whose columns are all given in every row, or that no later one reads, is left out. One
    that learns from the corpus begins a segment, so that what it learns from is finished. Each
    stage of the projection method that holds a model ends one, so that other methods share what it
    makes; the last is projection, without models, so that trying another method repeats nothing.

    Jobs `beside` it are others on the same corpus. What their methods read is prepared as well, and
    where their preparation parts ways with this job's, a segment begins: so jobs that all have the
    others beside them share whatever they have in common.

    Raises JobError when a column is neither given nor made, and when a target side is given for
    several languages.
    """
    if len(job.corpus.target_lang) > 1 and "target_tokens" in given:
        raise JobError(
            "corpus.target_lang names several languages, but the corpus has a target side, which is in "
            "one; name that one"
        )
    whole = set(given) - set(partial)
    beside = list(beside)
    *modelled, projection = _projection(job, job.project)
    named = {job.project.of(code).method for code in job.corpus.target_lang}
    if "marked" in named and "target_tokens" in given:
        raise JobError(
            "method marked makes a target side, but the corpus has one; label that by another method, or "
            "leave it out of the corpus"
        )
    read = _inputs([*modelled, projection])
    for other in beside:
        read |= _inputs(_projection(other, other.project))
    own = _read(preparation(job, given, read), read, whole)
    partings = {
        _common(own, _read(preparation(other, given, read), read, whole)) for other in beside
    }
    groups: list[list[Stage]] = [[]]
    for number, step in enumerate(own):
        if (step.learns or number in partings) and groups[-1]:
            groups.append([])
        groups[-1].append(step)
    groups = [*filter(None, groups), *modelled, projection]
    _check([step for group in groups for step in group], given)
    segments: list[Segment] = []
    for group in groups:
        steps = tuple(step.resolved() for step in group)
        described = [(f"{step.name}.{step.version}", _settings(step)) for step in steps]
        settings = {
            "schema": record.SCHEMA_VERSION,
            "corpus": job.corpus.model_dump(mode="json", exclude=WHICH, exclude_defaults=True),
            "stages": [list(each) for each in described],
            "parent": segments[-1].fingerprint if segments else None,
        }
        name = "+".join(step.name for step in steps)
        if group is projection:
            name = "project"
        elif group in modelled:
            name = "+".join(group[-1].outputs)
        before = segments[-1].signature if segments else f"schema:{record.SCHEMA_VERSION}"
        signature = "|".join([before, *(_signed(*each) for each in described)])
        segments.append(Segment(name, steps, settings, signature))
    return segments


def _inputs(groups: Iterable[Iterable[Stage]]) -> set[str]:
    return {column for group in groups for step in group for column in step.inputs}


def _common(steps: Sequence[Stage], others: Sequence[Stage]) -> int:
    """How many stages two chains have in common at their beginnings."""
    pairs = enumerate(zip(steps, others, strict=False))
    same = min(len(steps), len(others))
    return next((n for n, pair in pairs if len({*map(_described, pair)}) > 1), same)


def _described(step: Stage) -> str:
    return config.fingerprint(f"{step.name}.{step.version}", step.settings())


def preparation(job: config.Job, given: Collection[str], read: Collection[str] = ()) -> list[Stage]:
    """The stages that make what projection may need, in order, as far as the job names them.

    `read`: the columns that it does need.
    """
    steps: list[Stage] = []
    if job.filter is not None:
        from projner.filter.stage import Filter

        codes = {"source": job.corpus.source_lang, "target": job.corpus.target_lang[0]}
        here = {side: code for side, code in codes.items() if f"{side}_tokens" in given}
        steps.append(Filter(job.filter, here))
    if job.translate is not None:
        from projner.translate.stage import Translator

        # Translate-test starts from the target side; everything else from the source side.
        from_side: Literal["source", "target"] = "source" if "source_text" in given else "target"
        to_side = ("source", "target")[from_side == "source"]
        wanted = (job.corpus.source_lang,) if to_side == "source" else job.corpus.target_lang
        steps.append(Translator(job.translate, from_side, languages=wanted))
    if job.label is not None:
        from projner.label.stage import Labeller

        steps.append(Labeller(job.label, "source", probabilities="source_probs" in read))
    return steps + _aligners(job)


def projection_stages(project: config.Project, job: config.Job | None = None) -> list[Stage]:
    """The stages of a projection method, in order; `job` names the models of those that hold one.

    Raises JobError naming the section of the job that a method needs and nobody gave.
    """
    if project.method == "back_translation":
        # What is said of links and scores is about those of the method that it goes on by.
        return _marked(project, job)
    if project.min_confidence is not None and confidence.coefficients(project) is None:
        raise JobError(
            "project.min_confidence: nobody knows how sure such a projection is, only those by one score "
            "on links, heuristic and span; use min_score"
        )
    steps = _method(project, job)
    if any(
        least is not None
        for least in (project.min_score, project.min_margin, project.min_confidence)
    ):
        steps.append(Abstain(project))
    if set(project.filters).intersection(COMPLETE):
        steps.append(Complete(project.filters))
    reading = [number for number, step in enumerate(steps) if "links" in step.inputs]
    if reading and "RSTR-TGT" in project.filters:
        steps.insert(reading[0], Restrict())
    return steps


def _method(project: config.Project, job: config.Job | None) -> list[Stage]:
    if project.method == "marked":
        return _marked(project, job)
    if project.method in ("heuristic", "span"):
        return [Heuristic(project)]
    if project.method == "transfer":
        return [_target_tagger(project, job), Transfer()]
    if project.method == "ensemble":
        return _ensemble(project, job)
    scorer = Scorer(project)
    steps: list[Stage] = []
    tags: Sequence[str] = ()
    if not {"target_labels", "target_probs"}.isdisjoint(scorer.inputs()):
        tagger = _target_tagger(project, job)
        steps.append(tagger)
        tags = tagger.classes()
    beside: list[Stage] = []
    if project.surface is not None and "surface_links" in scorer.inputs():
        beside = [SurfaceAligner(project.surface, beside=True)]
    models = [
        model
        for name, model in (("nmt", _phrase_scorer), ("codec", _marker_scorer))
        if name in project.weights
    ]
    if models:
        candidates = Candidates(project, tags)
        first = beside if "surface_links" in candidates.inputs else []
        steps += [*first, candidates, *(model(project, job) for model in models)]
    return [*steps, *beside, Match(project, tags)]


def _ensemble(project: config.Project, job: config.Job | None) -> list[Stage]:
    target = _target_tagger(project, job)
    if job is None or job.label is None:
        raise JobError(
            "method ensemble looks at the source side with a tagger too; name one under `label` of a job"
        )
    from projner.label.stage import Labeller

    source = Labeller(job.label, "source", probabilities=True)
    return [target, Ensemble(source.classes(), target.classes())]


def _target_tagger(project: config.Project, job: config.Job | None) -> Labeller:
    """What fills `target_labels` and `target_probs`."""
    section = None if job is None else job.label_target or job.label
    if section is None:
        raise JobError(
            f"{_said(project)} looks at the target side with a tagger; name one under `label_target` or "
            "`label` of a job"
        )
    from projner.label.stage import Labeller

    return Labeller(section, "target", probabilities=True)


def _phrase_scorer(_: config.Project, job: config.Job | None) -> Stage:
    if job is None or job.translate is None:
        raise JobError(
            "score nmt asks a translation model how likely spans are; name one under `translate` of a "
            "job"
        )
    section = _that_scores("score nmt", job.translate)
    from projner.translate.similarity import PhraseScorer

    codes = job.corpus.source_lang, *job.corpus.target_lang
    return PhraseScorer(section, languages=codes)


def _marker_scorer(project: config.Project, job: config.Job | None) -> Stage:
    section = _that_scores("score codec", _model_for_markers("score codec", job))
    from projner.translate.constrained import ConstrainedDecoder

    assert job is not None
    alone = list(project.weights) == ["codec"]
    languages = job.corpus.target_lang
    return ConstrainedDecoder(section, project.markers, alone=alone, languages=languages)


def _that_scores(asker: str, section: config.Translation) -> config.Translate:
    if isinstance(section, config.LanguageModel):
        raise JobError(
            f"{asker} asks a translation model for probabilities, which engine vllm has none of here; "
            "use ctranslate2 or transformers"
        )
    return section


def _model_for_markers(asker: str, job: config.Job | None) -> config.Translation:
    section = None if job is None else job.translate_marked or job.translate
    if section is None:
        raise JobError(
            f"{asker} gives a translation model texts with markers around entities; name one under "
            "`translate_marked` or `translate` of a job"
        )
    return section


def _said(project: config.Project) -> str:
    """What in a projection section needs a tagger."""
    if project.method != "match":
        return f"method {project.method}"
    (name, *_) = [name for name in project.weights if name.startswith("ner")] or [""]
    return f"score {name}" if name else "candidates ner"


def _marked(project: config.Project, job: config.Job | None) -> list[Stage]:
    """The stages of the methods that translate with markers."""
    section = _model_for_markers(f"method {project.method}", job)
    from projner.translate.marked import MarkedTranslator

    assert job is not None
    languages = job.corpus.target_lang
    translator = MarkedTranslator(section, project.markers, languages=languages)
    if project.method == "marked":
        return [translator, Marked()]
    if not job.align:
        raise JobError(
            "method back_translation aligns the translation with the target side; name an aligner under "
            "`align` of a job"
        )
    through = project.model_copy(update={"method": project.through})
    steps = [*_aligners(job), *projection_stages(through, job)]
    return [translator, *(Renamed(step, _FROM_MARKED) for step in steps)]


_FROM_MARKED = {
    "source_text": "marked_text",
    "source_tokens": "marked_tokens",
    "source_entities": "marked_entities",
    "source_lang": "target_lang",
    "links": "marked_links",
}
"""The marked translation as a source side of its own, in the language of the target side."""


def apply(stages: Iterable[Stage], table: pa.Table) -> pa.Table:
    """Run stages, set up already, one after the other."""
    for step in stages:
        table = stage.run(step, table)
    return table


@dataclass(frozen=True)
class Projection:
    """What became of one sentence pair."""

    tokens: list[str]
    tags: list[str]
    """IOB2, one for each target token; all O unless `status` is `ok`."""
    entities: list[dict[str, Any]]
    """start, end (exclusive), label, score, margin, source_index of each target entity."""
    status: str
    detail: str | None


def project_sentence(
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    entities: Iterable[tuple[int, int, str]],
    links: Iterable[tuple[int, int]],
    method: config.Project | str = "default",
) -> Projection:
    """Project the entities of one sentence onto its translation, without Ray.

    Args:
        source_tokens: words of the labelled sentence.
        target_tokens: words of its translation.
        entities: (start, end, label) of each source entity in words, end exclusive.
        links: pairs (source word, target word), counted from 0.
        method: a projection section, or a name from `NAMED`.

    Raises JobError for text instead of words, for entities or links outside the sentences, and for
    an unknown method.
    """
    if isinstance(method, str):
        method = named(method)
    if isinstance(source_tokens, str) or isinstance(target_tokens, str):
        raise JobError("give each sentence as a list of words; `projner.words.words` splits a text")
    spans = [tags.Span(*entity) for entity in entities]
    for start, end, label in spans:
        if not 0 <= start < end <= len(source_tokens):
            raise JobError(
                f"entity ({start}, {end}, {label!r}) is empty or outside the {len(source_tokens)} "
                "source words; give (start, end, label), end exclusive"
            )
    pairs = list(links)
    for source, target in pairs:
        if not (0 <= source < len(source_tokens) and 0 <= target < len(target_tokens)):
            raise JobError(
                f"link ({source}, {target}) is outside {len(source_tokens)} source and "
                f"{len(target_tokens)} target words; count from 0"
            )
    row = {
        "source_tokens": list(source_tokens),
        "target_tokens": list(target_tokens),
        "source_entities": [{**span._asdict(), "score": 1.0} for span in spans],
        "links": [{"source": s, "target": t, "score": 1.0} for s, t in pairs],
        "status": Status.OK.value,
        "status_detail": None,
    }
    table = pa.Table.from_pylist([row], schema=record.schema(list(row)))
    done = apply(projection_stages(method), table).to_pylist()[0]
    return Projection(
        tokens=list(target_tokens),
        tags=done["ner_tags"] or ["O"] * len(target_tokens),
        entities=done["target_entities"] or [],
        status=done["status"],
        detail=done["status_detail"],
    )


def usable(job: config.Job | None = None) -> dict[str, config.Project]:
    """The named methods that need no models but those of a job; none at all without one."""

    def is_usable(project: config.Project) -> bool:
        try:
            projection_stages(project, job)
        except JobError:
            return False
        return True

    return {name: project for name, project in NAMED.items() if is_usable(project)}


def named(name: str) -> config.Project:
    """A projection method by name. Raises JobError listing the names there are."""
    if name not in NAMED:
        raise JobError(f"unknown method {name!r}; choose one of {', '.join(NAMED)}")
    return NAMED[name]


def _projection(job: config.Job, project: config.Project) -> list[list[Stage]]:
    """The stages of a job's projection in groups: one that ends with each model or with each stage
    that learns, and the rest.

    What several of the job's languages have in common is there once.
    """
    languages_of: dict[str, list[str]] = {}
    for code in job.corpus.target_lang:
        languages_of.setdefault(project.of(code).model_dump_json(), []).append(code)
    modelled: list[list[Stage]] = []
    last: list[Stage] = []
    for codes in languages_of.values():
        steps = projection_stages(project.of(codes[0]), job)
        if len(languages_of) > 1:
            steps = [_in_languages(step, codes) for step in steps]
        ends = [number + 1 for number, step in enumerate(steps) if step.room or step.learns]
        _join(modelled, [steps[a:b] for a, b in zip([0, *ends], ends, strict=False)])
        rest = [[step] for step in last]
        _join(rest, [[step] for step in steps[max([0, *ends]) :]])
        last = [step for (step,) in rest]
    every = set(job.corpus.target_lang)
    for step in [*(step for group in modelled for step in group), *last]:
        if set(step.languages or ()) == every:
            step.languages = None
    return [*modelled, last]


def _in_languages(step: Stage, codes: Iterable[str]) -> Stage:
    step = copy.copy(step)
    step.languages = tuple(sorted(codes))
    return step


def _join(groups: list[list[Stage]], others: Iterable[list[Stage]]) -> None:
    """Append groups of stages for other languages, or have equal ones do their languages as well."""
    place = 0
    for other in others:
        described = [(step.name, step.settings()) for step in other]
        for number, group in enumerate(groups[place:], place):
            if [(step.name, step.settings()) for step in group] == described:
                codes = [
                    {*(a.languages or ()), *(b.languages or ())}
                    for a, b in zip(group, other, strict=True)
                ]
                groups[number] = [*map(_in_languages, group, codes)]
                place = number + 1
                break
        else:
            groups.append(other)
            place = len(groups)


def _read(steps: Sequence[Stage], read: set[str], whole: set[str]) -> list[Stage]:
    """Those of some stages that make what is `read`, or what these read, and is not `whole` already."""
    kept: list[Stage] = []
    for step in reversed(steps):
        made = set(step.outputs)
        if not made or (made & read and not made <= whole):
            read = read | set(step.inputs)
            kept.insert(0, step)
    return kept


def _settings(step: Stage) -> dict[str, Any]:
    if step.languages is None:
        return step.settings()
    return {**step.settings(), "languages": list(step.languages)}


def _signed(stage_name: str, settings: dict[str, Any]) -> str:
    return f"{stage_name}:" + ",".join(f"{key}={value}" for key, value in settings.items())


def _aligners(job: config.Job) -> list[Stage]:
    """What fills `links` with what the job's aligners find; nothing if it names none."""
    aligners = [_aligner(section) for section in job.align]
    return [FusedAligner(aligners)] if len(aligners) > 1 else aligners


def _aligner(section: Any) -> Stage:
    if isinstance(section, config.Surface):
        return SurfaceAligner(section.min_similarity)
    if isinstance(section, config.Eflomal):
        from projner.align.eflomal import EflomalAligner

        return EflomalAligner(section)
    if isinstance(section, config.AwesomeAlign):
        from projner.align.awesome import AwesomeAligner

        aligner: AwesomeAligner | EncoderAligner = AwesomeAligner(section)
    else:
        from projner.align.encoder import EncoderAligner

        aligner = EncoderAligner(section)
    if section.fine_tune is None:
        return aligner
    from projner.align.fine_tune import FineTuned

    return FineTuned(aligner, section.fine_tune)


WHICH = {
    *("root", "source", "target", "links", "path"),
    *("name", "data_split", "revision", "skip", "limit"),
}
"""Keys of a corpus that say which rows there are. Rows tell themselves apart, and come and go."""
_ALWAYS = ("id", "source_lang", "target_lang")
_BROUGHT = {
    "source_text": ("source side", "give corpus.source, or a model under `translate`"),
    "target_text": ("target side", "give corpus.target, or a model under `translate`"),
    "source_entities": (
        "labels on its source side",
        "give that side as CoNLL, or a tagger under `label`",
    ),
    "source_probs": (
        "probabilities of labels on its source side",
        "give a tagger under `label`",
    ),
    "links": ("word links", "give corpus.links, or name an aligner under `align`"),
}
_BROUGHT |= {f"{side}_tokens": _BROUGHT[f"{side}_text"] for side in ("source", "target")}
"""What a column holds, and what in the job brings it."""


def _check(steps: Iterable[Stage], given: Collection[str]) -> None:
    """Raise JobError for the first column that a stage reads and nobody gave or made before."""
    present = {*_ALWAYS, *given}
    for step in steps:
        for column in step.inputs:
            if column not in present:
                what, mend = _BROUGHT[column]
                raise JobError(f"the corpus has no {what}; {mend}")
        present.update(step.outputs)
