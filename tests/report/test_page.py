"""The page of a run, as a browser shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record
from projner.cli import main
from projner.report import page, sample
from projner.runs.run import Run, Wanted
from projner.tags import Span, to_tags

HOSTILE = [
    "<script>document.title='taken'</script>",
    "</script><img src=x onerror=document.title='taken'>",
    "<!--",
    "<script>",
    "{{script}}",
    "\u2028\u2029&amp;\\u003c",
    "'\"`${1}",
]
"""Words of a corpus that wants to run or to break the page."""

NARROW = ("gold", "narrow")
"""Views in frames of 400 pixels."""

Row = dict[str, Any]


def span(start: int, end: int, label: str, **more: Any) -> Row:
    return {"start": start, "end": end, "label": label, "score": 1.0, **more}


def row(
    source: str, target: str, given: Sequence[Row], projected: Sequence[Row], **more: Any
) -> Row:
    words = target.split(" ")
    spans = [Span(each["start"], each["end"], each["label"]) for each in projected]
    return {
        "revision": 0,
        "origin": {"file": "corpus.txt", "index": 0},
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
        "source_text": source,
        "target_text": target,
        "source_tokens": source.split(" "),
        "target_tokens": words,
        "source_entities": given,
        "target_entities": projected,
        "tokens": words,
        "ner_tags": to_tags(spans, len(words)),
        "status": "ok",
        **more,
    }


def made(folder: Path, rows: Sequence[Row], per_shard: int = 1000) -> Run:
    """A run with these rows, whose ids are their numbers, where they have none."""
    run = Run(folder / "runs" / "made")
    run.begin({"schema": 1})
    numbered = [{"id": number, **each} for number, each in enumerate(rows)]
    names = [name for name in record.COLUMNS if any(name in each for each in numbered)]
    for start in range(0, len(numbered), per_shard):
        part = numbered[start : start + per_shard]
        run.write_shard(pa.Table.from_pylist(part, schema=record.schema([*names, "status_detail"])))
    ids = np.array([each["id"] for each in numbered], np.int64)
    origins = pa.table(
        {"file": ["f"] * len(ids), "position": pa.array(range(len(ids)), pa.int64())}
    )
    run.publish(Wanted(ids, np.zeros(len(ids), np.int64)), origins, signature="made|by:hand")
    return run


def certain(value: float, **more: Any) -> Row:
    return {"confidence": value, "margin": 0.5, **more}


ROWS = [
    row(
        "Ada met Wangari Maathai in Rome .",
        "Ada alikutana na Wangari Maathai Roma .",
        [span(0, 1, "PER"), span(2, 4, "PER"), span(5, 6, "LOC")],
        [
            span(0, 1, "PER", source_index=0, **certain(0.9)),
            span(3, 5, "PER", source_index=1, **certain(0.5)),
            span(5, 6, "LOC", source_index=2, **certain(0.8)),
        ],
        links=[
            {"source": s, "target": t, "score": 1.0} for s, t in [(0, 0), (1, 1), (2, 3), (3, 4)]
        ],
    ),
    row(
        "The UN meets in Cairo today .",
        "تجتمع الأمم المتحدة في القاهرة اليوم .",
        [span(1, 2, "ORG"), span(4, 5, "LOC")],
        [
            span(1, 3, "ORG", source_index=0, **certain(0.7)),
            span(4, 5, "LOC", source_index=1, **certain(0.95)),
        ],
        target_lang="arb_Arab",
        links=[
            {"source": s, "target": t, "score": 1.0} for s, t in [(1, 1), (1, 2), (2, 0), (4, 4)]
        ],
    ),
    row(
        " ".join(HOSTILE),
        " ".join(HOSTILE[::-1]),
        [span(0, 1, "PER"), span(2, 4, "<b>LAW</b>")],
        [span(6, 7, "PER", source_index=0, **certain(0.2))],
        origin={"file": "</script><script>document.title='taken'</script>", "index": 3},
    ),
    row("It rained .", "Mvua ilinyesha .", [], []),
    row(
        "Long .",
        "Ndefu .",
        [],
        [],
        target_entities=None,
        status="too_long",
        status_detail="<b>600 words</b>",
    ),
]
GOLD = "Ada\tB-PER\nalikutana\tO\nna\tO\nWangari\tB-PER\nMaathai\tI-PER\nRoma\tB-ORG\n.\tO\n"
WATCH = """
const wait = () => new Promise((done) => setTimeout(done, 30));
const plain = (node) => node.textContent.replaceAll("\\u2060", "");
const look = (frame) => {
  const doc = frame.contentDocument;
  const all = (query, node = doc) => [...node.querySelectorAll(query)];
  return {
    title: doc.title,
    scripts: all("script").length,
    foreign: all("img, iframe, object, embed, link, b b").length,
    about: doc.getElementById("about").textContent,
    facts: all("#facts li").map((node) => node.textContent),
    count: doc.getElementById("count").textContent,
    sample: doc.getElementById("sample").textContent,
    throughput: doc.getElementById("throughput").textContent,
    overflow: doc.documentElement.scrollWidth - doc.documentElement.clientWidth,
    pairs: all(".pair").map((pair) => ({
      id: pair.dataset.id,
      head: pair.querySelector(".head").textContent,
      sides: all("p[dir]", pair).map((side) => [side.dir, side.lang, plain(side)]),
      entities: all(".entity", pair).map((node) => [node.className.trim(), plain(node)]),
      colours: [...new Set(all(".entity", pair).map((node) => getComputedStyle(node).borderBottomColor))],
      lines: all("path.entity-line", pair).length,
      reason: pair.querySelector(".reason")?.textContent,
    })),
  };
};
addEventListener("load", async () => {
  const found = {};
  await wait();
  for (const frame of document.querySelectorAll("iframe")) found[frame.name] = look(frame);
  const doc = frames.first.document;
  const press = (key) =>
    doc.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const on = () => [...doc.querySelectorAll(".word.on")].map((node) => node.textContent);
  const met = doc.querySelector('[data-id="0"] .given .word');
  met.focus();
  const walk = [on()];
  press("ArrowRight"); walk.push(on());
  press("ArrowRight"); walk.push(on());
  const lines = doc.querySelectorAll('[data-id="0"] path.on').length;
  doc.activeElement.blur();
  walk.push(on());
  press("j"); press("j");
  const second = doc.activeElement.dataset.id;
  press("/");
  doc.activeElement.value = "RAINED";
  doc.activeElement.dispatchEvent(new Event("input", { bubbles: true }));
  await wait(); await wait();
  const after = look(document.querySelector("[name=first]"));
  found.acts = { walk, lines, second, after, hash: frames.first.location.hash };
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""
"""Notes what pages in frames show, then uses the first of them by keyboard."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Chromium, started once, shows of several pages and views of them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium (Debian's package chromium)")
    folder = tmp_path_factory.mktemp("pages")
    checked = {**ROWS[3], "status_detail": "corrected: checked.jsonl"}
    made(folder / "first", [*ROWS[:3], checked, ROWS[4]])
    made(folder / "gold", ROWS[:1])
    many = [
        row(f"Ada {n} .", f"Ada {n} .", [], [span(0, 1, "PER", **certain(n / 100))])
        for n in range(100)
    ]
    failed = row(
        "Lost .",
        "Kupotea .",
        [],
        [],
        target_entities=None,
        status="error",
        status_detail="it broke",
    )
    made(folder / "many", [*many, failed], per_shard=30)
    (folder / "gold.conll").write_text(GOLD, encoding="utf-8")
    gold = ["--gold", str(folder / "gold.conll")]
    for name, more in {"first": [], "gold": gold, "many": ["--sample", "60"]}.items():
        page_of = str(folder / f"{name}.html")
        assert main(["report", str(folder / name), "--output", page_of, *more]) == 0
    views = {
        "first": "first.html",
        "class": "first.html#class=ORG",
        "status": "first.html#status=too_long",
        "range": "first.html#min=0.4&max=0.6",
        "words": "first.html#text=%3Cscript%3E&lang=swh_Latn",
        "one": "first.html#id=1",
        "best": "first.html#order=best",
        "gold": "gold.html",
        "narrow": "first.html",
        "many": "many.html",
        "page": "many.html#page=2",
    }
    frames = "".join(
        f'<iframe name="{name}" src="{html.escape(view)}" height="900" '
        f'width="{400 if name in NARROW else 1400}"></iframe>'
        for name, view in views.items()
    )
    watching = f"<!doctype html><pre id=found></pre>{frames}<script>{WATCH}</script>"
    (folder / "watch.html").write_text(watching, encoding="utf-8")
    with served(folder) as address:
        done = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={folder / 'profile'}",
                "--virtual-time-budget=5000",
                "--dump-dom",
                f"{address}/watch.html",
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
    (noted,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert noted, done.stderr
    found: dict[str, Any] = json.loads(html.unescape(noted))
    return found


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the folder's files; frames see into each other only within one."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ids(view: dict[str, Any]) -> list[str]:
    return [pair["id"] for pair in view["pairs"]]


def pair_of(view: dict[str, Any], id_: str) -> dict[str, Any]:
    (found,) = (pair for pair in view["pairs"] if pair["id"] == id_)
    return found  # type: ignore[no-any-return]


def test_the_worst_come_first_and_what_failed_before_what_has_no_entity(seen) -> None:
    assert ids(seen["first"]) == ["2", "0", "1", "4", "3"]
    assert ids(seen["best"]) == ["3", "4", "1", "0", "2"]
    assert seen["first"]["count"] == "1\u20135 of 5 sentences"
    assert "1checked by people" in seen["first"]["facts"]
    assert seen["first"]["facts"][:3] == ["5sentences", "80.0 %are ok", "6entities"]


def test_entities_have_their_class_in_words_and_a_line_to_their_source(seen) -> None:
    pair = pair_of(seen["first"], "0")
    assert [text for _, text in pair["entities"]] == [
        "AdaPER",
        "Wangari MaathaiPER",
        "RomeLOC",
        "AdaPER0.90",
        "Wangari MaathaiPER0.50",
        "RomaLOC0.80",
    ]
    assert pair["lines"] == 3
    assert len(pair["colours"]) == 2
    assert pair_of(seen["first"], "4")["reason"] == "<b>600 words</b>"


def test_scripts_are_written_as_their_languages_are(seen) -> None:
    sides = pair_of(seen["first"], "1")["sides"]
    assert [side[:2] for side in sides] == [["ltr", "en-Latn"], ["rtl", "ar-Arab"]]
    # The text's own words and spaces, whatever stands between them.
    assert sides[1][2].replace("ORG0.70", "").replace("LOC0.95", "") == ROWS[1]["target_text"]


def test_nothing_of_the_corpus_runs_or_becomes_markup(seen) -> None:
    for name, view in seen.items():
        if name != "acts":
            assert view["title"].startswith("projner: made"), name
            assert (view["scripts"], view["foreign"]) == (2, 0), name
    pair = pair_of(seen["first"], "2")
    assert pair["sides"][1][2].replace("PER0.20", "") == " ".join(HOSTILE[::-1])
    assert "<b>LAW</b>" in pair["entities"][1][1]
    assert "</script><script>document.title='taken'</script>:3" in pair["head"]


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("class", ["1"]),
        ("status", ["4"]),
        ("range", ["0"]),
        ("words", ["2"]),
        ("one", ["1"]),
    ],
)
def test_an_address_is_a_view(seen, view: str, expected: list[str]) -> None:
    assert ids(seen[view]) == expected
    assert seen[view]["count"] == "1\u20131 of 1 sentences (5 on this page)"


def test_gold_stands_beside_what_is_wrong(seen) -> None:
    (pair,) = seen["gold"]["pairs"]
    assert "2 unlike the gold" in pair["head"]
    looks = {text: look for look, text in pair["entities"]}
    assert "extra" in looks["RomaLOC0.80"]
    assert "missed" in looks["RomaORG"]
    assert [side[2] for side in pair["sides"]][2].startswith("goldAda")
    assert "0.667F1 against gold" in seen["gold"]["facts"]


def test_a_narrow_page_needs_no_scrolling_aside(seen) -> None:
    assert [seen[name]["overflow"] for name in NARROW] == [0, 0]


def test_a_large_run_is_sampled_and_the_page_says_so(seen) -> None:
    view = seen["many"]
    assert "60 of 101 sentences: the 30 least confident" in view["sample"]
    assert view["facts"][0] == "101sentences"
    assert ids(view) == [str(n) for n in range(20)], "a page is of twenty"
    assert len(ids(seen["page"])) == 20
    assert ids(seen["page"])[:10] == [str(n) for n in range(20, 30)]
    assert "101 rows in 4 shards" in view["throughput"]


def test_words_show_their_links_and_keys_go_everywhere(seen) -> None:
    acts = seen["acts"]
    assert acts["walk"] == [["Ada", "Ada"], ["met", "alikutana"], ["Wangari", "Wangari"], []]
    assert acts["lines"] == 2, "the word's own and its entity's"
    assert acts["second"] == "0"
    assert acts["hash"] == "#text=RAINED"
    assert ids(acts["after"]) == ["3"]


def test_the_lowest_and_some_of_every_status_are_always_there() -> None:
    count = 10_000
    status = np.full(count, "ok", object)
    status[[17, 4000]] = "error", "infeasible"
    doubt = np.linspace(1, 0, count, dtype=np.float32)
    doubt[[17, 4000]] = np.inf
    rows = sample.Rows(np.arange(count), doubt, status)
    chosen, told = sample.choose(rows, None, 100)
    assert {*range(count - 50, count), 17, 4000} <= set(chosen.tolist())
    assert len(chosen) == 100
    assert told.startswith("100 of 10,000 sentences: the 50 least confident, ")
    assert chosen.tolist() == sample.choose(rows, None, 100)[0].tolist()
    wrong = np.zeros(count, bool)
    wrong[5:50] = True
    assert set(range(5, 50)) <= set(sample.choose(rows, wrong, 100)[0].tolist())
    assert sample.choose(rows, None, count)[1] == "all 10,000 sentences"


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_no_text_can_end_the_element_that_it_is_in(content: Any) -> None:
    text = page.embedded(content)
    assert json.loads(text) == content
    assert not set(text) & {"<", ">", "&", "\u2028", "\u2029"}


def test_a_run_without_a_snapshot_is_one_line(tmp_path: Path, capsys: Any) -> None:
    Run(tmp_path / "runs" / "begun").begin({"schema": 1})
    assert main(["report", str(tmp_path / "runs" / "begun"), "--output", "x.html"]) == 2
    assert "has no snapshot yet" in capsys.readouterr().err
