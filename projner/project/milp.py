"""The same choice through OR-tools: a check on the solver, and for what it leaves.

Overlap is one constraint per word, which is far fewer rows and a far tighter relaxation than one
per overlapping pair. Objectives are maximised one after the other: score, then fewest words, then
smallest sum of starts. Solutions equal in all three are not told apart further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import Literal

import numpy.typing as npt

from projner.project.match import INFEASIBLE, ONCE, Limit, Matching, check_spans, quantise
from projner.project.search import Answer, weigh

Solver = Literal["cp_sat", "scip", "highs"]

WORK_LIMIT = 5.0
"""CP-SAT's deterministic time for each objective; about as many seconds."""


@dataclass(frozen=True)
class Row:
    """Between `low` and `high` of the variables `columns` are 1."""

    columns: Sequence[int]
    low: int
    high: int


@dataclass(frozen=True)
class Optimum:
    """Variables that are 1 (None: no solution found), a bound on the first objective, and whether
    every objective is proven optimal. Without a solution, `proven` means that there is none."""

    chosen: list[int] | None
    bound: int
    proven: bool


def milp(
    scores: npt.ArrayLike,
    starts: npt.ArrayLike,
    ends: npt.ArrayLike,
    limit: Limit = ONCE,
    solver: Solver = "cp_sat",
    work_limit: float | None = WORK_LIMIT,
) -> Matching:
    """The best matching, as `match.solve` defines it, by a variable per pair and nothing clever.

    Only CP-SAT heeds the work limit and is exact to the last unit; the others work in floating
    point. Raises ValueError for scores or spans that are not such, and for an unknown solver.
    """
    quantised = quantise(scores)
    first, last = check_spans(quantised, starts, ends)
    order = sorted(range(len(first)), key=lambda column: (first[column], last[column], column))
    pairs = [
        (entity, column)
        for column in order
        for entity in range(len(quantised))
        if limit.relation != "<=" or quantised[entity, column]
    ]
    spans = [(int(first[column]), int(last[column])) for _, column in pairs]
    rows = _word_rows(spans)
    if limit.count is not None:
        low = 0 if limit.relation == "<=" else limit.count
        high = limit.count if limit.relation != ">=" else limit.count + len(pairs)
        rows += [
            Row([index for index, pair in enumerate(pairs) if pair[0] == entity], low, high)
            for entity in range(len(quantised))
        ]
    values = [int(quantised[pair]) for pair in pairs]
    found = maximise(_objectives(values, spans), rows, solver=solver, work_limit=work_limit)
    if found.chosen is None:
        # Nothing within the work limit; 0 pairs is always a solution of `<=`.
        return INFEASIBLE if found.proven else Matching((), 0, found.bound, "bounded")
    chosen = tuple(pairs[index] for index in found.chosen)
    objective = sum(values[index] for index in found.chosen)
    return Matching(chosen, objective, found.bound, "optimal" if found.proven else "bounded")


def improve(answer: Answer, work_limit: float) -> Answer:
    """CP-SAT on what a search has left open, from the solution and the bound that it found."""
    part = answer.part
    spans = [(item.start, item.end) for item in part.items]
    rows = _word_rows(spans)
    for slot, capacity in enumerate(part.capacity):
        columns = [index for index, item in enumerate(part.items) if slot in item.slots]
        if columns:
            rows.append(Row(columns, capacity if slot == part.owed else 0, capacity))
    hint = [part.items.index(item) for item in answer.chosen]
    values = [part.to_score(item.weight) for item in part.items]
    found = maximise(_objectives(values, spans), rows, hint, work_limit=work_limit)
    better = [part.items[index] for index in found.chosen or hint]
    chosen = max(answer.chosen, better, key=weigh)
    if found.proven:
        return Answer(chosen, weigh(chosen), True, part)
    return Answer(chosen, min(answer.bound, found.bound * part.unit), False, part)


def maximise(
    objectives: Sequence[Sequence[int]],
    rows: Sequence[Row],
    hint: Sequence[int] = (),
    solver: Solver = "cp_sat",
    work_limit: float | None = WORK_LIMIT,
) -> Optimum:
    """0-1 variables that maximise the first objective, then the next without loss to it, ...

    Each objective has a coefficient per variable. `hint` lists the variables that are 1 in a
    solution. Raises ValueError for an unknown solver.
    """
    from ortools.math_opt.python import mathopt
    from ortools.sat.sat_parameters_pb2 import SatParameters

    kinds = {
        "cp_sat": mathopt.SolverType.CP_SAT,
        "scip": mathopt.SolverType.GSCIP,
        "highs": mathopt.SolverType.HIGHS,
    }
    if solver not in kinds:
        raise ValueError(f"solver is {solver!r}, not one of {', '.join(kinds)}")
    parameters = mathopt.SolveParameters(relative_gap_tolerance=0.0, absolute_gap_tolerance=0.0)
    if solver == "cp_sat":
        parameters.threads = 1
        parameters.cp_sat = SatParameters(max_deterministic_time=work_limit)

    model = mathopt.Model()
    variables = [model.add_binary_variable() for _ in objectives[0]]
    for row in rows:
        constraint = model.add_linear_constraint(lb=row.low, ub=row.high)
        for column in row.columns:
            constraint.set_coefficient(variables[column], 1)

    chosen = list(hint) or None
    bound: int | None = None
    for objective in objectives:
        model.objective.clear()
        model.objective.is_maximize = True
        for variable, value in zip(variables, objective, strict=True):
            model.objective.set_linear_coefficient(variable, value)
        start = mathopt.ModelSolveParameters()
        if chosen is not None:
            marked = set(chosen)
            values = {variable: float(i in marked) for i, variable in enumerate(variables)}
            start.solution_hints.append(mathopt.SolutionHint(variable_values=values))
        result = mathopt.solve(model, kinds[solver], params=parameters, model_params=start)
        reason = result.termination.reason
        if bound is None:
            limit = result.best_objective_bound()
            bound = floor(limit + 0.5) if isfinite(limit) else sum(objective)
        if chosen is None and reason == mathopt.TerminationReason.INFEASIBLE:
            return Optimum(None, bound, True)
        if result.has_primal_feasible_solution():
            found = result.variable_values(variables)
            chosen = [i for i, value in enumerate(found) if value > 0.5]
        if reason != mathopt.TerminationReason.OPTIMAL or chosen is None:
            return Optimum(chosen, bound, False)
        constraint = model.add_linear_constraint(lb=sum(objective[i] for i in chosen))
        for variable, value in zip(variables, objective, strict=True):
            constraint.set_coefficient(variable, value)
    return Optimum(chosen, bound or 0, True)


def _word_rows(spans: Sequence[tuple[int, int]]) -> list[Row]:
    """At most one span per word; words at which none begins are covered by the word before."""
    return [
        Row([i for i, (start, end) in enumerate(spans) if start <= word < end], 0, 1)
        for word in sorted({start for start, _ in spans})
    ]


def _objectives(values: list[int], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    return [values, [start - end for start, end in spans], [-start for start, _ in spans]]
