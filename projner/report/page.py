"""`projner report`: a run as one HTML page, which needs nothing beside it and no network.

Texts of the corpus are in it as JSON that cannot end its element, and reach the document as text nodes
only. A content security policy allows the page's own script and style, by their digests, and nothing
else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import languages, storage
from projner.errors import JobError
from projner.evaluate import f1
from projner.evaluate.f1 import Evaluation
from projner.report import plot, sample
from projner.runs import run as runs
from projner.runs.run import Ints, Run, Snapshot
from projner.tags import Span, to_spans

SENTENCES = 1000
"""How many a page shows where nothing else is asked for: some megabytes."""
_COLUMNS = (
    "origin",
    "doc",
    "source_lang",
    "target_lang",
    "source_text",
    "target_text",
    "source_tokens",
    "target_tokens",
    "source_entities",
    "links",
    "target_entities",
    "abstained",
    "status",
    "status_detail",
)
_FIGURES = ("score", "margin", "confidence")


@dataclass(frozen=True)
class _Gold:
    """What the rows should have been labelled as."""

    evaluation: Evaluation
    spans: dict[int, list[Span]]
    """By row."""
    wrong: dict[int, int]
    """How many spans are only in one of the two, by row; rows without such are left out."""


def write(
    location: str,
    output: str,
    gold: str | None = None,
    language: str | None = None,
    sentences: int = SENTENCES,
) -> str:
    """Write the newest snapshot of a run as a page; what of it is shown, in words.

    Args:
        location: the run.
        output: the file, which may be there already.
        gold: a CoNLL file, or a run, with the truth about the same sentences.
        language: which target language the gold is about (FLORES-200), where there are several.
        sentences: how many the page may hold; its counts are of all.

    Raises JobError.
    """
    run = runs.find(location)
    snapshot = run.latest()
    if snapshot is None:
        raise JobError(f"{location}: the run has no snapshot yet; run its job to the end")
    truth = _gold(location, gold, language, run, snapshot) if gold else None
    rows, overview = sample.read(run, snapshot)
    wrong = np.isin(rows.ids, [*truth.wrong]) if truth else None
    chosen, shown = sample.choose(rows, wrong, sentences)
    sitting = sample.sitting(run, snapshot)
    table = run.read(snapshot, _COLUMNS, _in_order(run, snapshot, chosen))
    content = {
        **_summary(run, snapshot, overview),
        "shown": shown,
        "gold": truth.evaluation.as_json() if truth else None,
        "languages": _languages(table),
        "pairs": _pairs(table, truth),
    }
    page = render(content, _throughput(sitting))
    try:
        storage.at(output).write(page.encode())
    except OSError as error:
        raise JobError(
            f"{output}: cannot be written: {error.strerror or error}; give another --output"
        ) from None
    return shown


def render(content: Mapping[str, Any], throughput: str = "") -> str:
    """The page of JSON values; `throughput` is markup."""
    folder = resources.files("projner.report")
    style, script = (folder.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    parts = {
        "policy": (
            f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": escape(f"projner: {content['run']}"),
        "style": style,
        "script": script,
        "content": embedded(content),
        "throughput": throughput,
    }
    template = folder.joinpath("page.html").read_text("utf-8")
    # In one pass, so that nothing in a part is taken for the place of another.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def embedded(content: Any) -> str:
    """JSON for a `<script type="application/json">`, which no text in it can end."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _gold(location: str, gold: str, language: str | None, run: Run, snapshot: Snapshot) -> _Gold:
    known = f1.read_labelled(gold, language=language)
    found = f1.read_labelled(location, language=language)
    evaluation = f1.evaluate(known, found)
    table = run.read(snapshot, ["target_lang"])
    if language is not None:
        table = table.filter(pc.equal(table["target_lang"], language))
    spans, wrong = {}, {}
    tags = zip(known.tags, found.tags, strict=True)
    for id_, (right, given) in zip(table["id"].to_pylist(), tags, strict=True):
        spans[id_] = to_spans(right)
        if differing := len({*spans[id_]} ^ {*to_spans(given)}):
            wrong[id_] = differing
    return _Gold(evaluation, spans, wrong)


def _in_order(run: Run, snapshot: Snapshot, chosen: Ints) -> Ints:
    ids = run.ids(snapshot)
    return ids[np.isin(ids, chosen)]


def _summary(run: Run, snapshot: Snapshot, overview: sample.Overview) -> dict[str, Any]:
    classes = sorted({*snapshot.entities, *overview.source})
    return {
        "run": run.fingerprint,
        "snapshot": snapshot.number,
        "created": snapshot.created[:19].replace("T", " ") + " UTC",
        "signature": snapshot.signature,
        "rows": snapshot.rows,
        "statuses": dict(sorted(snapshot.statuses.items(), key=lambda item: -item[1])),
        "filtered": snapshot.filtered,
        "abstained": snapshot.abstained,
        "corrected": snapshot.corrected,
        "classes": [
            [name, overview.source[name], overview.placed[name], snapshot.entities.get(name, 0)]
            for name in classes
        ],
        "scores": overview.scores.tolist(),
        "confidences": overview.confidences.tolist() if overview.confidences.any() else None,
        "seconds": dict(sorted(_seconds(run, snapshot).items(), key=lambda item: -item[1])),
    }


def _seconds(run: Run, snapshot: Snapshot) -> Counter[str]:
    """Of the stages of a run and of the runs that it was made from, where they are still there."""
    total = Counter(snapshot.seconds)
    while snapshot.parent and snapshot.parent_snapshot:
        run = Run(run.folder.parent / snapshot.parent)
        if snapshot.parent_snapshot not in run.snapshots():
            break
        snapshot = run.snapshot(snapshot.parent_snapshot)
        total.update(snapshot.seconds)
    return total


def _throughput(sitting: sample.Sitting) -> str:
    """Rows over time as a plot, or why there is none; markup."""
    day = datetime.fromtimestamp(sitting.began, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    count = len(sitting.rows)
    if sitting.rate is None or count < 3:
        shards = "one shard" if count == 1 else f"{count} shards"
        return f"<p>{shards} at {day}: too few to say more.</p>"
    places = np.unique(np.linspace(0, count - 1, 60).astype(int))
    rows = np.cumsum(sitting.rows)
    points = [plot.Point(float(sitting.seconds[n]), float(rows[n])) for n in places]
    drawn = plot.lines(
        {"rows": points},
        title="Rows written",
        x="seconds after the first shard",
        y="rows",
        y_from=0,
    )
    return (
        f"{drawn}<p>{rows[-1]:,} rows in {count:,} shards from {day} on: {sitting.rate:,.0f} rows/s "
        "after the first shard.</p>"
    )


def _languages(table: pa.Table) -> dict[str, dict[str, Any]]:
    codes = {code for name in ("source_lang", "target_lang") for code in _unique(table, name)}
    known = {code: languages.find(code) for code in sorted(codes)}
    return {
        code: {
            "name": each.name,
            "tag": f"{each.iso639_1 or each.iso639_3}-{each.script}",
            "rtl": each.rtl,
        }
        for code, each in known.items()
    }


def _unique(table: pa.Table, name: str) -> list[str]:
    return [each for each in table[name].unique().to_pylist() if each is not None]


def _pairs(table: pa.Table, truth: _Gold | None) -> list[dict[str, Any]]:
    """The rows, worst first, under short names: there are many."""
    pairs = []
    for row in table.to_pylist():
        gold = truth.spans.get(row["id"]) if truth else None
        projected = [_projected(each) for each in row.get("target_entities") or ()]
        pair = {
            # JavaScript has no 64-bit integers.
            "id": str(row["id"]),
            "place": _place(row),
            "from": row["source_lang"],
            "to": row["target_lang"],
            "source": _side(row, "source"),
            "target": _side(row, "target"),
            "given": [
                [each["start"], each["end"], each["label"], _rounded(each["score"])]
                for each in row.get("source_entities") or ()
            ],
            "projected": projected,
            "abstained": [_projected(each) for each in row.get("abstained") or ()],
            "links": [[each["source"], each["target"]] for each in row.get("links") or ()],
            "status": row["status"],
            "detail": row["status_detail"],
            "doubt": min((_likely(each) for each in projected), default=None),
        }
        if gold is not None and truth is not None:
            pair["gold"] = [list(span) for span in gold]
            pair["wrong"] = truth.wrong.get(row["id"], 0)
        pairs.append(pair)
    # Where nothing is projected there is nothing to doubt; what failed comes before what went well.
    pairs.sort(
        key=lambda pair: (
            not pair.get("wrong"),
            pair["doubt"] is None,
            pair["doubt"] or 0,
            pair["status"] == "ok",
        )
    )
    return pairs


def _place(row: Mapping[str, Any]) -> str:
    if row.get("doc"):
        return f"{row['doc']['id']}, sentence {row['doc']['sentence'] + 1}"
    origin = row.get("origin")
    return f"{origin['file']}:{origin['index']}" if origin else ""


def _side(row: Mapping[str, Any], side: str) -> dict[str, Any]:
    return {"text": row.get(f"{side}_text"), "words": row.get(f"{side}_tokens") or []}


def _projected(entity: Mapping[str, Any]) -> list[Any]:
    figures = [_rounded(entity.get(name)) for name in _FIGURES]
    return [entity["start"], entity["end"], entity["label"], *figures, entity.get("source_index")]


def _likely(projected: Sequence[Any]) -> float:
    score, _, confidence = projected[3:6]
    return float(score if confidence is None else confidence)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
