"""eflomal as a stage: what it learns is kept, and the rest is aligned with it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from projner import config, record, stage
from projner.align.eflomal import (
    LONGEST,
    EflomalAligner,
    _read_links,
    _symmetrised,
    _written,
)
from projner.align.symmetrise import symmetrise
from projner.errors import JobError

eflomal = pytest.importorskip("eflomal", reason="needs the extra projner[eflomal]")

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


def pairs(count: int, seed: int = 1) -> list[tuple[list[str], list[str], set[tuple[int, int]]]]:
    """Sentences, their translations word by word with neighbours swapped, and the true links."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        source = chance.sample(WORDS, chance.randint(3, 9))
        order = list(range(len(source)))
        swap = chance.randrange(len(source) - 1)
        order[swap], order[swap + 1] = order[swap + 1], order[swap]
        links = {(place, position) for position, place in enumerate(order)}
        made.append((source, [source[place][::-1].upper() for place in order], links))
    return made


def table(rows: list, first_id: int = 0) -> pa.Table:
    records = [
        {
            "id": first_id + number,
            "source_tokens": source,
            "target_tokens": target,
            "status": "ok",
            "status_detail": None,
        }
        for number, (source, target, _) in enumerate(rows)
    ]
    return pa.Table.from_pylist(records, schema=record.schema(list(records[0])))


def links(done: pa.Table) -> list[set[tuple[int, int]]]:
    return [{(link["source"], link["target"]) for link in row} for row in done["links"].to_pylist()]


def f1(found: list[set], true: list[set]) -> float:
    right = sum(len(a & b) for a, b in zip(found, true, strict=True))
    return 2 * right / (sum(map(len, found)) + sum(map(len, true)))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> EflomalAligner:
    folder = tmp_path_factory.mktemp("eflomal")
    aligner = EflomalAligner(config.Eflomal())
    known = table(pairs(600))
    aligner.learn(iter([known.slice(0, 200), known.slice(200)]), folder)
    recalled = aligner.recall(folder)
    assert isinstance(recalled, EflomalAligner)
    return recalled


def test_true_links_are_found_for_learnt_and_for_new_pairs(learnt: EflomalAligner) -> None:
    known, new = pairs(600), pairs(100, seed=2)
    assert f1(links(learnt(table(known))), [true for *_, true in known]) > 0.9
    assert f1(links(learnt(table(new, 10_000))), [true for *_, true in new]) > 0.9


def test_what_was_learnt_is_never_sampled_again(learnt: EflomalAligner) -> None:
    known = table(pairs(600))
    first = links(learnt(known))
    assert links(learnt(known)) == first
    backwards = known.take(pa.array(range(599, -1, -1)))
    assert links(learnt(backwards)) == first[::-1]
    mixed = pa.concat_tables([known.slice(5, 3), table(pairs(4, seed=3), 10_000)])
    assert links(learnt(mixed))[:3] == first[5:8]


def test_a_sample_comes_from_all_over_the_corpus(tmp_path: Path) -> None:
    aligner = EflomalAligner(config.Eflomal(sample=60))
    known = table(pairs(200))
    aligner.learn((known.slice(start, 30) for start in range(0, 200, 30)), tmp_path)
    with pa.memory_map(str(tmp_path / "links.arrow")) as file:
        ids = pa.ipc.open_file(file).read_all()["id"].to_pylist()
    assert 30 <= len(ids) <= 60
    assert min(ids) < 10
    assert max(ids) > 190


def test_what_is_too_long_gets_a_status(learnt: EflomalAligner) -> None:
    words = ["word"] * (LONGEST + 1)
    done = stage.run(learnt, table([(words, words, set()), *pairs(2)], 20_000))
    assert done["status"].to_pylist() == ["alignment_failed", "ok", "ok"]
    assert f"up to {LONGEST} words" in done["status_detail"][0].as_py()


@pytest.mark.parametrize(
    "word", ["", " ", "1\u00a0000", "\u3000", "a\u2028b", "a\tb", "\x85", "a-b"]
)
def test_no_word_shifts_the_links_of_those_after_it(tmp_path: Path, word: str) -> None:
    rows = [
        ([word, *source], [word, *target], {(0, 0)} | {(i + 1, j + 1) for i, j in true})
        for source, target, true in pairs(300, seed=4)
    ]
    aligner = EflomalAligner(config.Eflomal(sample=200))
    aligner.learn(iter([table(rows)]), tmp_path)
    assert f1(links(aligner.recall(tmp_path)(table(rows))), [true for *_, true in rows]) > 0.9


@pytest.mark.parametrize(
    ("text", "offsets", "links"),
    [
        (b"0-0 1-2 10-11\n\n3-4\n", [0, 3, 3, 4], [[0, 0], [1, 2], [10, 11], [3, 4]]),
        (b"\n\n", [0, 0, 0], []),
        (b"", [0], []),
    ],
)
def test_files_of_links_are_read_and_written(text: bytes, offsets: list, links: list) -> None:
    read = _read_links(text)
    assert read.offsets.tolist() == offsets
    assert read.pairs("source", "target").tolist() == links
    assert "".join(_written(read).to_pylist()).encode() == text


@pytest.mark.parametrize("rows", [400, 1200])
def test_few_and_many_rows_are_symmetrised_alike(rows: int) -> None:
    chance = random.Random(rows)
    lines = [
        " ".join(f"{i}-{chance.randrange(9)}" for i in range(chance.randrange(9)))
        for _ in range(2 * rows)
    ]
    forward, reverse = (
        _read_links("".join(f"{line}\n" for line in side).encode())
        for side in (lines[:rows], lines[rows:])
    )
    found = _symmetrised(forward, reverse, "grow-diag-final-and").to_pylist()
    sides = forward.pairs("source", "target"), reverse.pairs("source", "target")
    for number, (one, other) in enumerate(zip(forward.rows(), reverse.rows(), strict=True)):
        expected = symmetrise(sides[0][one], sides[1][other], "grow-diag-final-and")
        assert [[link["source"], link["target"]] for link in found[number]] == expected.tolist()


def test_a_missing_package_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(JobError, match=r"pip install 'projner\[eflomal\]'"):
        EflomalAligner(config.Eflomal())
