"""The stage that translates with markers around the entities, and reads these back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from projner import record
from projner.languages import Language
from projner.record import Status
from projner.translate import markers
from projner.translate.markers import Kind, Reading, Span
from projner.translate.stage import Config, Row, Translator
from projner.words import offsets


class Entity(NamedTuple):
    """An entity of the source side."""

    label: str
    place: tuple[int, int]
    """In characters, end exclusive."""
    form: str


class Found(NamedTuple):
    """An entity in the marked translation."""

    entity: int
    span: Span
    score: float

    def struct(self, entities: Sequence[Entity]) -> dict[str, Any]:
        """As `record.ENTITY`."""
        start, end, _ = self.span
        label = entities[self.entity].label
        return {"start": start, "end": end, "label": label, "score": self.score}


class MarkedTranslator(Translator):
    """`marked_text`, `marked_tokens` and `marked_entities`: the source side and its entities, translated.

    The text is translated with markers around its entities: square brackets, told apart by their
    similarity to each entity's own translation (EasyProject, Chen et al. 2023, arXiv 2211.15613), or
    XML tags with a letter for each (LabelPigeon, arXiv 2603.12021). Any model will do; one that was
    tuned to keep markers loses fewer. Sentences without entities are translated as they are.

    `marked_entities` are in the order of `source_entities`, scored by their similarity (1 for tags).
    Where they do not all come back beyond doubt, the row has the status `markers_lost` and keeps
    those that did.
    """

    name: ClassVar[str] = "marked"

    def __init__(self, config: Config, kind: Kind, *, languages: Iterable[str] = ()) -> None:
        """A translator from the source side, with markers of a kind.

        Args:
            config: which model, and how it decodes.
            kind: what is put around entities.
            languages: FLORES-200 codes that the model must know, or `setup` refuses it.
        """
        super().__init__(config, "source", languages=languages)
        self._kind = kind
        self.inputs = (*self.inputs, "source_tokens", "source_entities")
        self.outputs = ("marked_text", "marked_tokens", "marked_entities")

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "markers": self._kind}

    def setup(self, cpus: float | None = None) -> None:
        super().setup(cpus)
        self._engine.markers = self._kind
        self._entities = self._lost = 0

    def counters(self) -> Mapping[str, float]:
        return {**super().counters(), "entities": self._entities, "lost": self._lost}

    def _rows(
        self,
        table: pa.Table,
        texts: list[str],
        sources: list[Language],
        targets: list[Language],
    ) -> tuple[pa.Table, list[Row]]:
        known = table.select(["source_tokens", "source_entities"]).to_pylist()
        entities = [_entities(text, **row) for text, row in zip(texts, known, strict=True)]
        marked = [
            markers.insert(text, [entity.place for entity in each], self._kind) if each else text
            for text, each in zip(texts, entities, strict=True)
        ]
        made = self._translate(marked, sources, targets)
        readings = [
            markers.read(row.text, target, self._kind) if each and row.text is not None else None
            for row, target, each in zip(made, targets, entities, strict=True)
        ]
        found = self._found(readings, entities, sources, targets)
        counts = zip(map(len, found), map(len, entities), strict=True)
        rows = [
            _judged(row, reading, *count)
            for row, reading, count in zip(made, readings, counts, strict=True)
        ]
        for number, row in enumerate(known):
            if row["source_entities"] is None:
                rows[number] = _UNLABELLED
        column = [
            [item.struct(wanted) for item in each]
            for each, wanted in zip(found, entities, strict=True)
        ]
        self._entities += sum(map(len, entities))
        self._lost += sum(map(len, entities)) - sum(map(len, found))
        return record.with_column(table, "marked_entities", column), rows

    def _found(
        self,
        readings: Sequence[Reading | None],
        entities: Sequence[Sequence[Entity]],
        sources: Sequence[Language],
        targets: Sequence[Language],
    ) -> list[list[Found]]:
        """The entities that come back, of each text and in their order there."""
        if self._kind == "xml":
            return [
                _by_letter(reading, each) if reading else []
                for reading, each in zip(readings, entities, strict=True)
            ]
        # Brackets that are too few or too many may be anybody's.
        complete = [
            reading is not None and reading.whole and len(reading.spans) == len(each)
            for reading, each in zip(readings, entities, strict=True)
        ]
        asked = {
            (entity.form, sources[n], targets[n]): ""
            for n, each in enumerate(entities)
            if complete[n]
            for entity in each
        }
        if asked:
            own = self._translate(*map(list, zip(*asked, strict=True)))
            asked = {key: row.text or "" for key, row in zip(asked, own, strict=True)}
        found: list[list[Found]] = []
        for n, (reading, each) in enumerate(zip(readings, entities, strict=True)):
            own_forms = [(e.form, asked.get((e.form, sources[n], targets[n]), "")) for e in each]
            found.append(_by_form(reading, each, own_forms) if reading and complete[n] else [])
        return found


_UNLABELLED = Row(None, None, Status.ERROR, "the row has no labels on its source side")


def _entities(
    text: str, source_tokens: list[str] | None, source_entities: list[dict[str, Any]] | None
) -> list[Entity]:
    places = offsets(text, source_tokens or []) if source_entities else []
    found = []
    for each in source_entities or []:
        start, end = places[each["start"]][0], places[each["end"] - 1][1]
        found.append(Entity(each["label"], (start, end), text[start:end]))
    return found


def _by_letter(reading: Reading, entities: Sequence[Entity]) -> list[Found]:
    spans = {span.name: span for span in reading.spans}
    letters = [markers.letter(number) for number in range(len(entities))]
    return [
        Found(number, markers.trim(reading.tokens, spans[name], entities[number].form), 1.0)
        for number, name in enumerate(letters)
        if name in spans
    ]


def _by_form(
    reading: Reading, entities: Sequence[Entity], forms: Sequence[Iterable[str]]
) -> list[Found]:
    texts = [" ".join(reading.tokens[span.start : span.end]) for span in reading.spans]
    pairs = markers.match(texts, forms, [entity.label for entity in entities])
    found = []
    for text, entity, similarity in pairs:
        span = markers.trim(reading.tokens, reading.spans[text], entities[entity].form)
        found.append(Found(entity, span, similarity))
    return sorted(found, key=lambda each: each.entity)


def _judged(row: Row, reading: Reading | None, found: int, wanted: int) -> Row:
    """The row of a marked translation, without its markers."""
    if reading is None:
        return row
    row = row._replace(text=reading.text, tokens=reading.tokens)
    if row.status is not Status.OK:
        return row
    if not reading.tokens:
        return row._replace(status=Status.TRANSLATION_FAILED, detail="the translation has no words")
    if found < wanted:
        detail = f"{found} of {wanted} entities came back between their markers"
        return row._replace(status=Status.MARKERS_LOST, detail=detail)
    return row
