"""Everything that can be wrong with a corpus, and what the user is told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from projner import config
from projner.corpus import index as corpus_index
from projner.errors import JobError

Build = Callable[..., config.Corpus]

GOOD = "EU B-ORG\nsaid O\n\n"
TWO: dict[str, Any] = {"s": "a b\nc d\n", "t": "x y\nz w\n"}
BITEXT: dict[str, Any] = {"format": "bitext", "source": "s", "target": "t"}
LINKED: dict[str, Any] = BITEXT | {"links": "l"}
CONLL: dict[str, Any] = {"format": "conll", "source": "c"}
TEXT: dict[str, Any] = {"format": "text", "source": "s"}
JSONL: dict[str, Any] = {"format": "jsonl", "path": "j"}

BAD = [
    pytest.param(
        {},
        TEXT,
        "DIR/s: no such file; mend corpus.source (relative paths start from DIR)",
        id="missing",
    ),
    pytest.param(
        {},
        TEXT | {"source": "*.en"},
        "DIR/*.en: no such file; mend corpus.source (relative paths start from DIR)",
        id="glob",
    ),
    pytest.param(
        {"f/.hidden": "x"},
        TEXT | {"source": "f"},
        "DIR/f: holds no files; mend corpus.source (relative paths start from DIR)",
        id="folder",
    ),
    pytest.param(
        {"s": ""},
        TEXT,
        "DIR/s: is empty; leave it out, or mend what should have written it",
        id="empty",
    ),
    pytest.param(
        {"c": "\n\n"},
        CONLL,
        "DIR/c: holds no sentences; leave it out, or mend what wrote it",
        id="no-sentences",
    ),
    pytest.param(
        {"c": "# a\n# b\n"},
        CONLL,
        "DIR/c: holds no sentences; leave it out, or mend it",
        id="comments-only",
    ),
    pytest.param(
        TWO,
        BITEXT | {"skip": 2},
        "corpus.skip: 2 leaves no sentences of the corpus; lower it",
        id="skip",
    ),
    pytest.param(
        {"s": "a\nb\n", "t": "x\n"},
        BITEXT,
        (
            "DIR/s (plain text) has 2, DIR/t (plain text) has 1 sentences; sentence n of each "
            "must belong together, so mend the files"
        ),
        id="unequal",
    ),
    pytest.param(
        TWO | {"l": "0-0\n"},
        LINKED,
        (
            "DIR/s (plain text) has 2, DIR/t (plain text) has 2, DIR/l (links) has 1 sentences; "
            "sentence n of each must belong together, so mend the files"
        ),
        id="unequal-links",
    ),
    pytest.param(
        TWO | {"l": "5-5\n0-0\n0-0\n"},
        LINKED,
        (
            "DIR/s (plain text) has 2, DIR/t (plain text) has 2, DIR/l (links) has 3 sentences; "
            "sentence n of each must belong together, so mend the files"
        ),
        id="unequal-first",
    ),
    pytest.param(
        TWO | {"u": "x"},
        BITEXT | {"target": ["t", "u"]},
        "corpus: source names 1, target names 2 files; give as many of each, in the same order",
        id="files",
    ),
    pytest.param(
        {"a": "x\ny\n", "b": GOOD, "t": "x\nx\n", "u": "x\n"},
        BITEXT | {"source": ["a", "b"], "target": ["t", "u"]},
        (
            "DIR/b (CoNLL) gives source_tokens, source_entities, and DIR/a (plain text) "
            "source_text; give files of one kind, or make a job of each"
        ),
        id="kinds",
    ),
    pytest.param(
        {"s": b"PAR1" + bytes(20)},
        TEXT,
        "DIR/s: looks like Parquet, not text; set corpus.format to parquet",
        id="parquet-magic",
    ),
    pytest.param(
        {"s": b"\x1f\x8b\x08" + bytes(20)},
        TEXT,
        "DIR/s: looks like gzip, not text; give its name the ending .gz",
        id="gzip-magic",
    ),
    pytest.param(
        {"s": "hello".encode("utf-16")},
        TEXT,
        "DIR/s: looks like UTF-16, not text; save it as UTF-8",
        id="utf16",
    ),
    pytest.param(
        {"c": bytes(range(1, 30)) + bytes(50)},
        CONLL,
        "DIR/c: looks like binary data, not text; give a UTF-8 text file",
        id="binary",
    ),
    pytest.param(
        {"s": GOOD},
        TEXT,
        "DIR/s: looks like CoNLL, not plain text; set corpus.format to conll",
        id="conll-as-text",
    ),
    pytest.param(
        {"s": '{"a": 1}\n'},
        TEXT,
        "DIR/s: looks like JSON lines, not plain text; set corpus.format to jsonl",
        id="json-as-text",
    ),
    pytest.param(
        {"c": '{"a": 1}\n'},
        CONLL,
        "DIR/c:1: looks like JSON lines, not CoNLL; set corpus.format to jsonl",
        id="json-as-conll",
    ),
    pytest.param(
        {"c": "one two\nthree\nfour five six\nseven eight nine ten\n"},
        CONLL,
        "DIR/c: is not CoNLL: the number of columns changes from line to line; is this plain text?",
        id="text-as-conll",
    ),
    pytest.param(
        {"c": "one\ntwo\n\n"},
        CONLL,
        "DIR/c:1: has one column where CoNLL has a word and its tag; is this plain text?",
        id="one-column",
    ),
    pytest.param(
        {"j": "hello\n"},
        JSONL,
        (
            "DIR/j: does not begin with a JSON object; give a file with one in each line, or "
            "mend corpus.format"
        ),
        id="text-as-jsonl",
    ),
    pytest.param(
        {"j": "[1, 2]\n"},
        JSONL,
        (
            "DIR/j: does not begin with a JSON object; give a file with one in each line, or "
            "mend corpus.format"
        ),
        id="json-array",
    ),
    pytest.param(
        {"p": "hello\n"},
        {"format": "parquet", "path": "p"},
        "DIR/p: cannot be read as Parquet (*); give a whole Parquet file, or mend corpus.format",
        id="text-as-parquet",
    ),
    pytest.param(
        {"s.gz": "hello\n"},
        TEXT | {"source": "s.gz"},
        "DIR/s.gz: cannot be unpacked as gzip (*); is the file whole?",
        id="not-gz",
    ),
    pytest.param(
        {"c": GOOD},
        CONLL | {"token_column": 2},
        "DIR/c:1: has 2 columns, so none is number 2 (from 0); set corpus.token_column",
        id="token-column",
    ),
    pytest.param(
        {"c": GOOD},
        CONLL | {"tag_column": -3},
        "DIR/c:1: has 2 columns, so none is number -3 (from 0); set corpus.tag_column",
        id="tag-column",
    ),
    pytest.param(
        {"c": GOOD + "a O\nb x O\n\n"},
        CONLL,
        "DIR/c:5: has 3 columns where the file has 2; mend the line",
        id="columns",
    ),
    pytest.param(
        {"c": GOOD + "a O\nb X-PER\n\n"},
        CONLL,
        (
            "DIR/c:5: 'X-PER' is not a tag of IOBES (O, B-CLASS, E-CLASS, I-CLASS, S-CLASS); "
            "mend it, or set corpus.scheme or corpus.tag_column"
        ),
        id="bad-tag",
    ),
    pytest.param(
        {"c": GOOD + "a S-PER\n"},
        CONLL | {"scheme": "IOB2"},
        (
            "DIR/c:4: 'S-PER' is not a tag of IOB2 (O, B-CLASS, I-CLASS); mend it, or set "
            "corpus.scheme or corpus.tag_column"
        ),
        id="scheme",
    ),
    pytest.param(
        {"c": GOOD + "a O\n#\n"},
        CONLL,
        "DIR/c:5: has one column where the file has 2; mend the line",
        id="comment-inside",
    ),
    pytest.param(
        {"c": "EU\tB-ORG\n\tO\n"},
        CONLL,
        "DIR/c:2: the word '' is empty or holds white space; mend the line",
        id="empty-word",
    ),
    pytest.param(
        {"c": "EU\tB-ORG\nNew York\tO\n"},
        CONLL,
        "DIR/c:2: the word 'New York' is empty or holds white space; mend the line",
        id="space",
    ),
    pytest.param(
        {"c": "sw:a O\n" * 20_000 + "b O\n"},
        CONLL,
        (
            "DIR/c:20001: 'b' lacks the prefix 'sw:' of the words before it; give it to every "
            "word, or to none"
        ),
        id="prefix",
    ),
    pytest.param(
        {"s": b"a\nb \xe9\n"},
        TEXT,
        "DIR/s:2: byte 3 (0xe9) is not UTF-8; convert the file to UTF-8",
        id="utf8",
    ),
    pytest.param(
        {"c": b"EU B-ORG\nsaid O\n\n\nb\xff O\n"},
        CONLL,
        "DIR/c:5: byte 2 (0xff) is not UTF-8; convert the file to UTF-8",
        id="utf8-conll",
    ),
    pytest.param(
        {"s": "a sentence\nof words\x00\n"},
        TEXT,
        "DIR/s:2: byte 9 is NUL, which is not text; take it out",
        id="nul",
    ),
    pytest.param(
        TWO | {"l": "0-0\n1-1 2-0\n"},
        LINKED,
        (
            "DIR/l:2: link 2-0 is outside the sentences (source and target have 2 and 2 words, "
            "counted from 0); mend it, or set corpus.links_base or corpus.links_direction"
        ),
        id="link",
    ),
    pytest.param(
        TWO | {"l": "1-1\n0-1\n"},
        LINKED | {"links_base": 1},
        (
            "DIR/l:2: link 0-1 is outside the sentences (source and target have 2 and 2 words, "
            "counted from 1); mend it, or set corpus.links_base or corpus.links_direction"
        ),
        id="link-base",
    ),
    pytest.param(
        TWO | {"l": "0-0\n0-2\n"},
        LINKED | {"links_direction": "target-source"},
        (
            "DIR/l:2: link 0-2 is outside the sentences (source and target have 2 and 2 words, "
            "counted from 0); mend it, or set corpus.links_base or corpus.links_direction"
        ),
        id="link-direction",
    ),
    pytest.param(
        TWO | {"l": "0-0\n0-0 1:1\n"},
        LINKED,
        "DIR/l:2: '1:1' is not a link; write pairs of word numbers, like 3-5",
        id="link-malformed",
    ),
    pytest.param(
        TWO | {"l": "1\t0-0\n0-0\n"},
        LINKED | {"links_column": 1},
        (
            "DIR/l:2: has no column 1 between its tabs (counted from 0); mend the line, or set "
            "corpus.links_column"
        ),
        id="link-column",
    ),
    pytest.param(
        TWO | {"l": '{"pairs": []}\n{}\n'},
        LINKED | {"links_field": "pair"},
        "DIR/l: has no field `pair` (of corpus.links_field); did you mean `pairs`?",
        id="link-field",
    ),
    pytest.param(
        TWO | {"l": '{"alignment": [[0, 0]]}\n{"alignment": [[0, 0, 1]]}\n'},
        LINKED,
        "DIR/l:2: field `alignment` has a link that is no pair; write [source, target]",
        id="link-json",
    ),
    pytest.param(
        {"j": '{"source_text": "a"}\n{"source_text": \n'},
        JSONL,
        "DIR/j:2: is not JSON (*); mend the line",
        id="json-line",
    ),
    pytest.param(
        {"j": '{"source_text": "a"}\n[]\n'},
        JSONL,
        "DIR/j:2: is no JSON object; write {...} in each line",
        id="json-list",
    ),
    pytest.param(
        {"j": '{"source_text": "a"}\n{"source_text": 5}\n'},
        JSONL,
        (
            "DIR/j:2: field `source_text` is int64, not text; mend it, or name another under "
            "corpus.columns"
        ),
        id="json-type",
    ),
    pytest.param(
        {"j": '{"source_tokens": ["a"]}\n{"source_tokens": ["a b"]}\n'},
        JSONL,
        (
            "DIR/j:2: field `source_tokens` has the word 'a b', which is empty or holds white "
            "space; mend it"
        ),
        id="json-tokens",
    ),
    pytest.param(
        {"j": '{"source_tokens": ["a"]}\n{"source_tokens": "ab"}\n'},
        JSONL,
        "DIR/j:2: field `source_tokens` is string, not a list of text; mend it",
        id="json-tokens-type",
    ),
    pytest.param(
        {"j": '{"source_tokens": ["a", null]}\n'},
        JSONL,
        "DIR/j:1: field `source_tokens` lacks a word; mend the list",
        id="json-null-token",
    ),
    pytest.param(
        {"j": '{"source_text": "a\\u0000"}\n'},
        JSONL,
        "DIR/j:1: field `source_text` holds NUL, which is not text; take it out",
        id="json-nul",
    ),
    pytest.param(
        {"j": '{"source_text": "a\\ud800"}\n'},
        JSONL,
        "DIR/j:1: field `source_text` cannot be read (*); mend it",
        id="json-surrogate",
    ),
    pytest.param(
        {"j": '{"a": "a", "b": 1}\n'},
        JSONL,
        (
            "DIR/j: none of its fields (a, b) is source_text, target_text, source_tokens or "
            "target_tokens; name them under corpus.columns"
        ),
        id="json-fields",
    ),
    pytest.param(
        {"j": '{"text": "a"}\n'},
        JSONL | {"columns": {"source_text": "txt"}},
        "DIR/j: has no field `txt` (of corpus.columns.source_text); did you mean `text`?",
        id="json-columns",
    ),
    pytest.param(
        {"j": '{"text": "a"}\n'},
        JSONL | {"columns": {"text": "text"}},
        "corpus.columns: there is no `text`; did you mean `target_text`?",
        id="json-unknown-column",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "source_tokens": ["a", "c"]}\n'},
        JSONL,
        (
            "DIR/j:1: source_tokens: token 1, 'c', is not in the text from character 1; give "
            "words that stand in the text, in order"
        ),
        id="json-not-in-text",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "source_tags": ["O"]}\n'},
        JSONL,
        "DIR/j:1: has 2 words and 1 tags; give each word one tag",
        id="json-tags",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "source_tags": ["O", "PER"]}\n'},
        JSONL,
        (
            "DIR/j:1: 'PER' is not a tag of IOBES (O, B-CLASS, E-CLASS, I-CLASS, S-CLASS); mend "
            "it, or set corpus.scheme"
        ),
        id="json-bad-tag",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "source_tags": [0, 1]}\n'},
        JSONL,
        (
            "DIR/j:1: field `source_tags` has numbers whose names are not known; write the tags "
            "as text"
        ),
        id="json-number-tags",
    ),
    pytest.param(
        {
            "j": (
                '{"source_text": "a b", "source_entities": [{"start": 1, "end": 3, "label": '
                '"PER"}]}\n'
            )
        },
        JSONL,
        "DIR/j:1: entity 1..3 (end exclusive) is empty or outside the sentence of 2 words; mend it",
        id="json-entity",
    ),
    pytest.param(
        {
            "j": (
                '{"source_text": "a b", "source_entities": [{"start": 0.5, "end": 1, "label": '
                '"PER"}]}\n'
            )
        },
        JSONL,
        "DIR/j:1: field `source_entities` cannot be read (*); mend it",
        id="json-entity-float",
    ),
    pytest.param(
        {
            "j": (
                '{"source_text": "a b", "source_entities": [{"start": 1, "stop": 3, "label": '
                '"PER"}]}\n'
            )
        },
        JSONL,
        "DIR/j:1: field `source_entities` is not a list of {start, end, label}; mend it",
        id="json-entity-keys",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "target_text": "c", "links": [[0, 1]]}\n'},
        JSONL,
        (
            "DIR/j:1: link 0-1 is outside the sentences (source and target have 2 and 1 words, "
            "counted from 0); mend it, or set corpus.links_base or corpus.links_direction"
        ),
        id="json-links",
    ),
    pytest.param(
        {"j": '{"source_text": "a b", "links": [[0, 1]]}\n'},
        JSONL,
        "DIR/j: has links without both sides; name these under corpus.columns",
        id="json-links-one-side",
    ),
    pytest.param(
        {"j": '{"target_text": "a b", "source_tags": ["O", "O"]}\n'},
        JSONL,
        (
            "DIR/j: has source_tags without the words; name them under corpus.columns as "
            "source_tokens or source_text"
        ),
        id="json-tags-side",
    ),
    pytest.param(
        {
            "j": (
                '{"id": 7, "source_text": "a"}\n\n{"id": 8, "source_text": "a"}\n{"id": 7, '
                '"source_text": "b"}\n'
            )
        },
        JSONL,
        (
            "DIR/j:4: has the id 7 of DIR/j:1; make ids unique, or choose another field for `id` "
            "under corpus.columns"
        ),
        id="same-id",
    ),
    pytest.param(
        {"j": '{"id": 7, "source_text": "a"}\n{"source_text": "b"}\n'},
        JSONL,
        "DIR/j:2: has no id; give it a whole number of its own",
        id="no-id",
    ),
    pytest.param(
        {"j": '{"id": "x", "source_text": "a"}\n'},
        JSONL | {"columns": {"id": "id"}},
        "DIR/j:1: field `id` is string, not whole numbers; mend it",
        id="text-id",
    ),
    pytest.param(
        {"j": '{"source_text": "a"}\n', "k": '{"source_tokens": ["a"]}\n'},
        JSONL | {"path": ["j", "k"]},
        (
            "DIR/k (JSON lines) gives source_tokens, and DIR/j (JSON lines) source_text; give "
            "files of one kind, or make a job of each"
        ),
        id="other-fields",
    ),
]


@pytest.mark.parametrize(("contents", "settings", "message"), BAD)
def test_what_is_wrong_is_told_in_one_line(
    corpus: Build, tmp_path: Path, contents: Any, settings: Any, message: str
) -> None:
    with pytest.raises(JobError) as raised:
        corpus_index.index(corpus(contents, **settings))
    told = str(raised.value).replace(str(tmp_path), "DIR")
    # A star stands for what other libraries say.
    assert re.fullmatch(re.escape(message).replace(r"\*", ".*"), told)


ROWS = {
    "bad tag": ({"c": GOOD + "a O\nb X-PER\n\nc B-PER\n"}, CONLL, [1]),
    "columns": ({"c": GOOD + "a O\nb\n\nc B-PER\n"}, CONLL, [1]),
    "byte in CoNLL": ({"c": b"EU B-ORG\n\na\xff O\n\nb O\n"}, CONLL, [1]),
    "byte": ({"s": b"a\nb \xe9\nc\n"}, TEXT, [1]),
    "nul": ({"s": b"a good sentence\nb\0\nanother one\n"}, TEXT, [1]),
    "link": (TWO | {"l": "0-2\n1-1\n"}, LINKED, [0]),
    "malformed link": (TWO | {"l": "0-0\n0:0\n"}, LINKED, [1]),
    "both": (TWO | {"s": b"\xff\nc d\n", "l": "0-2\n1-1 7-7\n"}, LINKED, [0, 1]),
    "JSON": ({"j": '{"source_text": "a"}\nx\n{"source_text": 3}\n'}, JSONL, [1, 2]),
    "JSON tags": (
        {
            "j": '{"source_text": "a", "source_tags": ["O"]}\n' * 2
            + '{"source_text": "a", "source_tags": ["PER"]}\n'
        },
        JSONL,
        [2],
    ),
    "JSON id": ({"j": '{"id": 1, "source_text": "a"}\n{"id": 2,\n'}, JSONL, [1]),
}


@pytest.mark.parametrize(("contents", "settings", "bad"), ROWS.values(), ids=ROWS.keys())
def test_bad_rows_become_invalid_on_request_and_stop_the_job_otherwise(
    corpus: Build, read_all: Callable[..., pa.Table], contents: Any, settings: Any, bad: list[int]
) -> None:
    with pytest.raises(JobError) as raised:
        corpus_index.index(corpus(contents, **settings))
    lenient = corpus(contents, **settings, on_error="status")
    assert corpus_index.index(lenient).rejected == len(bad)
    table = read_all(lenient, chunk_rows=1)
    statuses = table["status"].to_pylist()
    assert [row for row, status in enumerate(statuses) if status == "invalid"] == bad
    details = table["status_detail"].to_pylist()
    assert details[bad[0]] == str(raised.value)
    assert [row for row, detail in enumerate(details) if detail] == bad
    for name in {"links", "source_entities"} & set(table.column_names):
        assert all(table[name][row].as_py() is None for row in bad)
    assert len(set(table["id"].to_pylist())) == table.num_rows


@pytest.mark.parametrize(
    "settings", [BITEXT, BITEXT | {"target": "missing"}, TEXT | {"source": "p"}]
)
def test_other_files_stop_the_job_even_if_bad_rows_do_not(corpus: Build, settings: Any) -> None:
    contents = {"s": "a\nb\n", "t": "x\n", "p": b"PAR1" + bytes(9)}
    with pytest.raises(JobError):
        corpus_index.index(corpus(contents, **settings, on_error="status"))


def test_rows_that_are_skipped_or_beyond_the_limit_may_be_bad(
    corpus: Build, read_all: Callable[..., pa.Table]
) -> None:
    contents = {"c": "a X\n\nb O\n\nc O\n\nd X\n\n"}
    table = read_all(corpus(contents, **CONLL, skip=1, limit=2))
    assert table["source_text"].to_pylist() == ["b", "c"]


def test_a_file_that_has_changed_meanwhile_is_noticed(corpus: Build, tmp_path: Path) -> None:
    chosen = corpus(TWO, **BITEXT)
    index = corpus_index.index(chosen)
    (tmp_path / "s").write_text("a b\n")
    with pytest.raises(JobError, match=r"s: has changed since it was read first; start again"):
        corpus_index.read(chosen, index.chunks[0], index.ids)
