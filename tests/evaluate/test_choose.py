"""Which method is chosen for a language, and that the job file which says so runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from projner import cli, config, pipeline
from projner.config import JobFile
from projner.errors import JobError
from projner.evaluate import choose, f1
from projner.evaluate.bootstrap import Counts
from projner.evaluate.choose import Choice
from tests.conftest import Pair

Bitext = Callable[..., dict[str, Any]]

GAP = Pair(
    "[PER Ada Lovelace] came .", "[PER Ada wa Lord Byron Lovelace] alikuja .", "0-0 1-4 2-5 3-6"
)
WIDE = Pair("[PER Ada] met Bo .", "Ada Lovelace alikutana na Bo .", "0-0 0-3 1-2 2-4 3-5")


def right(number: int, of: int = 200) -> Counts:
    return np.array([(int(row < number), 1, 1) for row in range(of)])


@pytest.mark.parametrize(
    ("counts", "costs", "chosen"),
    [
        ({"default": 100, "other": 160}, {}, "other"),
        ({"default": 100, "other": 102}, {}, "default"),
        ({"default": 100, "other": 100}, {}, "default"),
        ({"default": 160, "other": 100}, {}, "default"),
        ({"default": 100, "dear": 160, "cheap": 160}, {"dear": 1}, "cheap"),
        ({"default": 100, "dear": 162, "cheap": 160}, {"dear": 1}, "cheap"),
        ({"default": 100, "dear": 190, "cheap": 160}, {"dear": 1}, "dear"),
        ({"default": 100, "worse": 150, "better": 160}, {}, "better"),
    ],
)
def test_the_cheapest_that_is_better_by_more_than_luck(
    counts: dict[str, int], costs: dict[str, int], chosen: str
) -> None:
    given = {name: right(number) for name, number in counts.items()}
    assert choose.best(given, "default", dict.fromkeys(counts, 0) | costs) == chosen


def test_among_many_methods_luck_counts_for_more() -> None:
    few = {"default": right(100), "other": right(104)}
    many = few | {f"m{number}": right(90) for number in range(20)}
    assert choose.best(few, "default", dict.fromkeys(few, 0)) == "other"
    assert choose.best(many, "default", dict.fromkeys(many, 0)) == "default"


def compared(job: dict[str, Any], tmp_path: Path, *arguments: str) -> Path:
    path, chosen = tmp_path / "one.yaml", tmp_path / "chosen.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    output = str(tmp_path / "compared")
    given = ["compare", str(path), "--output", output, "--choose", str(chosen), *arguments]
    assert cli.main(given) == 0
    return chosen


def test_the_written_file_runs_with_the_better_method(
    ray_session: str, bitext: Bitext, tmp_path: Path
) -> None:
    """Gold that has what lies between the first and the last linked word: `align` stops at gaps."""
    job = bitext([GAP] * 40, gold=True) | {"evaluate": {"gold": "target.conll"}}
    job["compare"] = {"methods": {"align": None, "span": None}}
    chosen = compared(job, tmp_path)
    text = chosen.read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert "swh_Latn: span, F1 1.000; align has " in head[1]
    assert "p = 0.0005" in head[1]
    written = config.load(chosen)
    assert written.project.method == "span"
    assert not written.compare.methods
    result = pipeline.project(written)
    gold = f1.read_labelled(str(tmp_path / "corpus" / "target.conll"))
    assert f1.evaluate(gold, f1.read_labelled(str(result.run.folder))).overall.f1 == 1


def test_the_default_stays_where_nothing_is_clearly_better(
    ray_session: str, bitext: Bitext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = bitext([GAP, WIDE], gold=True) | {"evaluate": {"gold": "target.conll"}}
    del job["output"]
    chosen = compared(job, tmp_path, "--methods", "default,span,heuristic")
    assert str(chosen) in capsys.readouterr().err
    written = config.load(chosen)
    assert written.project == config.Project()
    assert "of 2 others none was better" in chosen.read_text(encoding="utf-8")
    # What is not said in the file is where the comparison left what is computed already.
    assert written.output == str(tmp_path / "compared" / "one")
    assert pipeline.project(written).computed == 0


def test_without_gold_nothing_is_chosen(
    ray_session: str, bitext: Bitext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(bitext()), encoding="utf-8")
    arguments = ["--output", str(tmp_path / "o"), "--choose", str(tmp_path / "c.yaml")]
    assert cli.main(["compare", str(path), "--methods", "span,align", *arguments]) == 2
    assert "--choose needs gold" in capsys.readouterr().err
    assert not (tmp_path / "c.yaml").exists()


def job_of_two(tmp_path: Path, compare: dict[str, Any]) -> JobFile:
    job = {
        "corpus": {
            "format": "conll",
            "source": "s.conll",
            "source_lang": "eng",
            "target_lang": ["swh", "hau"],
        },
        "translate": {"model": "m"},
        "align": {"engine": "eflomal"},
        "project": {"max_words": 7},
        "compare": {"methods": compare},
        "output": "kept",
    }
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return JobFile.read(path)


def choices(swh: str, hau: str) -> list[Choice]:
    return [
        Choice("two", language, method, 0.5, "align", 0.4, None, 1)
        for language, method in (("swh_Latn", swh), ("hau_Latn", hau))
    ]


def test_each_language_gets_its_method(tmp_path: Path) -> None:
    file = job_of_two(tmp_path, {"align": None, "span": None, "gap": {"project": {"max_words": 3}}})
    (path,) = choose.write(choices("gap", "span"), [file], "o", str(tmp_path / "new" / "c.yaml"))
    written = config.load(path)
    assert written.output == "kept"
    align, swh, hau = (written.project.of(code) for code in ("yor_Latn", "swh_Latn", "hau_Latn"))
    assert (align.score, align.surface, align.max_words) == ("align", None, 10)
    assert swh == config.Project(max_words=3)
    assert hau == config.Project(method="span")


def test_one_method_for_all_needs_no_languages(tmp_path: Path) -> None:
    file = job_of_two(tmp_path, {"align": None, "other": {"align": {"engine": "surface"}}})
    (path,) = choose.write(choices("other", "other"), [file], "o", str(tmp_path / "c.yaml"))
    written = config.load(path)
    assert written.align == (config.Surface(),)
    assert not written.project.languages
    with pytest.raises(JobError, match=r"differ in more than `project` \(other has align\)"):
        choose.write(choices("other", "align"), [file], "o", str(tmp_path / "c.yaml"))


def test_several_jobs_go_into_a_folder(ray_session: str, bitext: Bitext, tmp_path: Path) -> None:
    job = bitext([GAP] * 3, gold=True) | {"evaluate": {"gold": "target.conll"}}
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(yaml.safe_dump(job), encoding="utf-8")
    folder = tmp_path / "chosen"
    arguments = ["--methods", "span", "--output", str(tmp_path / "o"), "--choose", str(folder)]
    assert cli.main(["compare", *map(str, paths), *arguments]) == 0
    assert [config.load(folder / path.name).project.method for path in paths] == ["span", "span"]
