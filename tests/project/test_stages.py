"""The projecting stages on whole tables: what is chosen, what is said of it, what is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from projner import columns, methods, record, stage
from projner.config import Project
from projner.project import match
from projner.project.stages import Heuristic, Match
from projner.tags import Span, to_tags
from tests.conftest import labelled

Row = dict[str, Any]


@pytest.fixture(autouse=True, params=["few rows", "many rows"])
def rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test goes both ways: row by row, and with the compiled code for large tables."""
    monkeypatch.setattr(columns, "MANY_ROWS", 1 if request.param == "many rows" else 10**9)


def row(source: str, target: str, links: str, status: str = "ok") -> Row:
    """A row of the record: a labelled source sentence, target words, links as in Pharaoh files."""
    tokens, spans = labelled(source)
    pairs = [[int(end) for end in link.split("-")] for link in links.split()]
    return {
        "source_tokens": tokens,
        "target_tokens": target.split(),
        "source_entities": [{**span._asdict(), "score": 1.0} for span in spans],
        "links": [{"source": s, "target": t, "score": 1.0} for s, t in pairs],
        "status": status,
        "status_detail": None if status == "ok" else "as it was",
    }


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=record.schema(list(rows[0])))


def project(rows: Sequence[Row], **settings: Any) -> list[Row]:
    stages = methods.projection_stages(Project(**settings))
    result = methods.apply(stages, table(rows))
    result.select([name for name in record.COLUMNS if name in result.column_names]).validate(
        full=True
    )
    return result.to_pylist()


def spans(done: Row) -> list[Span]:
    return [Span(e["start"], e["end"], e["label"]) for e in done["target_entities"]]


EVIDENCE = {"surface": None}
ALIGN = {"score": "align", "surface": None}
GAP = {"score": "align_gap", "surface": None}
HEURISTIC = {"method": "heuristic"}
SPAN = {"method": "span"}
EVERY = [EVIDENCE, ALIGN, GAP, HEURISTIC, SPAN]

CASES = [
    # Word by word: everyone agrees.
    (
        "[PER Ada] met [LOC Rome]",
        "Ada alikutana Roma",
        "0-0 1-1 2-2",
        EVERY,
        "[PER Ada] alikutana [LOC Roma]",
    ),
    (
        "[PER Ada Byron] left",
        "aliondoka Ada Byron",
        "0-1 1-2 2-0",
        EVERY,
        "aliondoka [PER Ada Byron]",
    ),
    # Two entities of one class side by side stay two.
    ("[PER Ada] [PER Eva]", "Ada Eva", "0-0 1-1", EVERY, "[PER Ada] [PER Eva]"),
    # An article between two linked words is bridged.
    (
        "[ORG Oxford University] won",
        "Chuo cha Oxford kilishinda",
        "0-2 1-0 2-3",
        [{}, *EVERY[1:]],
        "[ORG Chuo cha Oxford] kilishinda",
    ),
    # Two unlinked words: `align` gives whole and parts 2/3 and takes the first of the shortest.
    (
        "[LOC Red Sea] dried",
        "Bahari ya hiyo Shamu ilikauka",
        "0-3 1-0 2-4",
        [ALIGN],
        "[LOC Bahari] ya hiyo Shamu ilikauka",
    ),
    (
        "[LOC Red Sea] dried",
        "Bahari ya hiyo Shamu ilikauka",
        "0-3 1-0 2-4",
        [GAP, SPAN],
        "[LOC Bahari ya hiyo Shamu] ilikauka",
    ),
    # ... where the rules find two runs that are too short, one word each of two.
    (
        "[LOC Red Sea] dried",
        "Bahari ya hiyo Shamu ilikauka",
        "0-3 1-0 2-4",
        [HEURISTIC],
        "Bahari ya hiyo Shamu ilikauka",
    ),
    # A stray link far away is believed or not.
    (
        "[LOC Rome] is old and big",
        "Roma ni ya zamani na kubwa",
        "0-0 0-5 1-1 2-3 3-4 4-5",
        [EVIDENCE, ALIGN],
        "[LOC Roma] ni ya zamani na kubwa",
    ),
    (
        "[LOC Rome] is old and big",
        "Roma ni ya zamani na kubwa",
        "0-0 0-5 1-1 2-3 3-4 4-5",
        [GAP, SPAN],
        "[LOC Roma ni ya zamani na kubwa]",
    ),
    # The rules may use an entity twice, and so may a matching when asked.
    (
        "[LOC Rome] !",
        "Roma ni Roma !",
        "0-0 0-2 1-3",
        [HEURISTIC | {"merge": 0}, ALIGN | {"limit": 2}, ALIGN | {"limit": "unlimited"}],
        "[LOC Roma] ni [LOC Roma] !",
    ),
    (
        "[LOC Rome] !",
        "Roma ni Roma !",
        "0-0 0-2 1-3",
        [HEURISTIC | {"merge": 0, "limit": 1}, ALIGN],
        "[LOC Roma] ni Roma !",
    ),
    # Two entities, one word: it goes to one, and the other goes without.
    ("[LOC Rome] , [LOC Italy]", "Italia", "0-0 2-0", [ALIGN, HEURISTIC, SPAN], "[LOC Italia]"),
    # Greedy takes the best pair, 1, and has no room for the other; 2/3 + 2/3 is better.
    ("[ORG a b] [PER c d]", "a b", "0-0 1-1 2-1", [ALIGN | {"solver": "greedy"}], "[ORG a b]"),
    (
        "[ORG a b] [PER c d]",
        "a b",
        "0-0 1-1 2-1",
        [ALIGN, ALIGN | {"solver": "milp"}],
        "[ORG a] [PER b]",
    ),
    # No longer than `max_words`.
    (
        "[PER Ada Byron King]",
        "Ada Byron King",
        "0-0 1-1 2-2",
        [ALIGN | {"max_words": 2}, GAP | {"max_words": 2}],
        "[PER Ada Byron] King",
    ),
    # A look alone, where no link is given.
    (
        "[PER Wangari Maathai] spoke",
        "alizungumza Wangari Maathai",
        "",
        [{}, {"score": "align", "surface": 0.75}],
        "alizungumza [PER Wangari Maathai]",
    ),
    # Nothing to go by, nothing to project.
    ("[PER Ada] met [LOC Rome]", "alikutana naye huko", "", [{}, *EVERY], "alikutana naye huko"),
    ("It rained .", "Mvua ilinyesha .", "0-0 1-1 2-2", [{}, *EVERY], "Mvua ilinyesha ."),
]


@pytest.mark.parametrize(
    ("source", "target", "links", "settings", "expected"),
    [
        pytest.param(s, t, k, each, e, id=f"{s}-{each}")
        for s, t, k, many, e in CASES
        for each in many
    ],
)
def test_known_answers(
    source: str, target: str, links: str, settings: dict[str, Any], expected: str
) -> None:
    (done,) = project([row(source, target, links)], **settings)
    words, wanted = labelled(expected)
    assert done["status"] == "ok"
    assert done["tokens"] == words
    assert done["ner_tags"] == to_tags(wanted, len(words))
    assert spans(done) == wanted


def some_rows(seed: int, count: int) -> list[Row]:
    """Sentences with many links, so that entities are in each other's way."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        n, m = chance.randint(1, 12), chance.randint(1, 10)
        cuts = sorted(chance.sample(range(n + 1), chance.randint(0, min(n + 1, 8))))
        entities = [
            {"start": a, "end": b, "label": chance.choice(["PER", "LOC"]), "score": 1.0}
            for a, b in pairwise(cuts)
            if chance.random() < 0.8
        ]
        density = chance.choice([0.1, 0.2, 0.4])
        links = [(i, j) for i in range(n) for j in range(m) if chance.random() < density]
        made = row("a", "a", "")
        made["source_tokens"] = [chance.choice(["Ada", "ya", "Roma", "na"]) for _ in range(n)]
        made["target_tokens"] = [chance.choice(["Ada", "wa", "Rome", "na"]) for _ in range(m)]
        made["source_entities"] = entities
        made["links"] = [{"source": i, "target": j, "score": 1.0} for i, j in links]
        rows.append(made)
    return rows


@pytest.mark.parametrize("score", ["evidence", "align", "align_gap"])
@pytest.mark.parametrize(
    "limit",
    [
        {},
        {"limit": 2},
        {"limit": "unlimited"},
        {"limit": 1, "relation": "="},
        {"limit": 1, "relation": ">="},
    ],
    ids=str,
)
def test_exact_and_milp_agree(score: str, limit: dict[str, Any]) -> None:
    rows = some_rows(7, 60)
    exact, milp, greedy = (
        project(rows, score=score, solver=solver, max_words=4, **limit)
        for solver in ("exact", "milp", "greedy")
    )
    assert [done["status"] for done in exact] == [done["status"] for done in milp]
    for ours, theirs, rough in zip(exact, milp, greedy, strict=True):
        if ours["status"] != "ok":
            continue
        total, other, least = (
            sum(entity["score"] for entity in done["target_entities"])
            for done in (ours, theirs, rough)
        )
        assert total == pytest.approx(other, abs=1e-5)
        assert total >= least - 1e-5
        words = [sum(end - start for start, end, _ in spans(done)) for done in (ours, theirs)]
        assert words[0] == words[1]


@pytest.mark.parametrize("score", ["evidence", "align", "align_gap"])
def test_candidates_that_are_left_out_change_nothing(score: str) -> None:
    rows = some_rows(11, 80)
    every, linked = (
        project(rows, score=score, candidates=candidates) for candidates in ("ngram", "linked")
    )
    assert every == linked


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Room for both.
        ({"relation": "=", "limit": 1}, ["[LOC Roma] [PER na]", 0]),
        ({"relation": ">=", "limit": 1}, ["[LOC Roma] [PER na]", 0]),
        # Two words cannot hold four spans.
        ({"relation": "=", "limit": 2}, [None, 2]),
        ({"relation": ">=", "limit": 2}, [None, 2]),
        ({"relation": "<=", "limit": 2}, ["[LOC Roma] na", 0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("solver", ["exact", "greedy", "milp"])
def test_relations(solver: str, settings: dict[str, Any], expected: list[Any]) -> None:
    pair = row("[LOC Rome] [PER Ada]", "Roma na", "0-0")
    (done,) = project([pair], score="align", surface=None, solver=solver, **settings)
    if expected[0] is None:
        count = f"{settings['relation']} {settings['limit']}"
        assert done["status"] == "infeasible"
        assert done["status_detail"] == f"no choice of spans uses each of 2 entities {count} times"
        assert done["target_entities"] == []
        assert done["tokens"] is done["ner_tags"] is None
    else:
        words, wanted = labelled(expected[0])
        assert done["ner_tags"] == to_tags(wanted, len(words))


def test_what_is_not_proven_is_said_and_gives_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "solve", partial(match.solve, work_limit=0))
    hard = some_rows(3, 200)
    done = project(hard, score="align", surface=None, relation="=")
    bounded = [each for each in done if each["status"] == "bounded"]
    assert bounded, "no row was hard enough"
    for each in bounded:
        assert each["status_detail"].startswith("work limit reached: total score ")
        assert each["target_entities"]
        assert each["tokens"] is each["ner_tags"] is None
        assert all(entity["margin"] is None for entity in each["target_entities"])
    easy = [each for each in done if each["status"] == "ok"]
    assert easy
    assert all(each["ner_tags"] is not None for each in easy)


def test_where_a_span_comes_from() -> None:
    pair = row(
        "[PER Ada] saw [LOC New York] and [PER Eva]", "New York Eva na Ada", "0-4 2-0 3-1 5-2"
    )
    (done,) = project([pair], score="align", surface=None)
    found = [
        (e["start"], e["end"], e["label"], e["source_index"], e["score"])
        for e in done["target_entities"]
    ]
    assert found == [(0, 2, "LOC", 1, 1.0), (2, 3, "PER", 2, 1.0), (4, 5, "PER", 0, 1.0)]


def test_a_margin_is_what_would_be_lost_without_the_span() -> None:
    # In place of the whole, a part of it would do: 2 * 2 / (3 + 2) = 0.8; of Rome there is none.
    pair = row("[PER Ada Byron King] [LOC Rome]", "Ada Byron King Roma", "0-0 1-1 2-2 3-3")
    (done,) = project([pair], score="align", surface=None)
    person, place = done["target_entities"]
    assert person["score"] == place["score"] == pytest.approx(1)
    assert person["margin"] == pytest.approx(0.2, abs=1e-5)
    assert place["margin"] == pytest.approx(1)


@pytest.mark.parametrize("settings", [HEURISTIC, SPAN, ALIGN | {"solver": "greedy"}], ids=str)
def test_methods_without_an_optimum_have_no_margins(settings: dict[str, Any]) -> None:
    (done,) = project(
        [row("[PER Ada Byron] left", "Ada Byron aliondoka", "0-0 1-1 2-2")], **settings
    )
    (entity,) = done["target_entities"]
    assert (entity["score"], entity["margin"]) == (1, None)


@pytest.mark.parametrize("method", [{}, HEURISTIC, SPAN], ids=str)
def test_rows_that_are_not_ok_are_left_alone(method: dict[str, Any]) -> None:
    good = row("[PER Ada] left", "Ada aliondoka", "0-0 1-1")
    rows = [good, row("[PER Ada] left", "", "", "empty"), good, row("", "a", "", "invalid")]
    rows[3] |= {"source_entities": None, "links": None}
    done = project(rows, **method)
    assert [each["status"] for each in done] == ["ok", "empty", "ok", "invalid"]
    assert [each["ner_tags"] for each in done] == [["B-PER", "O"], None, ["B-PER", "O"], None]
    assert [each["tokens"] is None for each in done] == [False, True, False, True]
    assert done[1]["target_entities"] is done[3]["target_entities"] is None
    assert done[1]["status_detail"] == "as it was"


@pytest.mark.parametrize("settings", [{}, *EVERY], ids=str)
def test_rows_without_labels_or_links_are_not_taken_for_rows_with_none(
    settings: dict[str, Any],
) -> None:
    good = row("[PER Ada] left", "Ada aliondoka", "0-0 1-1")
    rows = [good, good | {"source_entities": None}, good | {"links": None}, good | {"links": []}]
    done = project(rows, **settings)
    assert [each["status"] for each in done] == ["ok", "error", "error", "ok"]
    assert done[1]["status_detail"] == "the row has no labels on its source side"
    assert done[2]["status_detail"] == "the row has no word links"
    assert [each["tokens"] is None for each in done] == [False, True, True, False]
    assert [each["ner_tags"] is None for each in done] == [False, True, True, False]


@pytest.mark.parametrize("settings", [{}, *EVERY], ids=str)
def test_each_row_by_itself_gives_what_it_gives_in_company(settings: dict[str, Any]) -> None:
    rows = some_rows(5, 40)
    assert project(rows, **settings) == [project([each], **settings)[0] for each in rows]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"limit": 1}, {"limit": None}, True),
        ({"merge": 3}, {"merge": 0}, True),
        ({"max_words": 3}, {}, False),
        ({"solver": "greedy"}, {}, False),
        ({"score": "align"}, {}, False),
        ({"surface": None}, {}, False),
        (HEURISTIC | {"merge": 3}, HEURISTIC, False),
        (HEURISTIC | {"score": "align", "max_words": 3}, HEURISTIC, True),
        (SPAN | {"merge": 3, "limit": 2}, SPAN, True),
    ],
    ids=str,
)
def test_settings_name_what_changes_results_and_nothing_else(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    first, second = (
        [(step.name, step.settings()) for step in methods.projection_stages(Project(**settings))]
        for settings in (one, other)
    )
    assert (first == second) == same


def test_surface_links_stand_beside_and_are_asked_for() -> None:
    pair = table([row("[PER Ada] met Ada", "Ada Ada", "0-1")])
    beside, matching = methods.projection_stages(Project())
    seen = stage.run(beside, pair)
    assert [(k["source"], k["target"]) for k in seen["surface_links"].to_pylist()[0]] == [(0, 0)]
    assert seen["links"] == pair["links"]
    assert isinstance(matching, Match)
    (alone,) = methods.projection_stages(Project(surface=None))
    assert "surface_links" not in stage.run(alone, pair).column_names
    (rules,) = methods.projection_stages(Project(method="heuristic"))
    assert isinstance(rules, Heuristic)
