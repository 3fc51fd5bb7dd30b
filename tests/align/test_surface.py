from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from projner.align.surface import surface_links
from projner.romanise import romanise


def pairs(source, target, **settings):
    return [(i, j) for i, j, _ in surface_links(source.split(), target.split(), **settings)]


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("Zürich", "zurich"),
        ("ZU\u0308RICH", "zurich"),
        ("Straße,", "strasse"),
        ("Москва", "moskva"),
        ("Ɛvɔri", "evori"),
        ("北京", "beijing"),
        ("B2-Gold", "b2gold"),
        ("١٩٩٩", "1999"),
        ("...", ""),
        ("", ""),
    ],
)
def test_romanise(word, form):
    assert romanise(word) == form


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Berlin is big", "Berlin est grande", [(0, 0)]),
        ("the Commission", "die Kommission", [(1, 1)]),
        ("Moscow", "в Москву", []),
        ("Moskva", "в Москва", [(0, 1)]),
        ("Sogeli Mayiga", "Mayiga Sogɛli", [(0, 1), (1, 0)]),
        ("Paris ,", "Paris, ,", [(0, 0)]),
        ("in 1999", "en 1998", []),
        ("in 1999", "en 1999", [(1, 1)]),
        ("5 of 6", "5 de 6", [(0, 0), (2, 2)]),
        ("to be", "ta bo", []),
        ("la vida", "la vie", [(0, 0)]),
        ("", "Berlin", []),
        ("Berlin", "", []),
        (", .", ", .", []),
    ],
)
def test_links(source, target, expected):
    assert pairs(source, target) == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Mali and so on Mali", "Mali x y z Mali", [(0, 0), (4, 4)]),
        ("far off Mali", "Mali Mali", [(2, 1)]),
        ("Mali far off", "Mali Mali", [(0, 0)]),
        ("far Mali off", "Mali Mali", [(1, 0)]),
    ],
)
def test_the_closest_of_equal_words(source, target, expected):
    assert pairs(source, target) == expected


def test_words_asked_for():
    assert pairs("Berlin Paris Rome", "Berlin Paris Rome", source_words=[2, 0, 2]) == [
        (0, 0),
        (2, 2),
    ]
    assert pairs("Berlin", "Berlin", source_words=[]) == []


def test_similarity_and_its_threshold():
    assert surface_links(["Togola"], ["Togolo"]) == [(0, 0, pytest.approx(5 / 6))]
    assert surface_links(["Togola"], ["Togolo"], min_similarity=0.84) == []
    assert surface_links(["Togola"], ["Togola"], min_similarity=1.0) == [(0, 0, 1.0)]


WORDS = st.lists(st.text("abcé13.Ж", max_size=5), max_size=6)


@given(WORDS, WORDS, st.sampled_from([0.3, 0.65, 1.0]))
def test_against_all_pairs(source, target, least):
    expected = []
    for i, word in enumerate(source):
        form = romanise(word)
        best = None
        for j, other in enumerate(target):
            if not form or not romanise(other):
                continue
            similarity = Levenshtein.normalized_similarity(form, romanise(other))
            if similarity < (1 if len(form) < 3 or form.isdigit() else least):
                continue
            distance = abs((i + 0.5) / len(source) - (j + 0.5) / len(target))
            key = (-similarity, distance, j)
            best = key if best is None else min(best, key)
        if best:
            expected.append((i, best[2], -best[0]))
    assert surface_links(source, target, min_similarity=least) == expected
