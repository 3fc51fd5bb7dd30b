"""`projner ...`: arguments in, tables out. Whatever a command does lives elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import projner
from projner.errors import JobError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except JobError as error:
        if options.debug:
            raise
        print(f"projner: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("projner: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="projner", description="Project named-entity labels across languages, on Ray."
    )
    parser.add_argument("--version", action="version", version=f"projner {projner.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    project = _command(commands, "project", _project, "run a job file: labels onto the target side")
    _job_arguments(project)

    evaluate = _command(commands, "evaluate", _evaluate, "F1 of a file or a run against gold")
    evaluate.add_argument("--gold", required=True, metavar="FILE", help="CoNLL file with the truth")
    evaluate.add_argument(
        "--predicted", required=True, metavar="FILE_OR_RUN", help="CoNLL file, or a run's folder"
    )
    evaluate.add_argument(
        "--ignore", action="append", default=[], metavar="CLASS", help="a class to leave out"
    )
    evaluate.add_argument("--lang", help="the target language, where a run has several")
    evaluate.add_argument("--skip", type=int, default=0, help="gold sentences to leave out first")
    evaluate.add_argument("--limit", type=int, help="gold sentences to use after those")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of a table")

    compare = _command(commands, "compare", _compare, "several methods on the same corpora")
    compare.add_argument("jobs", nargs="+", metavar="JOB.yaml")
    compare.add_argument("--methods", metavar="NAME,...", help="which methods; all by default")
    _set_argument(compare)
    compare.add_argument("--output", required=True, metavar="DIR", help="where runs go")
    compare.add_argument("--json", action="store_true", help="print JSON instead of a table")

    demo = _command(commands, "demo", _demo, "project a small corpus that comes with projner")
    demo.add_argument("--output", default="demo-output", metavar="DIR", help="where runs go")
    return parser


def _command(commands: Any, name: str, run: object, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(run=run)
    return command


def _job_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", metavar="JOB.yaml")
    _set_argument(command)
    command.add_argument("--output", metavar="DIR", help="where runs go, instead of the job's own")


def _set_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a key of the job file; may be repeated",
    )


def _project(options: argparse.Namespace) -> None:
    from projner import config, pipeline
    from projner.report import summary

    overrides = [*options.set, *([f"output={options.output}"] if options.output else [])]
    result = pipeline.project(config.load(options.job, overrides))
    print(summary.of_result(result))


def _evaluate(options: argparse.Namespace) -> None:
    from projner import languages
    from projner.evaluate import f1
    from projner.report import summary

    language = languages.find(options.lang).code if options.lang else None
    gold = f1.read_labelled(options.gold, options.skip, options.limit)
    predicted = f1.read_labelled(options.predicted, language=language)
    evaluation = f1.evaluate(gold, predicted, options.ignore)
    print(json.dumps(evaluation.as_json()) if options.json else summary.of_evaluation(evaluation))


def _compare(options: argparse.Namespace) -> None:
    from pathlib import Path

    from projner import config, methods
    from projner.evaluate import compare
    from projner.report import summary

    names = options.methods.split(",") if options.methods else list(methods.NAMED)
    chosen = {name: methods.named(name) for name in names}
    jobs = {Path(path).stem: config.load(path, options.set) for path in options.jobs}
    if len(jobs) < len(options.jobs):
        raise JobError("two job files have the same name, and so their runs would; rename one")
    outcomes = compare.compare(jobs, chosen, options.output)
    if options.json:
        print(json.dumps([vars(outcome) for outcome in outcomes]))
    else:
        print(summary.of_comparison(outcomes))


def _demo(options: argparse.Namespace) -> None:
    from projner.demo import run

    run.demo(options.output)


if __name__ == "__main__":
    sys.exit(main())
