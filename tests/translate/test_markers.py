from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.languages import find
from projner.translate import markers
from projner.translate.markers import MIN_SIMILARITY, Span, insert, match, read, trim
from projner.words import offsets, words

SWAHILI, CHINESE, FRENCH, FINNISH = (
    find(code) for code in ("swh_Latn", "zho_Hans", "fra_Latn", "fin_Latn")
)
KINDS = ("brackets", "xml")
WORDS = ["Ada", "Byron", "na", "alikutana", "Dar", "Nairobi", "huko", "3,5", "siku"]


@st.composite
def sentences(draw) -> tuple[list[str], list[tuple[int, int]]]:
    """Words, and spans of some of them, none overlapping and in any order."""
    tokens = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9))
    cuts = sorted(draw(st.sets(st.integers(0, len(tokens)))))
    spans = [pair for pair in itertools.pairwise(cuts) if draw(st.booleans())]
    return tokens, draw(st.permutations(spans))


def _marked(tokens: list[str], spans: list[tuple[int, int]], kind: str) -> str:
    text = " ".join(tokens)
    places = offsets(text, tokens)
    return insert(text, [(places[a][0], places[b - 1][1]) for a, b in spans], kind)


@pytest.mark.parametrize("kind", KINDS)
@given(sentence=sentences())
def test_what_is_put_in_is_read_back(kind: str, sentence) -> None:
    tokens, spans = sentence
    reading = read(_marked(tokens, spans, kind), SWAHILI, kind)
    assert (reading.text, reading.tokens) == (" ".join(tokens), tokens)
    assert reading.whole
    assert [span[:2] for span in reading.spans] == sorted(spans)
    if kind == "xml":
        named = {span.name: span[:2] for span in reading.spans}
        assert named == {markers.letter(n): span for n, span in enumerate(spans)}


@given(sentence=sentences(), seed=st.integers(0, 2**16))
def test_tags_travel_with_their_entities(sentence, seed: int) -> None:
    tokens, spans = sentence
    pieces, done = [], 0
    for number, (a, b) in sorted(enumerate(spans), key=lambda item: item[1]):
        opening, closing = markers.around("xml", number)
        pieces += [([token], None) for token in tokens[done:a]]
        pieces.append(([opening + tokens[a], *tokens[a + 1 : b]], number))
        pieces[-1][0][-1] += closing
        done = b
    pieces += [([token], None) for token in tokens[done:]]
    random.Random(seed).shuffle(pieces)
    reading = read(" ".join(word for piece, _ in pieces for word in piece), SWAHILI, "xml")
    starts = np.cumsum([0, *(len(piece) for piece, _ in pieces)]).tolist()
    expected = [
        Span(start, start + len(piece), markers.letter(number))
        for start, (piece, number) in zip(starts, pieces, strict=False)
        if number is not None
    ]
    assert reading.spans == expected
    assert reading.whole


@pytest.mark.parametrize("kind", KINDS)
@given(sentence=sentences(), data=st.data())
def test_no_wrong_span_where_markers_are_destroyed(kind: str, sentence, data) -> None:
    tokens, spans = sentence
    places = [(m.start(), m.end()) for m in _pattern(kind).finditer(_marked(tokens, spans, kind))]
    marked = _marked(tokens, spans, kind)
    lost = data.draw(st.sets(st.sampled_from(places), min_size=1) if places else st.just(set()))
    for start, end in sorted(lost, reverse=True):
        doubled = data.draw(st.booleans())
        marked = marked[:end] + (marked[start:end] if doubled else "") + marked[end:]
        marked = marked if doubled else marked[:start] + " " + marked[end:]
    reading = read(marked, SWAHILI, kind)
    assert reading.tokens == tokens
    found = {span[:2] for span in reading.spans}
    if kind == "xml":
        # Each span that is left has both of its own.
        assert found <= set(spans)
        assert not lost or len(found) < len(spans)
    elif lost and found - set(spans):
        # The end of one and the beginning of the next are gone: too few are left.
        assert len(found) < len(spans)


def _pattern(kind: str):
    return markers._BRACKET if kind == "brackets" else markers._TAG


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("[ Ada ] alikutana", "0-1"),
        ("Ada alikutana", ""),
        ("[ Ada alikutana", ""),
        ("Ada ] alikutana", ""),
        ("] Ada [ alikutana", ""),
        ("[ ] Ada [] alikutana", ""),
        ("[ Ada ] na [ Eva", "0-1"),
        ("[ Ada [ na ] Eva ]", ""),
        ("[ [ Ada ] ] na [ Eva ]", "2-3"),
        ("[ Ada ] na ] Eva", ""),
        ("[ Ada [ na ]", ""),
        ("[ Ada ] na Eva ] huko [ Roma ]", "4-5"),
        ("[Ada Byron] na \uff3bEva\uff3d", "0-2 3-4"),
    ],
)
def test_brackets(marked: str, expected: str) -> None:
    _check(marked, "brackets", expected)


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("<a>Ada</a> alikutana na <b>Eva Lamu</b>", "0-1a 3-5b"),
        ("<b>Ada</b> alikutana na <a>Eva</a>", "0-1b 3-4a"),
        ("< A > Ada < / a > alikutana", "0-1a"),
        ("<a>Ada alikutana na <b>Eva</b>", "3-4b"),
        ("<a>Ada</b> na <b>Eva</a>", ""),
        ("<a>Ada</a> na <a>Eva</a>", ""),
        ("<a>Ada <b>na</b> Eva</a>", ""),
        ("<a>Ada <b>na</a> Eva</b>", ""),
        ("</a>Ada<a> na", ""),
        ("<a></a> Ada <b> </b> na", ""),
        ("<a>Ada</a> na <b>Eva</b></b>", "0-1a"),
        ("<a>Ada</a><b>Eva</b> na", ""),
        ("<aa>Ada</aa> na", "0-1aa"),
    ],
)
def test_tags(marked: str, expected: str) -> None:
    _check(marked, "xml", expected)


def _check(marked: str, kind: str, expected: str) -> None:
    reading = read(marked, SWAHILI, kind)
    assert " ".join(f"{start}-{end}{name}" for start, end, name in reading.spans) == expected
    assert not set("[]<>\uff3b\uff3d") & set(reading.text)
    assert reading.tokens == words(reading.text, SWAHILI)
    assert "  " not in reading.text
    markers_there = len(_pattern(kind).findall(marked))
    assert reading.whole == (markers_there == 2 * len(reading.spans))


@pytest.mark.parametrize(
    ("marked", "language", "kind", "text", "found"),
    [
        # Beside punctuation.
        ("Alisema [ Ada ], ([ Eva ]).", SWAHILI, "brackets", "Alisema Ada, (Eva).", ["Ada", "Eva"]),
        ("“<a>Ada</a>”, <b>Eva</b>.", SWAHILI, "xml", "“Ada”, Eva.", ["Ada", "Eva"]),
        ("l'[ Afrique ] et [ l'Asie ]", FRENCH, "brackets", "l'Afrique et l'Asie", ["Afrique", "l' Asie"]),
        # In a word: all of it is the entity, as people label it.
        ("Asun <a>Helsingi</a>ssä", FINNISH, "xml", "Asun Helsingissä", ["Helsingissä"]),
        # Where nothing parts words.
        ("我在[ 北京 ]。", CHINESE, "brackets", "我在北京。", ["北 京"]),
        ("我在 <a>北京</a> 。", CHINESE, "xml", "我在 北京 。", ["北 京"]),
        # The markers' own spaces go with them.
        ("huko  [ Roma ]  leo ", SWAHILI, "brackets", "huko Roma leo", ["Roma"]),
        ("<a> Ada </a> na", SWAHILI, "xml", "Ada na", ["Ada"]),
    ],
)  # fmt: skip
def test_the_text_is_clean_and_spans_are_of_words(marked, language, kind, text, found) -> None:
    reading = read(marked, language, kind)
    assert reading.text == text
    assert [" ".join(reading.tokens[s.start : s.end]) for s in reading.spans] == found


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("brackets", "Ada [ 1843 ] alisema \uff3ba\uff3d", "[ Ada ] ( 1843 ) alisema (a)"),
        ("xml", "Ada <b>alisema</b> 1<2 > <br>", "<a>Ada</a> (b)alisema(/b) 1<2 > (br)"),
    ],
)
def test_the_texts_own_markers_are_none(kind: str, text: str, expected: str) -> None:
    assert insert(text, [(0, 3)], kind) == expected


def test_entities_that_overlap_cannot_be_marked() -> None:
    with pytest.raises(ValueError, match="the entity at characters 2 to 5 overlaps another"):
        insert("Ada na Eva", [(2, 5), (0, 3)], "xml")


def test_letters() -> None:
    names = [markers.letter(number) for number in range(702)]
    assert names[:2] + names[25:28] + names[-1:] == ["a", "b", "z", "aa", "ab", "zz"]
    assert len(set(names)) == 702


@given(
    similar=st.lists(
        st.lists(st.sampled_from([0.2, 0.5, 0.6, 0.75, 0.9, 1.0]), min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    ),
    labels=st.lists(st.sampled_from(["PER", "LOC"]), min_size=3, max_size=3),
)
def test_matches_are_the_best_one_to_one(similar, labels) -> None:
    table = {
        (f"{i}", f"{j}"): value for i, row in enumerate(similar) for j, value in enumerate(row)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markers, "_similarity", lambda text, form: table[text, form])
        found = match([f"{i}" for i in range(len(similar))], [["0"], ["1"], ["2"]], labels)
    choices = _choices(similar)
    best = max(total for total, _ in choices)
    optimal = [pairs for total, pairs in choices if total > best - 1e-9]
    classes = [{(text, labels[entity]) for text, entity in pairs} for pairs in optimal]
    assert {(text, labels[entity]) for text, entity, _ in found} == set.intersection(*classes)
    assert len({entity for _, entity, _ in found}) == len(found)
    assert all(similarity == similar[text][entity] for text, entity, similarity in found)


def _choices(similar: list[list[float]]) -> list[tuple[float, list[tuple[int, int]]]]:
    """Every one-to-one choice of pairs above the least similarity, with its total."""
    choices: list[tuple[float, list[tuple[int, int]]]] = []
    for entities in itertools.product([None, 0, 1, 2], repeat=len(similar)):
        pairs = [(i, j) for i, j in enumerate(entities) if j is not None]
        if len({j for _, j in pairs}) == len(pairs):
            values = [similar[i][j] for i, j in pairs]
            if all(value > MIN_SIMILARITY for value in values):
                choices.append((sum(values), pairs))
    return choices


@pytest.mark.parametrize(
    ("found", "forms", "labels", "expected"),
    [
        (["Roma", "Ada"], [["Ada"], ["Rome"]], "PL", [(0, 1), (1, 0)]),
        # Half of the characters is not enough.
        (["abcd"], [["abxy"]], "P", []),
        (["abc"], [["abx"]], "P", [(0, 0)]),
        # The best total, not the best pair first.
        (["Ada Byron", "Ada"], [["Ada Byron Lovelace"], ["Ada Byron"]], "PL", [(0, 0), (1, 1)]),
        # A name's translation or the name itself; case and spaces do not count.
        (["DAR ES SALAAM"], [["Bandari", "Dar es Salaam"]], "L", [(0, 0)]),
        (["北 京"], [["北京"]], "L", [(0, 0)]),
        # Which is the town and which the man?
        (["Washington", "Washington"], [["Washington"], ["Washington"]], "PL", []),
        (["Washington", "Washington"], [["Washington"], ["Washington"]], "PP", [(0, 0), (1, 1)]),
        ([], [["Ada"]], "P", []),
        (["Ada"], [], "", []),
        (["Ada"], [[]], "P", []),
    ],
)
def test_brackets_are_matched_by_form(found, forms, labels, expected) -> None:
    assert [pair[:2] for pair in match(found, forms, list(labels))] == expected


@pytest.mark.parametrize(
    ("tokens", "entity", "expected"),
    [
        ("Nairobi , ( .", "Nairobi", (0, 1)),
        (". Nairobi", "Nairobi", (1, 2)),
        ("Yahoo !", "Yahoo!", (0, 2)),
        ("« Ada »", "« Ada »", (0, 3)),
        (", .", "Ada", (1, 2)),
    ],
)
def test_punctuation_at_an_edge(tokens: str, entity: str, expected: tuple[int, int]) -> None:
    span = trim(tokens.split(), Span(0, len(tokens.split()), ""), entity)
    assert span[:2] == expected
