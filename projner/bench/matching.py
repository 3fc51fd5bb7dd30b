"""Exact matching: ours beside integer programmes through OR-tools, on the same instances."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, config, methods, record
from projner.bench import measure, sentences
from projner.bench.measure import Report
from projner.bench.sentences import DEMO, demo_job
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.project import candidates, exact, match
from projner.project.fusion import Scorer
from projner.project.stages import Match

Result = TypeVar("Result")

MAX_WORDS = 10
TABLE_ROWS = 5000
"""Rows that are projected together, at least: the instances again and again."""
LEAST_SECONDS = 0.1
"""What is quicker is repeated for so long within each turn."""
SURE = 3.0
"""What a made-up tagger adds to the logit of the tag that the projection gives; others are normal."""
HARD_WORDS, HARD_ENTITIES = 60, 40

MATCH, SOLVER = "projner, one by one", "projner, scores given"
COMPILED, STAGE = "projner, from a table", "projner, whole stage"
PROGRAMMES = {
    "pairs-scip": "constraint per pair of spans, SCIP",
    "pairs-highs": "constraint per pair of spans, HiGHS",
    "pairs-cp_sat": "constraint per pair of spans, CP-SAT",
    "words-scip": "constraint per word, SCIP",
    "words-highs": "constraint per word, HiGHS",
    "words-cp_sat": "constraint per word, CP-SAT",
}


@dataclass(frozen=True)
class Instance:
    """What there is to choose from in one sentence: scores (entities, spans), and the spans."""

    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Sentences under a score: as instances, and as a table for the stage that chooses."""

    corpus: str
    score: str
    instances: list[Instance]
    table: pa.Table
    stage: Match

    @property
    def scoring(self) -> float:
        """Share of the pairs of an entity and a span that score."""
        flat = np.concatenate([each.scores.ravel() for each in self.instances])
        return float((match.quantise(flat[:, None]) > 0).mean())


class Outcome(NamedTuple):
    """One side on all instances: seconds a sentence, those of the slowest, and the optima.

    An optimum is None where the limit came first. `slowest` is None where sentences are solved
    together.
    """

    build: float
    solve: float
    slowest: float | None
    objectives: list[int | None]

    @property
    def seconds(self) -> float:
        return self.build + self.solve


Pair = tuple[int, int, int]
"""An entity, and the start and end of a span."""
Solver = Callable[[Instance], tuple[float, float, int | None]]
"""Seconds to build, seconds to solve, and the optimum."""


def bench(
    jobs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    instances: int = 20,
    repeats: int = 3,
    programmes: Sequence[str] = ("pairs-scip", "words-cp_sat"),
    limit: float = 30.0,
    all_pairs: bool = False,
    hard: bool = False,
) -> Report:
    """Choose target spans for source entities, one each at most, by every side.

    Args:
        jobs: job files of labelled, linked corpora to draw sentences from; the demo's by default.
        overrides: `section.key=value` changes to them.
        instances: sentences of each corpus, drawn at random from those with entities.
        repeats: how often each side solves them.
        programmes: names from `PROGRAMMES`.
        limit: seconds that a programme may take to solve one sentence.
        all_pairs: give the programmes variables for pairs that score nothing too.
        hard: take the sentence of most entities of each corpus instead, and one of 60 words with 40
            entities of one class.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    for name in programmes:
        if name not in PROGRAMMES:
            raise JobError(f"unknown programme {name!r}; choose from {', '.join(PROGRAMMES)}")
    solvers = {PROGRAMMES[name]: _programme(name, limit, all_pairs) for name in programmes}
    rows = []
    for corpus, table in tables(jobs, overrides):
        drawn = _draw(table, instances, hard)
        rows += _compare(_by_links(corpus, drawn), solvers, repeats)
        rows += _compare(by_tags(corpus, drawn), solvers, repeats)
    if hard:
        rows += _compare(_crowd(), solvers, repeats)
    same = sum(row["equal"] for row in rows) / max(1, sum(row["solved"] for row in rows))
    return Report(
        "matching, microseconds a sentence",
        rows,
        same,
        [
            "The objective is the same wherever a sentence was solved."
            if same == 1
            else "OBJECTIVES DIFFER: see where `equal` is less than `solved`.",
            "build, solve: means over the instances, median over repeats that take turns. least, "
            "most: their sum in the best and the worst turn. /ours: times the total of projner's "
            "quickest side, the median of the ratios within each turn.",
            "align: 2 * links / words, as Politov et al. 2025. ner: their score by the probabilities "
            "of a tagger, which is made up: normal logits, and more for the tag that the projection "
            "by align gives. Spans are all n-grams up to 10 words. scoring: share of the pairs of an "
            "entity and a span that score.",
            "Programmes have variables for all pairs of an entity and a span."
            if all_pairs
            else "Programmes have variables only for pairs of an entity and a span that score.",
            "one by one, scores given: as the programmes have it, without and with margins, the "
            "first in Python. from a table: candidates, scores and margins of an Arrow table. whole "
            "stage: to an Arrow table, tags and all.",
        ],
        measure.signature(
            ["ortools", "numba"],
            threads=1,
            instances="of-most-entities" if hard else instances,
            repeats=repeats,
            limit=f"{limit:g}s",
            pairs="all" if all_pairs else "scoring",
            ner=f"softmax(normal+{SURE:g}*projected-tag)",
            corpora=",".join(Path(job).stem for job in jobs) or DEMO,
        ),
    )


def _compare(problem: Problem, solvers: dict[str, Solver], repeats: int) -> list[dict[str, Any]]:
    """Table rows, one for each side."""
    found = problem.instances
    sides: dict[str, Callable[[], Outcome]] = {
        MATCH: partial(_match, found),
        SOLVER: partial(_solver, found),
        COMPILED: partial(_compiled, problem),
        STAGE: partial(_stage, problem),
    }
    ours = list(sides)
    for side in sides.values():
        side()
    sides |= {name: partial(_solve, solver, found) for name, solver in solvers.items()}
    measured = measure.in_turn(sides, repeats)
    quick = min(
        (measured[name].results for name in ours),
        key=lambda outcomes: median(outcome.seconds for outcome in outcomes),
    )
    known = measured[MATCH].results[0].objectives
    rows = []
    for name, timed in measured.items():
        outcomes = timed.results
        pairs = zip(outcomes[0].objectives, known, strict=True)
        slowest = [outcome.slowest for outcome in outcomes if outcome.slowest is not None]
        totals = [outcome.seconds for outcome in outcomes]
        rows.append(
            {
                "corpus": problem.corpus,
                "score": problem.score,
                "scoring": round(problem.scoring, 2),
                "side": name,
                "build": _micro(outcome.build for outcome in outcomes),
                "solve": _micro(outcome.solve for outcome in outcomes),
                "least": _micro([min(totals)]),
                "most": _micro([max(totals)]),
                "slowest": _micro(slowest) if slowest else None,
                "solved": sum(best is not None for best in outcomes[0].objectives),
                "equal": sum(best == optimum for best, optimum in pairs if best is not None),
                "/ours": measure.ratio([outcome.seconds for outcome in quick], totals),
            }
        )
    return rows


def _micro(seconds: Iterable[float]) -> float:
    """Microseconds: the median over repeats."""
    return measure.rounded(1e6 * median(seconds))


# Instances


def tables(jobs: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Each corpus by name: rows of the record with entities and links."""
    loaded = {Path(path).stem: config.load(path, overrides) for path in jobs}
    for name, job in (loaded or {DEMO: demo_job()}).items():
        index = corpora.index(job.corpus)
        for column in ("source_entities", "links"):
            if column not in index.columns:
                raise JobError(f"{name}: its corpus gives no {column}; choose one with both")
        parts = [
            corpora.read(job.corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows])
            for chunk in index.chunks
        ]
        yield name, pa.concat_tables(parts)


def _draw(table: pa.Table, instances: int, hard: bool) -> pa.Table:
    """Rows with entities and links, at random; or the one of most entities."""
    labelled = pc.greater(pc.list_value_length(table["source_entities"]), 0)
    linked = pc.greater(pc.list_value_length(table["links"]), 0)
    table = table.filter(pc.and_(labelled, linked))
    if not table.num_rows:
        raise JobError("no sentence has entities and links; choose another corpus")
    chosen = np.random.default_rng(0).permutation(table.num_rows)[:instances]
    if hard:
        chosen = pc.list_value_length(table["source_entities"]).to_numpy().argmax(keepdims=True)
    return table.take(pa.array(np.sort(chosen))).combine_chunks()


def _by_links(corpus: str, table: pa.Table) -> Problem:
    """Sentences under `align`."""
    (step,) = methods.projection_stages(methods.named("align"))
    assert isinstance(step, Match)
    return Problem(corpus, "align", _instances(table, step.scorer), table, step)


def by_tags(corpus: str, table: pa.Table, instances: int | None = None) -> Problem:
    """Sentences under `ner`, with the probabilities of a made-up tagger: normal logits, and `SURE`
    more for the tag that the projection by `align` gives. The first `instances` are instances."""
    projected = methods.apply(methods.projection_stages(methods.named("align")), table)
    given = pc.list_flatten(projected["ner_tags"]).to_pylist()
    labels = pc.unique(pc.struct_field(pc.list_flatten(table["source_entities"]), "label"))
    tags = ["O", *(f"{prefix}-{label}" for label in labels.to_pylist() for prefix in "BI")]
    logits = np.random.default_rng(0).normal(size=(len(given), len(tags)))
    logits[np.arange(len(given)), [tags.index(tag) for tag in given]] += SURE
    return _tagged(corpus, table, tags, logits, instances)


def _crowd() -> Problem:
    """One long sentence with many entities of one class, where a tagger sees them everywhere."""
    words = [f"w{word}" for word in range(HARD_WORDS)]
    entities = [(word, word + 1, "PER") for word in range(HARD_ENTITIES)]
    pair = sentences.Pair(words, words, entities, [(word, word) for word in range(HARD_WORDS)])
    logits = np.random.default_rng(0).normal(size=(HARD_WORDS, 3))
    return _tagged("made-up", sentences.as_table([pair]), ["O", "B-PER", "I-PER"], logits)


def _tagged(
    corpus: str,
    table: pa.Table,
    tags: Sequence[str],
    logits: np.ndarray,
    instances: int | None = None,
) -> Problem:
    shares = np.exp(logits)
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float16)
    offsets = np.arange(len(shares) + 1, dtype=np.int32) * len(tags)
    rows = pa.ListArray.from_arrays(offsets, pa.array(shares.ravel()))
    bounds = columns.lists(table["target_tokens"]).offsets.astype(np.int32)
    table = record.with_column(table, "target_probs", pa.ListArray.from_arrays(bounds, rows))
    step = Match(config.Project(score="ner", surface=None), tags)
    return Problem(corpus, "ner", _instances(table.slice(0, instances), step.scorer), table, step)


def _instances(table: pa.Table, scorer: Scorer) -> list[Instance]:
    found = []
    for sentence in scorer.sentences(table):
        spans = candidates.ngrams(len(sentence.target_tokens), MAX_WORDS)
        found.append(Instance(scorer.score(sentence, spans), *spans))
    return found


# Sides


def _solve(solver: Solver, found: Sequence[Instance]) -> Outcome:
    build, solve, objectives = zip(*map(solver, found), strict=True)
    slowest = max(map(sum, zip(build, solve, strict=True)))
    return Outcome(sum(build) / len(found), sum(solve) / len(found), slowest, list(objectives))


def _match(found: Sequence[Instance]) -> Outcome:
    times: list[list[float]] = []
    while sum(map(sum, times)) < LEAST_SECONDS:
        times.append([])
        objectives: list[int | None] = []
        for instance in found:
            began = time.perf_counter()
            best = match.solve(instance.scores, instance.starts, instance.ends)
            times[-1].append(time.perf_counter() - began)
            objectives.append(best.objective if best.status == "optimal" else None)
    each = np.median(times, axis=0)
    return Outcome(0.0, float(each.mean()), float(each.max()), objectives)


def _solver(found: Sequence[Instance]) -> Outcome:
    """Everything at once, scores given."""
    again = -(-TABLE_ROWS // len(found))
    many = list(found) * again
    matrices = exact.Matrices(
        np.cumsum([0, *(len(each.scores) for each in many)]),
        np.cumsum([0, *(len(each.starts) for each in many)]),
        np.cumsum([0, *(each.scores.size for each in many)]),
        np.concatenate([each.starts for each in many]).astype(np.int64),
        np.concatenate([each.ends for each in many]).astype(np.int64),
        np.concatenate([each.scores.ravel() for each in many]),
    )
    seconds, solved = _again(lambda: exact.solve(matrices))
    objectives: list[int | None] = []
    for row, instance in enumerate(found):
        own = solved.row == row
        scores = match.quantise(instance.scores)
        total = int(scores[solved.entity[own], solved.candidate[own]].sum())
        objectives.append(None if solved.left[row] else total)
    return Outcome(0.0, seconds / len(many), None, objectives)


def _compiled(problem: Problem) -> Outcome:
    table = _long(problem.table)
    seconds, (chosen, _) = _again(lambda: problem.stage.choose(table))
    rows: list[list[Pair]] = [[] for _ in problem.instances]
    for row, *pair in zip(chosen.row, chosen.entity, chosen.start, chosen.end, strict=True):
        if row < len(rows):
            rows[row].append((int(pair[0]), int(pair[1]), int(pair[2])))
    return Outcome(0.0, seconds / table.num_rows, None, [*map(_objective, problem.instances, rows)])


def _stage(problem: Problem) -> Outcome:
    table = _long(problem.table)
    seconds, projected = _again(lambda: methods.apply([problem.stage], table))
    rows = [
        [(item["source_index"], item["start"], item["end"]) for item in row or []]
        for row in projected["target_entities"].slice(0, len(problem.instances)).to_pylist()
    ]
    return Outcome(0.0, seconds / table.num_rows, None, [*map(_objective, problem.instances, rows)])


def _long(table: pa.Table) -> pa.Table:
    """The table again and again."""
    return pa.concat_tables([table] * -(-TABLE_ROWS // table.num_rows)).combine_chunks()


def _again(run: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of `run`, the median over as many calls as fill `LEAST_SECONDS`, and what it gives."""
    seconds: list[float] = []
    while sum(seconds) < LEAST_SECONDS:
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return median(seconds), result


def _objective(instance: Instance, chosen: Sequence[Pair]) -> int:
    """The summed quantised score of chosen pairs."""
    spans = zip(instance.starts.tolist(), instance.ends.tolist(), strict=True)
    column = {span: number for number, span in enumerate(spans)}
    quantised = match.quantise(instance.scores)
    return sum(int(quantised[entity, column[start, end]]) for entity, start, end in chosen)


# Programmes


class Variables(NamedTuple):
    """0-1 variables: the value of each, and those of each span and of each entity."""

    values: list[int]
    spans: list[list[int]]
    entities: list[list[int]]


def _programme(name: str, limit: float, all_pairs: bool) -> Solver:
    """A side that solves instances one by one: how overlap is written, then the solver."""
    overlap, _, solver = name.partition("-")
    formulate = {"pairs": _pairwise, "words": _wordwise}[overlap]
    solve = _cp_sat if solver == "cp_sat" else partial(_linear, solver.upper())

    def run(instance: Instance) -> tuple[float, float, int | None]:
        began = time.perf_counter()
        variables = _variables(instance, all_pairs)
        model = solve(
            variables.values, [*formulate(instance, variables), *variables.entities], limit
        )
        built = time.perf_counter()
        best = model()
        return built - began, time.perf_counter() - built, best

    return run


def _variables(instance: Instance, all_pairs: bool) -> Variables:
    quantised = match.quantise(instance.scores)
    kept = np.argwhere((quantised.T > 0) | all_pairs).tolist()
    spans: list[list[int]] = [[] for _ in instance.starts]
    entities: list[list[int]] = [[] for _ in quantised]
    for variable, (span, entity) in enumerate(kept):
        spans[span].append(variable)
        entities[entity].append(variable)
    return Variables([int(quantised[entity, span]) for span, entity in kept], spans, entities)


def _pairwise(instance: Instance, variables: Variables) -> Iterator[list[int]]:
    """For every two spans that overlap, all their variables (Politov et al. 2025)."""
    used = np.array([bool(of) for of in variables.spans])
    overlap = (instance.starts[:, None] < instance.ends) & (
        instance.starts < instance.ends[:, None]
    )
    for one, other in np.argwhere(np.triu(overlap & used & used[:, None], 1)).tolist():
        yield variables.spans[one] + variables.spans[other]
    # A span that overlaps with no other is taken once all the same.
    yield from (variables.spans[span] for span in np.flatnonzero(used).tolist())


def _wordwise(instance: Instance, variables: Variables) -> Iterator[list[int]]:
    """For every word, the variables of all spans that hold it."""
    for word in range(int(instance.ends.max(initial=0))):
        holding = np.flatnonzero((instance.starts <= word) & (word < instance.ends)).tolist()
        yield [variable for span in holding for variable in variables.spans[span]]


def _linear(
    solver: str, values: Sequence[int], rows: Sequence[Sequence[int]], limit: float
) -> Callable[[], int | None]:
    """A programme of OR-tools, at most one variable of each row being 1; calling it solves it."""
    from ortools.linear_solver import pywraplp

    model = pywraplp.Solver.CreateSolver(solver)
    variables = [model.BoolVar("") for _ in values]
    for row in rows:
        constraint = model.Constraint(0, 1)
        for variable in row:
            constraint.SetCoefficient(variables[variable], 1)
    objective = model.Objective()
    for variable, value in zip(variables, values, strict=True):
        objective.SetCoefficient(variable, value)
    objective.SetMaximization()
    model.set_time_limit(int(1000 * limit))
    parameters = pywraplp.MPSolverParameters()
    parameters.SetDoubleParam(parameters.RELATIVE_MIP_GAP, 0.0)

    def solve() -> int | None:
        if model.Solve(parameters) != pywraplp.Solver.OPTIMAL:
            return None
        chosen = [variable.solution_value() > 0.5 for variable in variables]
        return sum(value for value, is_chosen in zip(values, chosen, strict=True) if is_chosen)

    return solve


def _cp_sat(
    values: Sequence[int], rows: Sequence[Sequence[int]], limit: float
) -> Callable[[], int | None]:
    """The same for CP-SAT, on one thread."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    variables = [model.new_bool_var("") for _ in values]
    for row in rows:
        model.add_at_most_one([variables[variable] for variable in row])
    model.maximize(cp_model.LinearExpr.weighted_sum(variables, values))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = limit

    def solve() -> int | None:
        optimal = solver.solve(model) == cp_model.OPTIMAL
        return round(solver.objective_value) if optimal else None

    return solve
