"""CoNLL in its many forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import config, tags
from projner.corpus import conll, files
from projner.corpus import index as corpus_index
from projner.tags import Scheme, Span

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]


def spans(table: pa.Table) -> list[list[Span]]:
    return [
        [Span(entity["start"], entity["end"], entity["label"]) for entity in row]
        for row in table["source_entities"].to_pylist()
    ]


FORMS = {
    "space": "EU B-ORG\nsaid O\n\nno O\n",
    "tab": "EU\tB-ORG\nsaid\tO\n\nno\tO\n",
    "several spaces": "EU    B-ORG\nsaid   O \n\nno   O\n",
    "CRLF": "EU B-ORG\r\nsaid O\r\n\r\nno O\r\n",
    "byte order mark": "\ufeffEU B-ORG\nsaid O\n\nno O\n",
    "no last line feed": "EU B-ORG\nsaid O\n\nno O",
    "many blank lines": "\n\nEU B-ORG\nsaid O\n\n\n  \n\nno O\n\n\n",
    "blank lines with white space": "EU B-ORG\nsaid O\n \t\r\nno O\n",
    "four columns": "EU NNP X B-ORG\nsaid VBD X O\n\nno UH X O\n",
    "document marks": "-DOCSTART- -X- O O\n\nEU NNP X B-ORG\nsaid VBD X O\n\n"
    "-DOCSTART- -X- O O\n\nno UH X O\n",
    "document mark alone": "-DOCSTART-\nEU B-ORG\nsaid O\n-DOCSTART-\nno O\n",
    "comments": "# id = 1\n# text = EU said\nEU B-ORG\nsaid O\n\n#2\nno O\n\n# the end\n",
    "comment with as many columns": "# id\nEU B-ORG\nsaid O\n\n# x\nno O\n",
    "prefix": "en:EU B-ORG\nen:said O\n\nen:no O\n",
    "long prefix": "zh-min-nan:EU B-ORG\nzh-min-nan:said O\n\nzh-min-nan:no O\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_all_forms_say_the_same(corpus: Build, read_all: ReadAll, text: str) -> None:
    table = read_all(corpus({"c": text}, format="conll", source="c"))
    assert table["source_tokens"].to_pylist() == [["EU", "said"], ["no"]]
    assert table["source_text"].to_pylist() == ["EU said", "no"]
    assert spans(table) == [[Span(0, 1, "ORG")], []]
    assert (
        table["id"].to_pylist()
        == read_all(corpus({"d": FORMS["space"]}, format="conll", source="d"))["id"].to_pylist()
    )


def test_a_hash_with_a_tag_is_a_word(corpus: Build, read_all: ReadAll) -> None:
    text = "# O\nEndSars B-ORG\n\na O\n# O\n#1 O\n"
    table = read_all(corpus({"c": text}, format="conll", source="c"))
    assert table["source_tokens"].to_pylist() == [["#", "EndSars"], ["a", "#", "#1"]]


def test_a_prefix_that_some_words_lack_is_part_of_the_word(
    corpus: Build, read_all: ReadAll
) -> None:
    table = read_all(corpus({"c": "sw:a O\nb O\nsw:c O\n"}, format="conll", source="c"))
    assert table["source_tokens"].to_pylist() == [["sw:a", "b", "sw:c"]]


def test_only_one_prefix_is_taken_off(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(corpus({"c": "sw:sw:a O\nsw::\tO\n"}, format="conll", source="c"))
    assert table["source_tokens"].to_pylist() == [["sw:a", ":"]]


def test_columns_are_counted_from_either_end(corpus: Build, read_all: ReadAll) -> None:
    text = "1\tEU\tB-ORG\t-\n2\tsaid\tO\t-\n"
    for columns in ({"token_column": 1, "tag_column": 2}, {"token_column": -3, "tag_column": -2}):
        table = read_all(corpus({"c": text}, format="conll", source="c", **columns))
        assert table["source_tokens"].to_pylist() == [["EU", "said"]]
        assert spans(table) == [[Span(0, 1, "ORG")]]


def test_classes_can_be_ignored(corpus: Build, read_all: ReadAll) -> None:
    text = "a B-MISC\nb B-PER\nc I-PER\nd B-LOC\n"
    table = read_all(corpus({"c": text}, format="conll", source="c", ignore=["MISC", "LOC"]))
    assert spans(table) == [[Span(1, 3, "PER")]]


def test_labels_of_the_target_do_not_matter(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(corpus({"c": "a B-PER\nb nonsense\n"}, format="conll", target="c"))
    assert table["target_tokens"].to_pylist() == [["a", "b"]]
    assert not {"source_entities", "source_tokens", "target_entities"} & set(table.column_names)


def test_text_is_written_as_the_language_writes_it(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(
        corpus({"c": "前 B-LOC\n镇 I-LOC\n"}, format="conll", target="c", target_lang="zho_Hans")
    )
    assert table["target_text"].to_pylist() == ["前镇"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\tB-X\nb\tO\n", ["B-X", "O"]),
        ("a B-X -\nb O -\n", ["B-X", "O"]),
        ("1 a O B-X 7\n2 b O O 8\n", ["B-X", "O"]),
    ],
)
def test_sentences_find_the_tags_themselves(tmp_path: Path, text: str, found: list[str]) -> None:
    path = tmp_path / "c"
    path.write_text(text)
    assert [sentence.tags for sentence in conll.sentences(str(path))] == [found]


WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters=":"), min_size=1
)


@st.composite
def tagged_sentences(draw: st.DrawFn) -> tuple[Scheme, list[list[tuple[str, str]]]]:
    scheme = draw(st.sampled_from(list(tags.SCHEMES.values())))
    prefixes = sorted(scheme.prefixes)
    tag = st.one_of(
        st.just("O"), st.builds("{}-{}".format, st.sampled_from(prefixes), st.sampled_from("XY"))
    )
    sentence = st.lists(st.tuples(WORDS, tag), min_size=1, max_size=6)
    return scheme, draw(st.lists(sentence, min_size=1, max_size=8))


@settings(deadline=None)
@given(
    corpus=tagged_sentences(),
    separator=st.sampled_from(["\t", " "]),
    prefix=st.sampled_from(["", "yo:"]),
    columns=st.integers(0, 2),
    block=st.integers(1, 64),
    chunk_rows=st.integers(1, 9),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    read_all: ReadAll,
    corpus: tuple[Scheme, list[list[tuple[str, str]]]],
    separator: str,
    prefix: str,
    columns: int,
    block: int,
    chunk_rows: int,
) -> None:
    scheme, sentences = corpus
    folder = tmp_path_factory.mktemp("conll")
    lines = [
        [separator.join([prefix + word, *["_"] * columns, tag]) for word, tag in sentence]
        for sentence in sentences
    ]
    (folder / "c").write_text("\n\n".join("\n".join(sentence) for sentence in lines) + "\n")
    chosen = config.Corpus(
        format="conll",
        source="c",
        root=str(folder),
        scheme=scheme.name,
        source_lang="eng_Latn",
        target_lang="swh_Latn",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", block)
        table = read_all(chosen, chunk_rows)
    assert table["source_tokens"].to_pylist() == [[word for word, _ in row] for row in sentences]
    assert spans(table) == [tags.to_spans([tag for _, tag in row], scheme) for row in sentences]
    found = list(conll.sentences(str(folder / "c"), tag_column=-1))
    assert [list(zip(*sentence, strict=True)) for sentence in found] == sentences


def test_a_chunk_is_small_however_large_its_file(corpus: Build) -> None:
    text = "some O\nwords B-PER\n\n" * 5000
    index = corpus_index.index(corpus({"c": text}, format="conll", source="c"), 1000)
    assert [chunk.rows for chunk in index.chunks] == [1000] * 5
    assert all(chunk.stretches[0].readers[0].file.name == "c" for chunk in index.chunks)
