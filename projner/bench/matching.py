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

from projner import columns, config, methods
from projner.bench import measure, sentences
from projner.bench.measure import Report
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.project import candidates, match, scores
from projner.project.stages import Match

Result = TypeVar("Result")

MAX_WORDS = 10
MADE_UP = 2000
"""Made-up sentences that instances are drawn from."""
TABLE_ROWS = 5000
"""Rows that are projected together, at least: the instances again and again."""
LEAST_SECONDS = 0.1
"""What is quicker is repeated for so long within each turn."""
ALPHA = 1.15
"""The factor of the score `ner` for every further word of a span (Politov et al. 2025)."""
HARD_WORDS, HARD_ENTITIES = 60, 40

MATCH, COMPILED, STAGE = "projner, one by one", "projner, compiled", "projner, whole stage"
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
        jobs: job files of labelled, linked corpora to draw sentences from; made-up ones by default.
        overrides: `section.key=value` changes to them.
        instances: sentences of each corpus, drawn at random from those with entities.
        repeats: how often each side solves them.
        programmes: names from `PROGRAMMES`.
        limit: seconds that a programme may take to solve one sentence.
        all_pairs: give the programmes variables for pairs that score nothing too.
        hard: add one sentence of 60 words with 40 entities of one class.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    for name in programmes:
        if name not in PROGRAMMES:
            raise JobError(f"unknown programme {name!r}; choose from {', '.join(PROGRAMMES)}")
    solvers = {PROGRAMMES[name]: _programme(name, limit, all_pairs) for name in programmes}
    rows = []
    for corpus, table in _tables(jobs, overrides):
        drawn = _draw(table, instances)
        rows += _compare((corpus, "align"), _by_links(drawn), solvers, repeats, drawn)
        rows += _compare((corpus, "ner"), _by_tags(drawn), solvers, repeats)
    if hard:
        rows += _compare(("hard", "ner"), [_hard()], solvers, repeats)
    same = sum(row["equal"] for row in rows) / max(1, sum(row["solved"] for row in rows))
    return Report(
        "matching, microseconds a sentence",
        rows,
        same,
        [
            "The objective is the same wherever a sentence was solved."
            if same == 1
            else "OBJECTIVES DIFFER: see where `equal` is less than `solved`.",
            "build, solve: means over the instances, median over repeats that take turns. "
            "/ours: times the total of projner's quickest side, the median of the ratios within "
            "each turn.",
            "align: 2 * links / words, as Politov et al. 2025. ner: made-up tag probabilities, so "
            "that every span scores. Spans are all n-grams up to 10 words.",
            "Programmes have variables for all pairs of an entity and a span."
            if all_pairs
            else "Programmes have variables only for pairs of an entity and a span that score.",
            "one by one: scores are given. compiled: from an Arrow table; candidates, scores and "
            "margins are in its time. whole stage: to an Arrow table, tags and all.",
        ],
        measure.signature(
            ["ortools", "numba"],
            threads=1,
            instances=instances,
            repeats=repeats,
            limit=f"{limit:g}s",
            pairs="all" if all_pairs else "scoring",
            corpora=",".join(Path(job).stem for job in jobs) or "made-up",
        ),
    )


def _compare(
    names: tuple[str, str],
    found: list[Instance],
    solvers: dict[str, Solver],
    repeats: int,
    table: pa.Table | None = None,
) -> list[dict[str, Any]]:
    """Table rows, one for each side. `table`, if given, is where the stage finds the instances."""
    sides: dict[str, Callable[[], Outcome]] = {MATCH: partial(_match, found)}
    if table is not None:
        sides |= {COMPILED: partial(_compiled, table, found), STAGE: partial(_stage, table, found)}
    for side in sides.values():
        side()
    sides |= {name: partial(_solve, solver, found) for name, solver in solvers.items()}
    measured = measure.in_turn(sides, repeats)
    ours = [measured[name].results for name in (MATCH, COMPILED, STAGE) if name in measured]
    quick = min(ours, key=lambda outcomes: median(outcome.seconds for outcome in outcomes))
    rows = []
    for name, timed in measured.items():
        outcomes = timed.results
        pairs = zip(outcomes[0].objectives, ours[0][0].objectives, strict=True)
        slowest = [outcome.slowest for outcome in outcomes if outcome.slowest is not None]
        rows.append(
            {
                "corpus": names[0],
                "score": names[1],
                "side": name,
                "build": _micro(outcome.build for outcome in outcomes),
                "solve": _micro(outcome.solve for outcome in outcomes),
                "slowest": _micro(slowest) if slowest else None,
                "solved": sum(best is not None for best in outcomes[0].objectives),
                "equal": sum(best == optimum for best, optimum in pairs if best is not None),
                "/ours": measure.ratio(
                    [outcome.seconds for outcome in quick],
                    [outcome.seconds for outcome in outcomes],
                ),
            }
        )
    return rows


def _micro(seconds: Iterable[float]) -> float:
    """Microseconds: the median over repeats."""
    return measure.rounded(1e6 * median(seconds))


# Instances


def _tables(jobs: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Each corpus by name: rows of the record with entities and links."""
    if not jobs:
        yield "made-up", sentences.as_table(sentences.pairs(MADE_UP))
    for path in jobs:
        job = config.load(path, overrides)
        index = corpora.index(job.corpus)
        for column in ("source_entities", "links"):
            if column not in index.columns:
                raise JobError(f"{path}: its corpus gives no {column}; choose one with both")
        parts = [
            corpora.read(job.corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows])
            for chunk in index.chunks
        ]
        yield Path(path).stem, pa.concat_tables(parts)


def _draw(table: pa.Table, instances: int) -> pa.Table:
    """Rows with entities and links, at random."""
    labelled = pc.greater(pc.list_value_length(table["source_entities"]), 0)
    linked = pc.greater(pc.list_value_length(table["links"]), 0)
    table = table.filter(pc.and_(labelled, linked))
    if not table.num_rows:
        raise JobError("no sentence has entities and links; choose another corpus")
    chosen = np.random.default_rng(0).permutation(table.num_rows)[:instances]
    return table.take(pa.array(np.sort(chosen))).combine_chunks()


def _by_links(table: pa.Table) -> list[Instance]:
    """Instances whose score is `align`."""
    entities = columns.lists(table["source_entities"], ["start", "end"])
    links = columns.lists(table["links"], ["source", "target"])
    words = pc.list_value_length(table["target_tokens"]).to_pylist()
    spans, pairs = entities.pairs("start", "end"), links.pairs("source", "target")
    found = []
    for row_entities, row_links, n_words in zip(entities.rows(), links.rows(), words, strict=True):
        grams = candidates.ngrams(n_words, MAX_WORDS)
        scored = scores.align(spans[row_entities], pairs[row_links], n_words, grams)
        found.append(Instance(scored, *grams))
    return found


def _by_tags(table: pa.Table) -> list[Instance]:
    """Instances whose score is that of a tagger's probabilities, which are made up."""
    chance = np.random.default_rng(0)
    words = pc.list_value_length(table["target_tokens"]).to_pylist()
    labels = [[entity["label"] for entity in row] for row in table["source_entities"].to_pylist()]
    return [_tagged(n_words, row, chance) for n_words, row in zip(words, labels, strict=True)]


def _hard() -> Instance:
    return _tagged(HARD_WORDS, ["PER"] * HARD_ENTITIES, np.random.default_rng(0))


def _tagged(n_words: int, labels: Sequence[str], chance: np.random.Generator) -> Instance:
    """alpha^(words - 1) * mean(P(B-label) of the first word, P(I-label) of the others)."""
    starts, ends = candidates.ngrams(n_words, MAX_WORDS)
    of_class = {}
    for label in dict.fromkeys(labels):
        first, inside = chance.dirichlet(np.ones(3), n_words).T[:2]
        sums = np.concatenate([[0], np.cumsum(inside)])
        total = first[starts] + sums[ends] - sums[starts + 1]
        of_class[label] = ALPHA ** (ends - starts - 1) * total / (ends - starts)
    return Instance(np.array([of_class[label] for label in labels]), starts, ends)


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


def _compiled(table: pa.Table, found: Sequence[Instance]) -> Outcome:
    (projector,) = methods.projection_stages(methods.named("align"))
    assert isinstance(projector, Match)
    seconds, (chosen, _) = _again(lambda whole: projector.choose(whole), table)
    rows: list[list[Pair]] = [[] for _ in found]
    for row, *pair in zip(chosen.row, chosen.entity, chosen.start, chosen.end, strict=True):
        if row < len(rows):
            rows[row].append((int(pair[0]), int(pair[1]), int(pair[2])))
    return Outcome(0.0, seconds, None, [*map(_objective, found, rows)])


def _stage(table: pa.Table, found: Sequence[Instance]) -> Outcome:
    steps = methods.projection_stages(methods.named("align"))
    seconds, projected = _again(lambda whole: methods.apply(steps, whole), table)
    rows = [
        [(item["source_index"], item["start"], item["end"]) for item in row or []]
        for row in projected["target_entities"].slice(0, len(found)).to_pylist()
    ]
    return Outcome(0.0, seconds, None, [*map(_objective, found, rows)])


def _again(run: Callable[[pa.Table], Result], table: pa.Table) -> tuple[float, Result]:
    """Seconds for a row of a long table that repeats `table`, and what `run` gives for it."""
    whole = pa.concat_tables([table] * -(-TABLE_ROWS // table.num_rows)).combine_chunks()
    seconds: list[float] = []
    while sum(seconds) < LEAST_SECONDS:
        began = time.perf_counter()
        result = run(whole)
        seconds.append(time.perf_counter() - began)
    return median(seconds) / whole.num_rows, result


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
