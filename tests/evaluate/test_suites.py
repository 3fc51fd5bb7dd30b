"""Benchmark suites: job files, data, published figures, and a run with toy models."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from projner import cli, config, languages
from projner.errors import JobError
from projner.evaluate import compare, suites
from projner.evaluate.compare import Comparison, Outcome
from projner.report import suite as report

if TYPE_CHECKING:
    from projner.demo.models import Models

HAUSA = "Hukumar\tB-ORG\nwasan\tI-ORG\n\nKano\tB-LOC\n.\tO\n\n"


def files(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(HAUSA, encoding="utf-8")
    return str(root)


@pytest.mark.parametrize(
    ("suite", "there", "lang", "code"),
    [
        ("masakhaner2", "masakhaner2/hau/test.txt", "hau", "hau_Latn"),
        ("xtreme", "wikiann/zh/test", "zh", "zho_Hans"),
        ("xtreme", "wikiann/sw/test.txt", "sw", "swh_Latn"),
        ("conll", "conll/de/test.txt", "de", "deu_Latn"),
    ],
)
def test_local_files_become_a_job(
    tmp_path: Path, suite: str, there: str, lang: str, code: str
) -> None:
    data = files(tmp_path / "data", there)
    (file,) = suites.job_files(suite, str(tmp_path / "out"), [code], data)
    assert file.path == str(tmp_path / "out" / "jobs" / f"{lang}.yaml")
    job = config.load(file.path)
    assert job == file.job
    assert job.corpus.target == (str(tmp_path / "data" / there),)
    assert job.corpus.target_lang == (code,)
    assert job.evaluate.gold == job.corpus.target[0]
    assert "*" not in Path(file.path).read_text(encoding="utf-8"), "no anchors"


@pytest.mark.parametrize("suite", suites.NAMES)
def test_every_method_of_a_suite_is_a_job(tmp_path: Path, suite: str) -> None:
    template = suites._template(suite)
    lang = template["languages"][0]
    data = files(tmp_path / "d", template["local"][0].format(lang=lang, split="test"))
    (file,) = suites.job_files(suite, str(tmp_path / "out"), [lang], data)
    for name, changes in compare.methods_of(file).items():
        job = compare.job_of(file, name, changes)
        assert job.translate
        assert job.label
        assert job.align
        if name.startswith("thesis"):
            assert "mdeberta" in job.label.model
    codes = [languages.find(name).code for name in template["languages"]]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("suite", suites.NAMES)
def test_published_figures_have_a_source_and_a_place(suite: str) -> None:
    template = suites._template(suite)
    figures = suites.published(suite)
    assert figures
    keys = [(figure.method, figure.language) for figure in figures]
    assert len(set(keys)) == len(keys)
    for figure in figures:
        assert figure.source in suites.sources()
        assert figure.language in (*template["languages"], suites.MEAN)
        assert 0 < figure.f1 < 1


def test_published_means_are_those_of_their_languages() -> None:
    by_method: dict[str, dict[str, float]] = {}
    for figure in suites.published("masakhaner2"):
        by_method.setdefault(figure.method, {})[figure.language] = figure.f1
    whole = {method: of for method, of in by_method.items() if len(of) == 19}
    assert {"thesis_all", "thesis_transfer", "CODEC"} <= whole.keys()
    for of in whole.values():
        mean = of.pop(suites.MEAN)
        # Both are of rounded figures.
        assert statistics.fmean(of.values()) == pytest.approx(mean, abs=0.0011)


@pytest.mark.parametrize(
    ("suite", "langs", "data", "message"),
    [
        ("masakaner", [], None, "unknown suite 'masakaner'; choose one of masakhaner2, xtreme"),
        ("masakhaner2", ["deu"], None, "masakhaner2 has no deu; choose among bam, ewe"),
        ("conll", ["de"], "d", r"d: has no conll/de/test.txt or .*; the hub does not have this"),
    ],
)
def test_what_there_is_not(
    tmp_path: Path, suite: str, langs: list[str], data: str | None, message: str
) -> None:
    with pytest.raises(JobError, match=message):
        suites.job_files(suite, str(tmp_path), langs, data)


def test_the_hub_has_what_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder laid out as the hub's Parquet branches are."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    names = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
    features = datasets.Features(
        tokens=datasets.Sequence(datasets.Value("string")),
        ner_tags=datasets.Sequence(datasets.ClassLabel(names=names)),
    )
    rows = {"tokens": [["Hukumar", "wasan"], ["Kano", "."]], "ner_tags": [[3, 4], [5, 0]]}
    for split in ("test", "validation"):
        place = tmp_path / "hub" / "hau" / f"masakhaner2-{split}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(place))
    template = suites._template("masakhaner2")
    template["hub"] = {"path": str(tmp_path / "hub"), "data_dir": "{lang}"}
    monkeypatch.setattr(suites, "_template", lambda suite: template)
    for split in ("test", "dev"):
        (file,) = suites.job_files("masakhaner2", str(tmp_path / "out"), ["hau"], split=split)
        text = Path(str(file.job.evaluate.gold)).read_text(encoding="utf-8")
        assert text == HAUSA


def test_tags_may_be_words(tmp_path: Path) -> None:
    table = pa.table({"tokens": [["a"]], "ner_tags": [["B-PER"]]})
    pq.write_table(table, tmp_path / "x.parquet")
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "x.parquet"), split="train")
    assert suites._tagged(rows) == [[("a", "B-PER")]]


def outcome(corpus: str, method: str, figure: float | None) -> Outcome:
    given: dict[str, Any] = dict.fromkeys(
        ("precision", "recall", "reason", "majority", "projected"), None
    )
    return Outcome(
        corpus=corpus,
        language=languages.find(corpus).code,
        method=method,
        f1=figure,
        agreement={},
        rows=1,
        labelled=1.0,
        entities_per_row=1.0,
        seconds=1.0,
        models=1,
        run="",
        signature="",
        **given,
    )


def test_figures_stand_beside_the_published_ones() -> None:
    """bam and hau by `thesis_all`: published .370 and .712."""
    found = [
        outcome("bam", "thesis_all", 0.4),
        outcome("hau", "thesis_all", 0.7),
        outcome("bam", "default", 0.5),
        outcome("hau", "default", 0.6),
        outcome("hau", "paper_heuristic", 0.3),
    ]
    summary, each = report.tables("masakhaner2", Comparison(found, [], [], True))
    rows = {row[0]: row[1:] for row in summary.rows}
    mean, deviation, worst, of_these, of_all = rows["thesis_all"]
    assert (mean, deviation) == pytest.approx((0.55, statistics.stdev([0.4, 0.7])))
    assert worst == "bam 0.400"
    assert of_these == pytest.approx((0.370 + 0.712) / 2)
    assert of_all == 0.687
    assert rows["default"][3:] == [None, None]
    assert rows["paper_heuristic"][3:] == [None, 0.673]
    assert rows["CODEC"][:3] == [None, None, None]
    cells = {row[0]: dict(zip(each.header[1:], row[1:], strict=True)) for row in each.rows}
    assert cells["bam"]["thesis_all"] == "0.400 (0.370)"
    assert cells["hau"]["paper_heuristic"] == "0.300"
    assert cells["bam"]["paper_heuristic"] == "-"
    assert cells["hau"]["CODEC"] == "- (0.724)"
    assert any("CODEC" in line and "thesis" in line for line in report.cited("masakhaner2"))


@pytest.mark.slow
def test_a_suite_runs_with_toy_models(
    ray_session: str,
    demo_models: Models,
    shared_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {
        "translate.model": demo_models.translator,
        "label.model": demo_models.tagger,
        "align.model": demo_models.encoder,
        "align.layer": 2,
        "label.ignore": "[]",
        "corpus.limit": 8,
    }
    methods = "default,paper_ngram_simalign,thesis_all"
    arguments = ["--suite", "masakhaner2", "--langs", "swa", "--data", str(shared_data)]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    output = tmp_path / "out"
    arguments += ["--methods", methods, "--output", str(output)]
    assert cli.main(["compare", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "masakhaner2: F1 over 1 language" in printed
    rows = [line for line in printed.splitlines() if line.split()[:1] == ["swa"]]
    assert any("(0.817)" in row for row in rows), "thesis_all"
    runs = [yaml.safe_load(path.read_text()) for path in output.glob("*/runs/*/job.yaml")]
    stages = [name for run in runs for name, _ in run["stages"]]
    kinds = Counter(stage.partition(".")[0] for stage in stages)
    # Once; but SimAlign's links are others than awesome-align's.
    assert (kinds["translate"], kinds["encoder"]) == (1, 2)
    # Scores of the translation model, for the one method that reads them.
    assert kinds["nmt"] == 1
