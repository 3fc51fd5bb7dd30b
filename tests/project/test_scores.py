from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.align.surface import surface_links
from projner.project import candidates, heuristic, scores
from projner.project.match import solve
from projner.romanise import romanise
from projner.tags import to_spans

EVERYTHING = replace(scores.DEFAULT, min_score=0.0)


def pairs(values):
    return np.array(values, np.int32).reshape(-1, 2)


def score_of(score, entities, links, n_target, span):
    """The scores of one span, one for each entity."""
    spans = np.array(span[:1], np.int32), np.array(span[1:], np.int32)
    return score(pairs(entities), pairs(links), n_target, spans)[:, 0].tolist()


@pytest.mark.parametrize(
    ("entities", "links", "span", "expected"),
    [
        ([(0, 2)], [(0, 0), (1, 1)], (0, 2), [1.0]),
        ([(0, 2)], [(0, 0), (1, 1)], (0, 3), [0.8]),
        ([(0, 2)], [(0, 0), (1, 1), (0, 1)], (0, 2), [1.5]),
        ([(0, 2)], [(0, 0), (0, 0)], (0, 2), [0.5]),
        ([(0, 2)], [(0, 0), (1, 1)], (3, 4), [0.0]),
        ([(0, 1), (1, 3)], [(0, 0), (1, 1)], (0, 2), [2 / 3, 0.5]),
    ],
)
def test_align(entities, links, span, expected):
    assert score_of(scores.align, entities, links, 5, span) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("links", "span", "expected"),
    [
        # All of the linked words, nothing else.
        ([(0, 0), (1, 1)], (0, 2), 1.0),
        # Half of them: r = 1/2, p = 1.
        ([(0, 0), (1, 1)], (0, 1), 2 / 3),
        # A gap: r = 1, p = 2 / 2.1; one that is linked elsewhere: p = 2 / 2.5.
        ([(0, 0), (1, 2)], (0, 3), 2 * (2 / 2.1) / (1 + 2 / 2.1)),
        ([(0, 0), (1, 2), (3, 1)], (0, 3), 2 * 0.8 / 1.8),
        # A word linked to the entity and elsewhere is the entity's.
        ([(0, 0), (1, 1), (3, 1)], (0, 2), 1.0),
        # No linked word at one edge.
        ([(0, 0), (1, 1)], (0, 3), 0.0),
        ([(3, 0)], (0, 1), 0.0),
    ],
)
def test_align_gap(links, span, expected):
    assert score_of(scores.align_gap, [(0, 2)], links, 4, span) == pytest.approx([expected])


def test_replace_links():
    links, surface = pairs([(0, 0), (0, 1), (1, 2), (2, 3)]), pairs([(0, 5), (2, 3)])
    assert scores.replace_links(links, surface).tolist() == [[1, 2], [0, 5], [2, 3]]
    assert scores.replace_links(links, pairs([])).tolist() == links.tolist()


@pytest.mark.parametrize(
    ("token", "letters", "case"),
    [
        ("Paris,", 5, scores.UPPER),
        ("«Paris", 5, scores.UPPER),
        ("l'Europe", 7, scores.LOWER),
        ("2G", 2, scores.UPPER),
        ("1999", 4, scores.CASELESS),
        ("Ɛvɔri", 5, scores.UPPER),
        ("Москва", 6, scores.UPPER),
        ("北京", 7, scores.CASELESS),
        ("...", 0, scores.CASELESS),
        ("", 0, scores.CASELESS),
    ],
)
def test_forms_of_a_word(token, letters, case):
    forms = scores.forms([token])
    assert (forms.letters.tolist(), forms.case.tolist()) == ([letters], [case])


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Barack Obama 5 .", "LATIN"),
        ("в Токио Apple", "CYRILLIC"),
        ("奥 巴 马 Apple", "CJK"),
        ("12 .", ""),
        ("", ""),
    ],
)
def test_script(text, script):
    assert scores.forms(text.split()).script == script


@pytest.mark.parametrize(
    ("source", "target", "entity", "expected"),
    [
        ("we saw New York today", "a", (2, 4), (1.0, 1.0)),
        ("we saw York today", "a", (2, 3), (1.0, 0.0)),
        ("we saw New York today", "Нью", (2, 4), (1.0, 0.0)),
        ("we like Thai food", "a", (2, 4), (0.5, 0.5)),
        ("we like good food", "a", (2, 4), (0.0, 0.0)),
        # A first word counts as not capitalised, and not at all among those around.
        ("New York is big", "a", (0, 2), (4 / 7, 4 / 7)),
        ("We saw New York", "a", (2, 4), (1.0, 1.0)),
        # A headline, a sentence that is nothing but the name.
        ("WE SAW NEW YORK", "a", (2, 4), (0.0, 0.0)),
        ("We Saw new New York", "a", (3, 5), (0.5, 0.5)),
        ("New York", "a", (0, 2), (0.0, 0.0)),
        ("we saw ...", "a", (2, 3), (0.0, 0.0)),
    ],
)
def test_nameness(source, target, entity, expected):
    names, alike = scores.nameness(
        pairs([entity]), scores.forms(source.split()), scores.forms(target.split())
    )
    assert (names[0], alike[0]) == pytest.approx(expected)


def best_span(source, target, entity, links, surface=True, weights=scores.DEFAULT):
    """What `evidence` makes of one entity: the text of its best span, or None."""
    source, target = source.split(), target.split()
    found = surface_links(source, target, range(*entity)) if surface else []
    alike = pairs([link[:2] for link in found])
    spans = candidates.ngrams(len(target))
    result = scores.evidence(
        pairs([entity]),
        pairs(links),
        alike,
        np.array([similarity for *_, similarity in found]),
        scores.forms(source),
        scores.forms(target),
        spans,
        weights,
    )
    if not result.any():
        return None
    best = result[0].argmax()
    return " ".join(target[spans[0][best] : spans[1][best]])


@pytest.mark.parametrize(
    ("source", "target", "entity", "links", "expected"),
    [
        # A gap is bridged.
        ("good lamb sausages", "buenas salchichas de cordero", (1, 3), [(1, 3), (2, 1)],
         "salchichas de cordero"),
        # An article that is linked beside the noun is left out.
        ("Food was fine", "La comida era buena", (0, 1), [(0, 0), (0, 1), (1, 2)], "comida"),
        # So is a word that is another's.
        ("exotic food is nice", "comida exótica está muy bien", (0, 2),
         [(0, 1), (1, 0), (1, 3), (3, 3)], "comida exótica"),
        # Punctuation is no edge.
        ("in Bamako ,", "Bamako , la", (1, 2), [(1, 0), (1, 1), (2, 1)], "Bamako"),
        # A name is found without a link, or against one.
        ("met Hicks today", "heute traf ich Hicks dort", (1, 2), [], "Hicks"),
        ("met Hicks today", "heute traf ich Hicks dort", (1, 2), [(1, 1)], "Hicks"),
        # A compound holds the word that has no link.
        ("the Member States agreed", "die Mitgliedstaaten stimmten zu", (1, 3), [(1, 1)],
         "Mitgliedstaaten"),
        # Too short, or nothing like the name and not capitalised: better none.
        ("in the House of Commons now", "Soba la sisan na kɔnɔ dɔ", (2, 5), [(2, 0)], None),
        ("the Armed Forces came in", "ka kɛlɛbolow nana yan", (1, 3), [(2, 1)], None),
        ("the food was cold", "la comida estaba fría", (1, 2), [], None),
        # Nothing to go by.
        ("the ... came", "la ... fue", (1, 2), [(1, 1)], None),
    ],
)  # fmt: skip
def test_evidence_on_examples(source, target, entity, links, expected):
    assert best_span(source, target, entity, links) == expected


def test_evidence_of_a_perfect_link_is_one():
    forms, entities, spans = scores.forms(["Paris"]), pairs([(0, 1)]), candidates.ngrams(1)
    for links, surface in (([(0, 0)], []), ([], [(0, 0)]), ([(0, 0)], [(0, 0)])):
        known = entities, pairs(links), pairs(surface), np.ones(len(surface)), forms, forms
        assert scores.evidence(*known, spans).tolist() == [[1.0]]


def oracle(entities, links, surface, similarities, source_tokens, target_tokens, spans, weights):
    """`evidence` word by word, as its docstring says it."""
    source, target = scores.forms(source_tokens), scores.forms(target_tokens)
    letters = [len(romanise(token)) for token in source_tokens]
    widths = [len(romanise(token)) for token in target_tokens]
    alike = dict(zip(surface, similarities, strict=True))
    evidence = {}
    for link in links:
        evidence[link] = 1.0
    for link, similarity in alike.items():
        evidence[link] = evidence.get(link, 0) + weights.surface * similarity
    received = [0.0] * len(widths)
    for (_, j), value in evidence.items():
        received[j] += value
    stretch = (sum(widths) + weights.smoothing) / (sum(letters) + weights.smoothing)
    stretch **= weights.trust
    capitals, likeness = scores.nameness(pairs(entities), source, target)
    result = np.zeros((len(entities), len(spans)))
    for index, (start, end) in enumerate(entities):
        dealt = dict.fromkeys(range(len(widths)), 0.0)
        belongs = dict.fromkeys(range(len(widths)), 0.0)
        reached = 0
        for i in range(start, end):
            pull = {j: e * widths[j] for (k, j), e in evidence.items() if k == i and widths[j]}
            if not letters[i] or not pull:
                continue
            reached += letters[i]
            for j in pull:
                dealt[j] += letters[i] * pull[j] / sum(pull.values())
                belongs[j] += evidence[i, j] * pull[j] / max(pull.values()) / received[j]
        length = sum(letters[start:end])
        for column, (first, stop) in enumerate(spans):
            words = range(first, stop)
            if not (belongs[first] > 0 and belongs[stop - 1] > 0 and length):
                continue
            covered = sum(widths[j] for j in words if belongs[j] > 0)
            missing = length - reached
            missing = max(0, missing - max(0, covered / stretch - reached))
            recall = sum(dealt[j] for j in words) / (reached + missing)
            precision = sum(widths[j] * belongs[j] for j in words) / sum(
                widths[j] * (1 if received[j] else weights.unlinked) for j in words
            )
            if recall + precision == 0:
                continue
            score = 2 * recall * precision / (recall + precision)
            ratio = math.log((covered + weights.slack) / (stretch * length + weights.slack))
            score /= 1 + (ratio / (weights.shorter if ratio < 0 else weights.longer)) ** 2 / 2
            more = sum(belongs[j] for j in words) / (end - start)
            score /= max(1, more) ** weights.fertility
            similar = sum(
                widths[j] * max((s for (i, k), s in alike.items() if k == j and start <= i < end),
                                default=0)
                for j in words
            )  # fmt: skip
            likely = min(1, similar / min(length, sum(widths[j] for j in words)))
            score *= 1 - weights.dissimilar * likeness[index] * (1 - likely)
            if all(target.case[j] == scores.LOWER for j in words):
                score *= 1 - weights.uncapitalised * capitals[index]
            result[index, column] = score if score >= weights.min_score else 0
    return result


TOKENS = st.lists(
    st.sampled_from(["Mali", "mali", "de", "Jamana", "ye", ",", "2021", "Мали", "États", "!", "B"]),
    min_size=1,
    max_size=6,
)


@st.composite
def problems(draw):
    source, target = draw(TOKENS), draw(TOKENS)
    cuts = sorted(draw(st.sets(st.integers(0, len(source)), max_size=4)))
    entities = list(pairwise(cuts))
    link = st.tuples(st.integers(0, len(source) - 1), st.integers(0, len(target) - 1))
    links = sorted(draw(st.sets(link, max_size=8)))
    found = surface_links(source, target, {i for span in entities for i in range(*span)}, 0.3)
    return source, target, entities, links, found


@given(problems(), st.sampled_from([scores.DEFAULT, EVERYTHING]))
def test_evidence_against_oracle(problem, weights):
    source, target, entities, links, found = problem
    spans = candidates.ngrams(len(target))
    surface, similarities = [link[:2] for link in found], [link[2] for link in found]
    result = scores.evidence(
        pairs(entities),
        pairs(links),
        pairs(surface),
        np.array(similarities),
        scores.forms(source),
        scores.forms(target),
        spans,
        weights,
    )
    listed = list(zip(spans[0].tolist(), spans[1].tolist(), strict=True))
    expected = oracle(entities, links, surface, similarities, source, target, listed, weights)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert (result >= 0).all()
    assert (result <= 1 + 1e-12).all()


@given(problems())
def test_evidence_is_zero_outside_linked(problem):
    source, target, entities, links, found = problem
    surface = pairs([link[:2] for link in found])
    known = (
        pairs(entities),
        pairs(links),
        surface,
        np.array([link[2] for link in found]),
        scores.forms(source),
        scores.forms(target),
    )
    spans = candidates.ngrams(len(target))
    chosen = candidates.linked(known[0], np.concatenate([known[1], surface]), len(target))
    listed = set(zip(*map(np.ndarray.tolist, chosen), strict=True))
    for column, span in enumerate(zip(*map(np.ndarray.tolist, spans), strict=True)):
        if span not in listed:
            assert not scores.evidence(*known, spans, EVERYTHING)[:, column].any()


ABSA = [
    # pair, aligner: heuristic, span, align, align_gap, evidence
    ("en-es", "awesome", 0.943, 0.943, 0.927, 0.947, 0.948),
    ("en-es", "simalign", 0.887, 0.871, 0.865, 0.890, 0.928),
    ("en-es", "fast_align", 0.749, 0.746, 0.744, 0.746, 0.875),
    ("en-es", "mgiza", 0.766, 0.756, 0.768, 0.763, 0.883),
    ("en-fr", "awesome", 0.930, 0.935, 0.911, 0.939, 0.947),
    ("en-fr", "simalign", 0.883, 0.878, 0.864, 0.889, 0.928),
    ("en-fr", "fast_align", 0.728, 0.723, 0.723, 0.721, 0.861),
    ("en-fr", "mgiza", 0.720, 0.715, 0.715, 0.721, 0.848),
]
EUROPARL = [
    ("de", "intersection", 0.754, 0.844, 0.838, 0.842, 0.868),
    ("de", "gdfa", 0.702, 0.783, 0.786, 0.780, 0.855),
    ("es", "intersection", 0.807, 0.830, 0.790, 0.828, 0.860),
    ("es", "gdfa", 0.794, 0.798, 0.776, 0.795, 0.870),
]
BAMBARA = [
    ("transalign", 0.534, 0.496, 0.502, 0.502, 0.538),
    ("accalign", 0.541, 0.506, 0.508, 0.504, 0.553),
]


def read_conll(path):
    """Sentences of (tokens, spans)."""
    blocks = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
    rows = [[line.split("\t" if "\t" in line else " ") for line in b.split("\n")] for b in blocks]
    return [([r[0] for r in block], to_spans([r[1] for r in block])) for block in rows]


def read_pharaoh(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[tuple(map(int, pair.split("-"))) for pair in line.split()] for line in lines]


def absa(data, pair, aligner):
    folder = data / "absa" / pair / "test"
    source, gold = read_conll(folder / "source.tsv"), read_conll(folder / "gold.tsv")
    return list(zip(source, gold, read_pharaoh(folder / f"{aligner}.pharaoh"), strict=True))


def europarl(data, language, links):
    folder = data / "europarl_ner"
    source = read_conll(folder / "en-europarl.test.conll02")
    gold = read_conll(folder / f"{language}-europarl.test.conll02")
    found = read_pharaoh(folder / f"en-{language}.eflomal.{links}.pharaoh")
    return list(zip(source, gold, found, strict=True))[400:]


def bambara(data, aligner):
    folder = data / "bambara"
    if aligner == "transalign":
        lines = (folder / "transalign.tsv").read_text(encoding="utf-8").splitlines()
        found = [
            [tuple(map(int, pair.split("-")[::-1])) for pair in line.partition("\t")[2].split()]
            for line in lines
        ]
    else:
        lines = (folder / "accalign.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line)["alignment"] for line in lines]
    source, gold = read_conll(folder / "english-predicted.conll"), read_conll(folder / "gold.conll")
    return list(zip(source, gold, found, strict=True))[637:]


def matched(score, spans):
    return [(e, spans[0][c], spans[1][c]) for e, c in solve(score, *spans).pairs]


def projections(source, target, entities, links):
    """One list of (entity, start, end) for each method of the tables above."""
    n_target = len(target)
    yield [item[:3] for item in heuristic.heuristic(entities, links, n_target)]
    yield [item[:3] for item in heuristic.span(entities, links, n_target)]
    spans = candidates.linked(entities, links, n_target, 10)
    yield matched(scores.align(entities, links, n_target, spans), spans)
    spans = candidates.linked(entities, links, n_target)
    yield matched(scores.align_gap(entities, links, n_target, spans), spans)
    found = surface_links(source, target, {i for span in entities for i in range(*span)})
    surface = pairs([link[:2] for link in found])
    spans = candidates.linked(entities, np.concatenate([links, surface]), n_target)
    similarities = np.array([link[2] for link in found])
    forms = scores.forms(source), scores.forms(target)
    yield matched(scores.evidence(entities, links, surface, similarities, *forms, spans), spans)


@pytest.mark.parametrize(
    ("read", "names", "expected"),
    [(absa, row[:2], row[2:]) for row in ABSA]
    + [(europarl, row[:2], row[2:]) for row in EUROPARL]
    + [(bambara, row[:1], row[1:]) for row in BAMBARA],
    ids=["-".join(row[:2]) for row in ABSA + EUROPARL] + [row[0] for row in BAMBARA],
)  # fmt: skip
def test_figures(shared_data, read, names, expected):
    """Exact-span micro F1 on the parts of the data that figures are claimed on."""
    right, predicted, labelled = np.zeros(5), np.zeros(5), 0
    for (source, entities), (target, gold), links in read(shared_data, *names):
        labelled += len(gold)
        if not entities:
            continue
        spans = pairs([(span.start, span.end) for span in entities])
        for method, found in enumerate(projections(source, target, spans, pairs(links))):
            predicted[method] += len(found)
            right[method] += len({(s, e, entities[i].label) for i, s, e in found} & {*gold})
    assert 2 * right / (predicted + labelled) == pytest.approx(expected, abs=0.0006)


IOB2 = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.mark.parametrize(
    ("tags", "begins", "continues"),
    [
        (IOB2, {"PER": ["B-PER"], "LOC": ["B-LOC"]}, {"PER": ["I-PER"], "LOC": ["I-LOC"]}),
        (
            ["B-PER", "I-PER", "E-PER", "S-PER", "O"],
            {"PER": ["B-PER", "S-PER"]},
            {"PER": ["I-PER", "E-PER"]},
        ),
        # Some class has no B: I begins them all.
        (
            ["O", "B-LOC", "I-LOC", "I-PER"],
            {"PER": ["I-PER"], "LOC": ["B-LOC", "I-LOC"]},
            {"PER": ["I-PER"], "LOC": ["I-LOC"]},
        ),
        ([], {}, {}),
    ],
)
def test_what_tags_begin_and_continue(tags, begins, continues):
    classes = scores.Classes.read(tags)
    assert set(classes.names) == begins.keys() == continues.keys()
    for matrix, expected in ((classes.begins, begins), (classes.continues, continues)):
        for column, name in zip(matrix.T, classes.names, strict=True):
            assert [tag for tag, one in zip(tags, column, strict=True) if one] == expected[name]


NER_CASES = [
    # B of the first word, I of the others.
    ((0, 1), "PER", 0.8),
    ((0, 2), "PER", 1.15 * (0.8 + 0.6) / 2),
    ((0, 3), "PER", 1.15**2 * (0.8 + 0.6 + 0.0) / 3),
    ((1, 2), "PER", 0.1),
    ((2, 3), "LOC", 0.7),
    ((1, 3), "LOC", 0.0),
    # Under 0.05.
    ((0, 1), "LOC", 0.0),
    # A class that the tagger does not know.
    ((0, 1), "DATE", 0.0),
]
SEEN = [[0.16, 0.8, 0.0, 0.04, 0.0], [0.27, 0.1, 0.6, 0.03, 0.0], [0.3, 0.0, 0.0, 0.7, 0.0]]


@pytest.mark.parametrize(("span", "label", "expected"), NER_CASES)
def test_ner(span, label, expected):
    spans = np.array(span[:1], np.int32), np.array(span[1:], np.int32)
    found = scores.ner(["PER", label], np.array(SEEN), scores.Classes.read(IOB2), spans)
    assert found[1, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("span", "expected"), [((0, 2), 1.15 * 1.4 / 2), ((2, 3), 0.7), ((1, 2), 0.1)]
)
def test_ner_spans(span, expected):
    spans = np.array(span[:1], np.int32), np.array(span[1:], np.int32)
    found = scores.ner_spans(2, np.array(SEEN), scores.Classes.read(IOB2), spans)
    assert found == pytest.approx(np.full((2, 1), expected))


@given(st.integers(0, 6), st.integers(0, 2**32 - 1), st.sampled_from(["IOB2", "IOB1", "IOBES"]))
def test_ner_against_its_formula(n_words, seed, scheme):
    tags = {
        "IOB2": IOB2,
        "IOB1": ["I-PER", "O", "B-LOC", "I-LOC"],
        "IOBES": ["O", *(f"{p}-{c}" for c in ("PER", "LOC") for p in "BIES")],
    }[scheme]
    chance = np.random.default_rng(seed)
    found = chance.dirichlet(np.full(len(tags), 0.3), n_words)
    labels = ["LOC", "PER", "ORG", "LOC"]
    spans = candidates.ngrams(n_words, 4)
    first = {"IOB2": "B", "IOB1": "BI", "IOBES": "BS"}[scheme]

    def of(label, start, end):
        def total(word, prefixes):
            return sum(
                found[word, column]
                for column, tag in enumerate(tags)
                if tag[2:] == label and tag[0] in prefixes
            )

        values = [total(start, first), *(total(word, "IE") for word in range(start + 1, end))]
        score = 1.15 ** (end - start - 1) * sum(values) / len(values)
        return score if score >= 0.05 else 0.0

    classes = scores.Classes.read(tags)
    ner = scores.ner(labels, found, classes, spans)
    blind = scores.ner_spans(3, found, classes, spans)
    assert ner.shape == (4, len(spans[0]))
    for column, span in enumerate(zip(*spans, strict=True)):
        expected = [of(label, *span) for label in labels]
        assert ner[:, column] == pytest.approx(expected, abs=1e-9)
        assert blind[:, column] == pytest.approx(max(of("PER", *span), of("LOC", *span)), abs=1e-9)


def test_nmt():
    spans = candidates.ngrams(3, 2)
    of = np.array([[0, 1, 3], [0, 2, 3], [1, 0, 1], [1, 1, 2]], np.int32)
    found = scores.nmt(2, of, np.array([1.2, 0.3, 0.1, 0.0999]), spans)
    expected = np.zeros((2, 5))
    expected[0, 3], expected[0, 4], expected[1, 0] = 1.2, 0.3, 0.1
    assert found.tolist() == expected.tolist()
    assert scores.nmt(2, np.empty((0, 3), np.int32), np.empty(0), spans).tolist() == [[0] * 5] * 2


def test_codec():
    spans = candidates.ngrams(3, 2)
    of = np.array([[0, 1, 3], [1, 0, 1], [1, 1, 2]], np.int32)
    expected = np.zeros((2, 5))
    expected[0, 3], expected[1, 0], expected[1, 2] = 1, 0.96, 0.04
    assert scores.codec(2, of, np.array([1, 0.96, 0.04]), spans).tolist() == expected.tolist()


def test_fuse():
    ones, twos = np.ones((2, 3)), np.full((2, 3), 2.0)
    assert scores.fuse([(0.5, ones), (0.5, twos)]).tolist() == [[1.5] * 3] * 2
    assert scores.fuse([(3, ones), (1, twos)]).tolist() == [[1.25] * 3] * 2
    assert scores.fuse([(7, twos)]).tolist() == twos.tolist()
