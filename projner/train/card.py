"""The card of a trained tagger: what it was made of, and how good it was on what."""

from __future__ import annotations

from projner.train.loop import Plan, Progress


def text(plan: Plan, progress: Progress, signature: str) -> str:
    """A model card (README.md, with the hub's front matter) that carries the training's signature."""
    training = plan.training
    tags = "\n".join(f"- {tag}" for tag in ("token-classification", "named-entity-recognition"))
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: token-classification",
        f"base_model: {training.model}",
        f"tags:\n{tags}",
        "---",
        "",
        "# Named-entity tagger",
        "",
        f"Fine-tuned with projner from `{training.model}` in {progress.step:,} steps of "
        f"{training.batch} sentences, over {plan.rows:,} examples.",
        *(f"It also learnt {each.task.described}." for each in plan.beside),
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'tagger = pipeline("token-classification", "PATH", aggregation_strategy="first")',
        "```",
        "",
        f"Classes: {', '.join(sorted({label[2:] for label in plan.reading.labels} - {''}))}.",
        "",
        "| step | loss | F1 |",
        "|---|---|---|",
    ]
    for row in progress.history:
        figure = f"{row['f1']:.4f}" if plan.dev is not None else ""
        lines.append(f"| {row['step']:.0f} | {row['loss']:.4f} | {figure} |")
    if plan.dev is not None:
        lines += ["", f"F1: exact spans on `{plan.dev.name}` ({len(plan.dev.tokens):,} sentences)."]
    return "\n".join([*lines, "", f"Signature: `{signature}`", ""])
