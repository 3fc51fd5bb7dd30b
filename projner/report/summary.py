"""What a command says when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from projner.report.table import table

if TYPE_CHECKING:
    from projner.chain import Step
    from projner.export.importing import Imported
    from projner.pipeline import Result
    from projner.plan.sizes import Plan
    from projner.runs.history import Collected, Difference
    from projner.runs.run import Snapshot
    from projner.train.fit import Fitted


def of_result(result: Result) -> str:
    """Rows by status, entities by class, seconds by run and stage, and where the Parquet is."""
    snapshot = result.snapshot
    lines = [
        f"{snapshot.rows:,} rows, {result.computed:,} computed now; "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items()),
        "",
        table(("status", "rows"), _by_count(snapshot.statuses)),
        *_yield(snapshot),
        "",
        table(("class", "entities"), sorted(snapshot.entities.items())),
        "",
        table(("stage", "seconds"), list(result.stages.items())),
        "",
        f"shards    {result.run.folder / 'data'} (snapshot {snapshot.number})",
        f"signature {snapshot.signature}",
    ]
    return "\n".join(lines)


def result_as_json(result: Result) -> dict[str, Any]:
    """The same as JSON values."""
    snapshot = result.snapshot
    return {
        "run": str(result.run.folder),
        "snapshot": snapshot.number,
        "rows": snapshot.rows,
        "computed": result.computed,
        "statuses": snapshot.statuses,
        "entities": snapshot.entities,
        "abstained": snapshot.abstained,
        "filtered": snapshot.filtered,
        "seconds": result.seconds,
        "stage_seconds": result.stages,
        "signature": snapshot.signature,
    }


def _yield(snapshot: Snapshot) -> list[str]:
    """What filters and abstention left, where there were any."""
    if not snapshot.filtered and not snapshot.abstained:
        return []
    parts = [f"{snapshot.statuses.get('ok', 0) / max(snapshot.rows, 1):.1%} of rows are ok"]
    parts += [f"{name} filtered {rows:,}" for name, rows in _by_count(snapshot.filtered)]
    if snapshot.abstained:
        parts.append(f"{snapshot.abstained:,} entities were abstained from")
    return ["", f"yield     {'; '.join(parts)}"]


def of_refresh(
    result: Result, difference: Difference | None, collected: Sequence[Collected] = ()
) -> str:
    """What a refresh found new, and what it took."""
    snapshot = result.snapshot
    if difference is None:
        what = f"first snapshot: {snapshot.rows:,} rows"
    elif difference.before == difference.after:
        what = f"nothing has changed: snapshot {snapshot.number} stays, {snapshot.rows:,} rows"
    else:
        what = f"snapshot {snapshot.number}: {snapshot.rows:,} rows; {_counted(difference)}"
    counts = ", ".join(f"{status} {rows:,}" for status, rows in _by_count(snapshot.statuses))
    lines = [
        f"{what}; {result.computed:,} computed now in {sum(result.seconds.values()):.1f} s",
        f"statuses  {counts}",
        f"run       {result.run.folder}",
    ]
    return "\n".join([*lines, *([of_collected(collected)] if collected else [])])


def refresh_as_json(
    result: Result, difference: Difference | None, collected: Sequence[Collected] = ()
) -> dict[str, Any]:
    """The same as JSON values."""
    snapshot = result.snapshot
    kinds = ("added", "removed", "changed", "same")
    first = {"added": snapshot.rows, "removed": 0, "changed": 0, "same": 0}
    return {
        "run": str(result.run.folder),
        "snapshot": snapshot.number,
        "published": result.before is None or result.before.number != snapshot.number,
        "rows": snapshot.rows,
        "computed": result.computed,
        **({kind: getattr(difference, kind) for kind in kinds} if difference else first),
        "statuses": snapshot.statuses,
        "seconds": result.seconds,
        "collected": [each.as_json() for each in collected],
    }


def of_import(imported: Imported) -> str:
    """What a file of corrections changed, and how good the projected labels were by it."""
    if imported.snapshot == imported.before:
        lines = [f"nothing has changed: snapshot {imported.snapshot} has these corrections already"]
    else:
        lines = [
            f"snapshot {imported.snapshot}: {imported.rows:,} sentences checked by people; "
            f"{imported.relabelled:,} labelled otherwise, {imported.confirmed:,} confirmed, "
            f"{imported.known:,} known"
        ]
    if imported.untouched:
        lines.append(f"{imported.untouched:,} tasks without an annotation stay as they are")
    if imported.widened:
        lines.append(f"{imported.widened:,} regions were widened to whole words")
    if imported.projected:
        evaluation = imported.projected
        rows = [
            (name, figures.precision, figures.recall, figures.f1, figures.support)
            for name, figures in [*evaluation.classes.items(), ("overall", evaluation.overall)]
        ]
        header = ("class", "precision", "recall", "F1", "support")
        lines += ["", "The labels before, against these:", "", table(header, rows), ""]
        lines += [f"signature {evaluation.signature}"]
    return "\n".join([*lines, f"run       {imported.run}"])


def of_snapshots(snapshots: Sequence[Snapshot]) -> str:
    """A line for each snapshot: when, rows by status, entities, and the snapshot it was made from."""
    statuses = list(dict.fromkeys(name for each in snapshots for name in each.statuses))
    corrected = any(each.corrected for each in snapshots)
    more = ("corrected",) if corrected else ()
    header = ("snapshot", "created", "rows", *statuses, "entities", *more, "shards", "made from")
    rows = [
        (
            str(each.number),
            each.created[:19],
            each.rows,
            *(each.statuses.get(name, 0) for name in statuses),
            sum(each.entities.values()),
            *([each.corrected] if corrected else []),
            len(each.shards),
            f"{each.parent}@{each.parent_snapshot}" if each.parent else "corpus",
        )
        for each in snapshots
    ]
    return table(header, rows) if rows else "no snapshots yet"


def of_difference(difference: Difference) -> str:
    """Counts of rows that came, went and changed, and some of each."""
    lines = [f"snapshot {difference.before} to {difference.after}: {_counted(difference)}"]
    for kind, rows in difference.examples.items():
        for row in rows:
            place = f"{row['file']}:{row['position']}"
            lines.append(f"  {kind}  {place}  {row['status']}  {row['text'] or ''}")
            for column, (old, new) in row.get("was", {}).items():
                lines.append(f"    {column}: {_brief(old)} -> {_brief(new)}")
    return "\n".join(lines)


def of_collected(collected: Sequence[Collected]) -> str:
    """What was taken away, run by run."""
    return "\n".join(
        f"{each.run}: removed {len(each.snapshots):,} snapshots, {each.shards:,} shards "
        f"({each.bytes / 1e6:.1f} MB), {each.others:,} other files"
        for each in collected
    )


def _counted(difference: Difference) -> str:
    kinds = ("added", "removed", "changed", "same")
    return ", ".join(f"{getattr(difference, kind):,} {kind}" for kind in kinds)


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 70 else text[:69] + "…"


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def of_training(fitted: Fitted) -> str:
    """Figures of every evaluation, and where the tagger is."""
    beside = [name for name in fitted.history[0] if name.endswith(("_loss", "_retrieval"))]
    in_rounds = any("round" in row for row in fitted.history)
    header = (
        *(["round"] * in_rounds),
        "step",
        "epoch",
        "loss",
        "F1",
        "words/s",
        *(name.replace("_", " ") for name in beside),
    )
    measured = fitted.f1 is not None
    rows = [
        (
            *([round(row["round"])] if in_rounds else []),
            round(row["step"]),
            row["epoch"],
            row["loss"],
            row["f1"] if measured else None,
            round(row["words_per_second"]),
            *(row[name] for name in beside),
        )
        for row in fitted.history
    ]
    best = f" (F1 {fitted.f1:.4f})" if measured else ""
    lines = [table(header, rows), "", f"tagger    {fitted.model}{best}"]
    return "\n".join([*lines, f"signature {fitted.signature}"])


def of_chain(steps: Sequence[Step]) -> str:
    """What each step of a chain took, and the F1 that it found."""
    rows = [
        (step.name, round(step.seconds), step.figures and step.figures["overall"]["f1"])
        for step in steps
    ]
    rows.append(("all", round(sum(step.seconds for step in steps)), None))
    return table(("step", "seconds", "F1"), rows)


def training_as_json(fitted: Fitted) -> dict[str, Any]:
    """The same as JSON values."""
    return {**asdict(fitted), "model": str(fitted.model)}


def of_plan(plan: Plan) -> str:
    """Steps with their rates and actors, runs with their hours, and where a job ends to be one."""
    nodes = plan.nodes
    each = f"{nodes.cpus} CPUs" + (f" and {nodes.gpus} GPUs" if nodes.gpus else "")
    steps = [
        (
            part.step.name,
            run.name,
            f"{part.step.rate:,.0f}" if part.step.rate >= 100 else f"{part.step.rate:.2f}",
            "driver" if part.step.serial else "GPU" if part.step.gpus else "CPU",
            f"{part.actors:,.0f}" if part.actors >= 1 else f"{part.actors:.2f}",
            f"{100 * part.busy:.0f} %",
            f"{part.step.setup:.0f} s" if part.step.room else None,
        )
        for run in plan.runs
        for part in run.parts
    ]
    runs = [
        (run.name, run.hours, run.bound, run.gpu_hours, run.cpu_hours, run.stored / 1e9)
        for run in plan.runs
    ]
    runs.append(("all", plan.hours, "", plan.gpu_hours, plan.cpu_hours, plan.stored / 1e9))
    rows = "" if plan.rows == plan.sentences else f" ({plan.rows:,} rows)"
    side = f", as {plan.jobs} jobs side by side" if plan.jobs > 1 else ""
    lines = [
        f"{plan.sentences:,} sentences{rows} on {nodes.count} nodes of {each}{side}",
        "",
        table(("step", "run", "rows/s", "on", "actors", "busy", "loads"), steps),
        "",
        table(("run", "hours", "waits for", "GPU-hours", "CPU-hours", "GB"), runs),
        "",
        f"  rows/s: of one actor, warm. Measured on {plan.measured.rows:,} rows in this process.",
        "  tasks: steps without a model, which take turns on the CPUs.",
        f"  A driver needs {plan.memory / 1e9:.1f} GB for ids ({plan.measured.memory:.0f} bytes a row).",
        f"  From {plan.split:,} sentences on, make several jobs of the corpus: by files, by language, or",
        "  by corpus.skip and corpus.limit.",
    ]
    if plan.actors:
        pools = ", ".join(f"{room}: {{actors: {count}}}" for room, count in plan.actors.items())
        lines.append(f"  In {'each' if plan.jobs > 1 else 'the'} job file: resources: {{{pools}}}")
    return "\n".join([*lines, "", f"signature {plan.measured.signature}"])
