"""`projner ...`: arguments in, tables out. Whatever a command does lives elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import projner
from projner.errors import JobError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        code: int | None = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read what is printed, such as `head`, has enough. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (JobError, OSError) as error:
        if options.debug:
            raise
        print(f"projner: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("projner: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return code or 0


def _one_line(error: JobError | OSError) -> str:
    """What is said of an error: of one that nobody foresaw, such as a full disk, what the system says."""
    if isinstance(error, JobError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
    return f"{where}{reason} (--debug shows where that happened)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="projner", description="Project named-entity labels across languages, on Ray."
    )
    parser.add_argument("--version", action="version", version=f"projner {projner.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _start_commands(commands)
    project = _command(commands, "project", _project, "run a job file: labels onto the target side")
    _job_arguments(project)
    _watching(project)

    refresh = _command(
        commands,
        "refresh",
        _refresh,
        "run a job file again, and say what is new since the last time",
    )
    _job_arguments(refresh)
    refresh.add_argument(
        "--gc", type=_count, metavar="N", help="then keep the newest N snapshots of every run"
    )
    _watching(refresh)
    _run_commands(commands)

    export = _command(commands, "export", _export, "a run's labels in a format of other tools")
    export.add_argument("run_location", metavar="RUN", help="a run's folder, or a job's output")
    formats = "conll, iob2, jsonl, csv, hf, spacy, brat, label-studio"
    export.add_argument("--format", required=True, help=formats)
    export.add_argument("--output", required=True, metavar="PATH", help="a file or folder to make")
    listed = partial(export.add_argument, type=_names, metavar="NAME,...")
    listed("--status", default=("ok",), help="which rows; ok by default")
    listed("--classes", default=(), help="which classes; all by default")
    listed("--lang", default=(), help="which target languages; all by default")
    for figure in ("score", "confidence"):
        export.add_argument(
            f"--min-{figure}", type=float, default=0.0, metavar="X", help="leave entities below out"
        )

    export.add_argument(
        "--corrected", action="store_true", help="only sentences that people checked: gold"
    )

    take_in = _command(commands, "import", _import, "labels that people corrected, into a run")
    take_in.add_argument("run_location", metavar="RUN", help="the run that they were exported from")
    take_in.add_argument("file", metavar="FILE", help="every sentence in it counts as checked")
    take_in.add_argument("--format", required=True, help="label-studio (its JSON export) or jsonl")
    take_in.add_argument("--json", action="store_true", help="print JSON instead of text")

    report = _command(commands, "report", _report, "a run as a page to look at, worst labels first")
    report.add_argument("run_location", metavar="RUN", help="a run's folder, or a job's output")
    report.add_argument(
        "--gold", metavar="FILE", help="CoNLL file with the truth, beside each label"
    )
    report.add_argument("--lang", help="the gold's language, where a run has several")
    report.add_argument("--output", default="report.html", metavar="FILE", help="report.html")
    report.add_argument(
        "--sample",
        type=_count,
        default=1000,
        metavar="N",
        help="sentences to show; 1000 by default",
    )

    train = _command(commands, "train", _train, "fine-tune a tagger on runs and gold files")
    _file_arguments(train, "TRAINING.yaml")
    _watching(train)

    study = _command(
        commands, "study", _study, "F1 by how much of gold and of runs is learnt from, with a plot"
    )
    _file_arguments(study, "STUDY.yaml")
    study.add_argument("--json", action="store_true", help="print JSON instead of a table")

    chain = _command(commands, "chain", _chain, "commands that follow one another, as one job")
    chain.add_argument("file", metavar="CHAIN.yaml")
    _set_argument(chain)
    chain.add_argument("--json", action="store_true", help="print JSON instead of a table")

    _evaluate_arguments(
        _command(commands, "evaluate", _evaluate, "F1 of a model, a file or a run against gold")
    )

    compare = _command(commands, "compare", _compare, "several methods on the same corpora")
    compare.add_argument("jobs", nargs="*", metavar="JOB.yaml")
    compare.add_argument(
        "--suite", metavar="NAME", help="masakhaner2, xtreme or conll, beside published figures"
    )
    compare.add_argument("--langs", metavar="LANG,...", help="of the suite; all by default")
    compare.add_argument(
        "--data", metavar="DIR", help="where the suite's files are; else they come from the hub"
    )
    compare.add_argument("--split", default="test", help="of the suite; `dev` to --choose by")
    compare.add_argument("--methods", metavar="NAME,...", help="which methods; all by default")
    _set_argument(compare)
    compare.add_argument("--output", required=True, metavar="DIR", help="where runs go")
    _watching(compare)
    compare.add_argument(
        "--choose",
        metavar="FILE",
        help="write the job file with the best method for each language; several jobs: a folder",
    )

    plan = _command(commands, "plan", _plan, "what a large job will take, measured on a sample")
    plan.add_argument("job", metavar="JOB.yaml")
    _set_argument(plan)
    plan.add_argument(
        "--sentences", type=_large, required=True, metavar="N", help="of the corpus, such as 1e9"
    )
    plan.add_argument(
        "--sample", type=_large, default=2000, metavar="N", help="sentences to measure on; 2000"
    )
    target = plan.add_mutually_exclusive_group()
    target.add_argument("--hours", type=_positive, help="in which it should end; 24 by default")
    target.add_argument("--gpus", type=_count, metavar="N", help="GPUs to have, instead of hours")
    target.add_argument(
        "--nodes", type=_count, metavar="N", help="machines to have, instead of hours"
    )
    plan.add_argument(
        "--gpus-per-node", type=_count, metavar="N", help="1 by default, where a model ran on a GPU"
    )
    plan.add_argument("--cpus-per-node", type=_count, default=8, metavar="N", help="8 by default")
    plan.add_argument(
        "--driver-memory",
        type=_positive,
        default=16,
        metavar="GB",
        help="what the head may use for the ids of a job's rows; 16 by default",
    )
    plan.add_argument("--json", action="store_true", help="print JSON instead of tables")

    demo = _command(commands, "demo", _demo, "the whole chain with toy models, on a small corpus")
    demo.add_argument("--output", default="demo-output", metavar="DIR", help="where runs go")
    demo.add_argument(
        "--compare", action="store_true", help="every projection method on the corpus, in one table"
    )

    bench = commands.add_parser("bench", help="speed beside other ways to do the same")
    _bench_commands(bench.add_subparsers(required=True, metavar="WHAT", dest="what"))
    return parser


def _command(commands: Any, name: str, run: object, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(run=run)
    return command


def _evaluate_arguments(evaluate: argparse.ArgumentParser) -> None:
    option = evaluate.add_argument
    labels = evaluate.add_mutually_exclusive_group(required=True)
    labels.add_argument(
        "--model", metavar="DIR", help="a tagger: a folder, or a name on the Hugging Face hub"
    )
    labels.add_argument("--predicted", metavar="FILE_OR_RUN", help="CoNLL file, or a run's folder")
    option("--gold", required=True, metavar="FILE", help="CoNLL file with the truth")
    option("--token-column", type=int, default=0, metavar="N", help="of the gold; the first is 0")
    option("--tag-column", type=int, metavar="N", help="of the gold; the last one with tags")
    option("--ignore", action="append", default=[], metavar="CLASS", help="a class to leave out")
    option("--lang", help="the target language, where a run has several")
    option("--skip", type=_index, default=0, metavar="N", help="gold sentences to leave out first")
    option("--limit", type=_count, metavar="N", help="gold sentences to use after those")
    option(
        "--train",
        action="append",
        default=[],
        metavar="FILE_OR_RUN",
        help="what was learnt from: entities that it has are told from others; may be repeated",
    )
    option(
        "--compare",
        action="append",
        default=[],
        metavar="MODEL_FILE_OR_RUN",
        help="whether F1 differs by more than luck, and speed; may be repeated",
    )
    option("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="for models")
    option("--threads", type=_count, metavar="N", help="CPUs of a model; all by default")
    option(
        "--repeats", type=_count, default=1, metavar="N", help="how often models are timed; once"
    )
    option("--json", action="store_true", help="print JSON instead of tables")


def _start_commands(commands: Any) -> None:
    """Commands that help before the first job."""
    doctor = _command(commands, "doctor", _doctor, "what is installed here, and what is missing")
    doctor.add_argument("--output", default=".", metavar="DIR", help="where runs would go")
    doctor.add_argument(
        "--need", type=_names, default=(), metavar="EXTRA,...", help="extras that must be there"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON instead of text")

    init = _command(commands, "init", _init, "write a commented job file for the case at hand")
    init.add_argument(
        "direction",
        choices=("translate-test", "translate-train", "bitext"),
        help="unlabelled target text; labelled source text; parallel text",
    )
    init.add_argument("file", metavar="JOB.yaml", help="the file to write; none may be there")
    init.add_argument("--source-lang", required=True, metavar="LANG", help="such as eng or English")
    init.add_argument(
        "--target-lang", required=True, type=_names, metavar="LANG,...", help="such as swh"
    )
    for side in ("source", "target", "links"):
        what = "word links, where there are some" if side == "links" else f"of the {side} side"
        init.add_argument(f"--{side}", nargs="+", default=(), metavar="FILE", help=what)
    init.add_argument("--method", default="default", help="a name that `projner compare` lists")
    init.add_argument("--translator", metavar="MODEL", help="a folder, or a name on the hub")
    init.add_argument("--tagger", metavar="MODEL", help="a folder, or a name on the hub")
    init.add_argument(
        "--aligner", metavar="MODEL", help="a folder, a name on the hub; or eflomal, surface"
    )
    init.add_argument("--output", default="projected", metavar="DIR", help="where runs will go")

    validate = _command(
        commands, "validate", _validate, "is a job file right, and what would be done?"
    )
    _file_arguments(validate, "JOB.yaml")
    validate.add_argument("--json", action="store_true", help="print JSON instead of tables")

    completion = _command(commands, "completion", _completion, "what a shell completes commands by")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _watching(command: argparse.ArgumentParser) -> None:
    says = command.add_mutually_exclusive_group()
    says.add_argument("--quiet", action="store_true", help="print nothing but errors")
    says.add_argument(
        "--json", action="store_true", help="print JSON, the progress too (on standard error)"
    )


def _shown(options: argparse.Namespace, output: str | None) -> Any:
    """Show the progress of what runs within, as far as the options want it shown."""
    from projner.report import live

    if not output:
        # Whatever runs refuses that by itself, before it begins.
        return nullcontext()
    return live.shown(output, "none" if options.quiet else "json" if options.json else "person")


def _say(options: argparse.Namespace, text: str, as_json: Any, chatter: Any) -> None:
    """Print what came out, as text or JSON, and where the log of what libraries printed is."""
    log = chatter.location if chatter else None
    if options.json:
        print(json.dumps({**as_json, "log": log} if isinstance(as_json, dict) else as_json))
    elif not options.quiet:
        print(text)
        if log:
            print(f"log       {log}")


def _run_commands(commands: Any) -> None:
    """Commands about the snapshots of runs that are there."""
    where = "a run's folder, or a job's output with one final run"
    snapshots = _command(commands, "snapshots", _snapshots, "the snapshots of a run, by status")
    diff = _command(commands, "diff", _diff, "what came, went and changed between two snapshots")
    gc = _command(commands, "gc", _gc, "remove what the newest snapshots of a run do not need")
    for command in (snapshots, diff, gc):
        command.add_argument("location", metavar="RUN", help=where)
    gc.add_argument("--keep", type=_count, required=True, metavar="N", help="how many snapshots")
    for name in ("before", "after"):
        diff.add_argument(name, type=_count, metavar=name[0].upper(), help=f"snapshot {name}")
    diff.add_argument(
        "--examples", type=int, default=5, metavar="N", help="rows of each kind to show"
    )
    for command in (snapshots, diff, gc):
        command.add_argument("--json", action="store_true", help="print JSON instead of text")


def _bench_commands(commands: Any) -> None:
    """A command for each module of `projner.bench`, whose defaults hold where nothing is given."""
    models = {
        "label": "the stage `label` beside transformers' pipeline",
        "align": "the stage `encoder` beside awesome-align",
        "translate": "the stage `translate` beside transformers' generate",
    }
    for name, summary in models.items():
        command = _bench_command(commands, name, summary)
        option = partial(command.add_argument, default=argparse.SUPPRESS)
        items = "pairs" if name == "align" else "rows"
        option(f"--{items}", type=_count, metavar="N", help="how many sentences or sentence pairs")
        option("--threads", type=_count, metavar="N", help="CPUs of either side; 1 by default")
        option("--device", choices=("auto", "cuda", "mps", "cpu"), help="what the model runs on")
        option("--dtype", help="what ours computes in, as in a job file")
        option("--shape", help="tiny, small (the default), base, large or nllb-600m")
        option("--layers", type=_count, metavar="N", help="instead of the shape's")
        option("--width", type=_count, metavar="N", help="hidden size, instead of the shape's")
        option("--corpus", metavar="FILE", help="real sentences, one a line (align: `a ||| b`)")
        if name != "align":
            option("--model", help="a checkpoint in place of random weights")
        if name == "label":
            option("--engine", choices=("vllm",), help="a third side, where vLLM is installed")
        if name == "translate":
            option("--beams", type=_count, metavar="N", help="of the search; 4 by default")

    command = _bench_command(commands, "matching", "exact matching beside integer programmes")
    option = partial(command.add_argument, default=argparse.SUPPRESS)
    option("--jobs", nargs="+", metavar="JOB.yaml", help="corpora to draw sentences from")
    option("--set", action="append", dest="overrides", metavar="SECTION.KEY=VALUE", help="to jobs")
    option("--instances", type=_count, metavar="N", help="sentences of each corpus")
    option("--programmes", nargs="+", help="{pairs,words}-{scip,highs,cp_sat}")
    option("--limit", type=float, metavar="SECONDS", help="for a programme to solve one sentence")
    option("--all-pairs", action="store_true", help="variables for pairs that score nothing, too")
    option("--hard", action="store_true", help="sentences of most entities, and one of 40")

    command = _bench_command(commands, "growth", "cost of projection by words, entities and rows")
    option = partial(command.add_argument, default=argparse.SUPPRESS)
    option("--jobs", nargs="+", metavar="JOB.yaml", help="corpora to time besides")
    option("--set", action="append", dest="overrides", metavar="SECTION.KEY=VALUE", help="to jobs")
    option("--rows", type=_count, metavar="N", help="sentences of a size")
    option("--largest", type=_count, metavar="N", help="rows of the longest table")

    command = _bench_command(commands, "nmt", "a translation model's scores beside word links")
    option = partial(command.add_argument, default=argparse.SUPPRESS)
    option("--rows", type=_count, metavar="N", help="sentence pairs; 10,000 by default")
    option("--threads", type=_count, metavar="N", help="CPUs of a model; 2 by default")

    command = _bench_command(commands, "job", "a whole projection-only job beside one without Ray")
    option = partial(command.add_argument, default=argparse.SUPPRESS)
    option("--rows", type=_count, metavar="N", help="sentence pairs")
    option("--cpus", type=_count, metavar="N", help="of either side; all by default")
    option("--method", help="a projection method that `compare` knows")

    command = _bench_command(commands, "refresh", "seconds and memory of a job that is run again")
    option = partial(command.add_argument, default=argparse.SUPPRESS)
    option("--rows", type=_count, nargs="+", metavar="N", help="sentence pairs; several sizes")


def _bench_command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    command = _command(commands, name, _bench, summary)
    command.add_argument(
        "--repeats",
        type=_count,
        default=argparse.SUPPRESS,
        metavar="N",
        help="how often each side runs; 3 by default",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return command


def _count(text: str) -> int:
    return _whole(text, 1)


def _index(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)


def _large(text: str) -> int:
    """A count that may be written like 1e9."""
    value = _positive(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(value)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, such as 24 or 1e9")
    return value


def _job_arguments(command: argparse.ArgumentParser) -> None:
    _file_arguments(command, "JOB.yaml")
    command.add_argument(
        "--retry",
        type=_names,
        default=(),
        metavar="STATUS,...",
        help="compute rows with these statuses again, such as error,translation_failed",
    )


def _file_arguments(command: argparse.ArgumentParser, metavar: str) -> None:
    command.add_argument("file", metavar=metavar)
    _set_argument(command)
    command.add_argument("--output", metavar="DIR", help="instead of the file's own `output`")


def _set_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a key of the job file; may be repeated",
    )


def _doctor(options: argparse.Namespace) -> int:
    from projner.start import doctor

    found = []
    for finding in doctor.examine(options.output, options.need):
        found.append(finding)
        if not options.json:
            print(doctor.as_text(finding), flush=True)
    if options.json:
        print(doctor.as_json(found))
    return 0 if doctor.healthy(found) else 2


def _init(options: argparse.Namespace) -> None:
    from projner.start import template

    keys = template.Asked.__dataclass_fields__
    given = {name: value for name, value in vars(options).items() if name in keys}
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    template.write(template.Asked(**{**given, **lists}), options.file)
    print(f"wrote {options.file}; next: projner validate {options.file}")


def _validate(options: argparse.Namespace) -> None:
    from projner.start import check

    found = check.check(_job(options))
    print(json.dumps(found.as_json()) if options.json else check.as_text(found))


def _completion(options: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        raise JobError("completion needs shtab: pip install 'projner[completion]'") from None
    parser = _parser()
    for action in _actions(parser):
        shown = str(action.metavar or "")
        if shown.endswith((".yaml", "FILE", "FILE_OR_RUN")):
            action.complete = shtab.FILE
        elif shown in ("DIR", "RUN"):
            action.complete = shtab.DIRECTORY
    print(shtab.complete(parser, options.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    """The arguments of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def _project(options: argparse.Namespace) -> None:
    from projner import pipeline
    from projner.report import summary

    job = _job(options)
    with _shown(options, job.output) as chatter:
        result = pipeline.project(job, options.retry)
    _say(options, summary.of_result(result), summary.result_as_json(result), chatter)


def _job(options: argparse.Namespace) -> Any:
    from projner import config

    return config.load(options.file, _overrides(options))


def _refresh(options: argparse.Namespace) -> None:
    from projner import pipeline
    from projner.report import summary
    from projner.runs import history

    job = _job(options)
    with _shown(options, job.output) as chatter:
        result = pipeline.project(job, options.retry)
    difference = None
    if result.before is not None:
        difference = history.diff(result.run, result.before, result.snapshot, examples=0)
    collected = history.collect(job.output, options.gc) if options.gc else []
    found = result, difference, collected
    _say(options, summary.of_refresh(*found), summary.refresh_as_json(*found), chatter)


def _snapshots(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from projner.report import summary
    from projner.runs import run as runs

    run = runs.find(options.location)
    found = [run.snapshot(number) for number in run.snapshots()]
    as_json = [{**asdict(each), "shards": len(each.shards)} for each in found]
    print(json.dumps(as_json) if options.json else summary.of_snapshots(found))


def _diff(options: argparse.Namespace) -> None:
    from projner.report import summary
    from projner.runs import history
    from projner.runs import run as runs

    run = runs.find(options.location)
    pair = run.snapshot(options.before), run.snapshot(options.after)
    difference = history.diff(run, *pair, examples=options.examples)
    if options.json:
        print(json.dumps(difference.as_json(), ensure_ascii=False))
    else:
        print(summary.of_difference(difference))


def _gc(options: argparse.Namespace) -> None:
    from projner.report import summary
    from projner.runs import history

    collected = history.collect(options.location, options.keep)
    if options.json:
        print(json.dumps([each.as_json() for each in collected]))
    else:
        print(summary.of_collected(collected))


def _export(options: argparse.Namespace) -> None:
    from projner import languages
    from projner.export.sentences import Choice
    from projner.export.write import export

    choice = Choice(
        statuses=tuple(options.status),
        languages=tuple(languages.find(name).code for name in options.lang),
        classes=tuple(options.classes),
        min_score=options.min_score,
        min_confidence=options.min_confidence,
        corrected=options.corrected,
    )
    count = export(options.run_location, options.format, options.output, choice)
    print(f"{count:,} sentences in {options.output}")


def _import(options: argparse.Namespace) -> None:
    from projner.export import importing
    from projner.report import summary

    done = importing.import_file(options.run_location, options.file, options.format)
    if options.json:
        print(json.dumps(done.as_json(), ensure_ascii=False))
    else:
        print(summary.of_import(done))


def _report(options: argparse.Namespace) -> None:
    from projner import languages
    from projner.report import page

    language = languages.find(options.lang).code if options.lang else None
    given = options.run_location, options.output, options.gold, language
    shown = page.write(*given, options.sample)
    print(f"{options.output} holds {shown}")


def _train(options: argparse.Namespace) -> None:
    from projner import config
    from projner.report import summary
    from projner.train import fit
    from projner.train.config import Training

    training = config.read(options.file, Training, _overrides(options))
    with _shown(options, training.output) as chatter:
        fitted = fit.fit(training, _tell)
    _say(options, summary.of_training(fitted), summary.training_as_json(fitted), chatter)


def _chain(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from projner import chain, config
    from projner.report import summary

    file = config.read(options.file, chain.Chain, options.set)
    steps = [*chain.run(file)]
    if options.json:
        print(json.dumps([asdict(step) for step in steps]))
    else:
        print(summary.of_chain(steps))


def _study(options: argparse.Namespace) -> None:
    from projner import config
    from projner.report import study as report
    from projner.train import study

    studied = study.run(config.read(options.file, study.Study, _overrides(options)), _tell)
    report.write(studied)
    print(json.dumps(studied.as_json()) if options.json else report.as_text(studied))


def _tell(line: str) -> None:
    print(f"projner: {line}", file=sys.stderr, flush=True)


def _overrides(options: argparse.Namespace) -> list[str]:
    return [*options.set, *([f"output={options.output}"] if options.output else [])]


def _evaluate(options: argparse.Namespace) -> None:
    from projner import languages
    from projner.evaluate import f1, verdict
    from projner.report import evaluation

    language = languages.find(options.lang).code if options.lang else None
    columns = {"token_column": options.token_column, "tag_column": options.tag_column}
    gold = f1.read_labelled(options.gold, options.skip, options.limit, **columns)
    train = [f1.read_labelled(place, language=language, **columns) for place in options.train]
    first = options.model or f1.read_labelled(options.predicted, language=language)
    others = [verdict.contender(place, language) for place in options.compare]
    machine = verdict.Machine(options.device, options.threads, options.repeats)
    found = verdict.judge(gold, [first, *others], options.ignore, train or None, machine)
    print(json.dumps(found.as_json()) if options.json else evaluation.as_text(found))


def _compare(options: argparse.Namespace) -> None:
    from projner.config import JobFile
    from projner.evaluate import choose, compare, suites
    from projner.report import comparison, suite

    if bool(options.suite) == bool(options.jobs):
        raise JobError("give job files, or --suite NAME")
    if options.suite:
        wanted = _names(options.langs), options.data, options.split, options.set
        files = suites.job_files(options.suite, options.output, *wanted)
    else:
        files = [JobFile.read(path, options.set) for path in options.jobs]
    if options.choose:
        choose.check(files)
    with _shown(options, options.output) as chatter:
        found = compare.compare(files, options.output, _names(options.methods))
    beside = suite.tables(options.suite, found) if options.suite else []
    cited = suite.cited(options.suite) if options.suite else []
    comparison.write(found, options.output, beside, cited)
    if options.choose:
        written = choose.write(choose.choose(found), files, options.output, options.choose)
        if not options.quiet:
            print(f"projner: wrote {', '.join(written)}", file=sys.stderr)
    _say(options, comparison.as_text(found, beside, cited), found.as_json(), chatter)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def _plan(options: argparse.Namespace) -> None:
    from projner import config
    from projner.plan import sample, sizes
    from projner.report import summary

    measured = sample.sample(config.load(options.job, options.set), options.sample)
    on_gpu = any(step.gpus for step in measured.steps)
    gpus = options.gpus_per_node or int(on_gpu)
    memory = options.driver_memory * 1e9
    if options.gpus and not gpus:
        raise JobError("--gpus: no model ran on a GPU here, so nothing is known of what one does")
    count = options.nodes or (-(-options.gpus // gpus) if options.gpus else 1)
    nodes = sizes.Nodes(count, options.cpus_per_node, gpus)
    if options.nodes or options.gpus:
        plan = sizes.plan(measured, options.sentences, nodes, memory)
    else:
        plan = sizes.within(measured, options.sentences, options.hours or 24, nodes, memory)
    print(json.dumps(plan.as_json()) if options.json else summary.of_plan(plan))


def _demo(options: argparse.Namespace) -> None:
    from projner.demo import compare, run

    if options.compare:
        compare.compare(options.output)
    else:
        run.demo(options.output)


def _bench(options: argparse.Namespace) -> None:
    from importlib import import_module

    from projner.bench.measure import quiet

    given = {
        name: value
        for name, value in vars(options).items()
        if name not in ("what", "run", "debug", "json")
    }
    print(f"projner: measuring {options.what}; this takes a while", file=sys.stderr)
    with quiet():
        report = import_module(f"projner.bench.{options.what}").bench(**given)
    print(json.dumps(report.as_json()) if options.json else report.as_text())


if __name__ == "__main__":
    sys.exit(main())
