"""How well a candidate span of the target sentence projects a source entity.

Each score returns float64 (n, m) for n entities and `Spans` of m candidates, 0 where a pair is out of
the question. Entities are int32 (n, 2) as [start, end) of source words, links int32 (k, 2) of
(source, target) words. Sums over a span are differences of running sums over the words (`_within`), so
that a score costs a few operations per candidate.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from projner.project.candidates import Indices, Spans
from projner.romanise import romanise
from projner.tags import split_tag

Floats = npt.NDArray[np.float64]
Similarities = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]

LOWER, UPPER, CASELESS = 0, 1, 2


def align(entities: Indices, links: Indices, n_target: int, spans: Spans) -> Floats:
    """2 * links between entity and span / (words of the entity + words of the span).

    Politov et al. 2025 (arXiv 2501.18750). A word without a link costs in a span's midst as it does
    at its edge, so that what lies behind it is often left out.
    """
    starts, ends = spans
    scores = np.zeros((len(entities), len(starts)))
    links = np.unique(links, axis=0)
    for row, (start, end) in zip(scores, entities, strict=True):
        targets = links[_inside(links[:, 0], start, end), 1]
        counts = np.bincount(targets, minlength=n_target).astype(np.float64)
        row[:] = 2 * _within(counts, spans) / (end - start + ends - starts)
    return scores


def align_gap(entities: Indices, links: Indices, n_target: int, spans: Spans) -> Floats:
    """Harmonic mean of the share of linked words that a span holds and of its purity.

    Of a span, words linked to the entity count as right, those linked only elsewhere as half wrong
    and unlinked ones as a tenth wrong: so gaps are bridged. Spans begin and end at words linked to
    the entity.
    """
    scores = np.zeros((len(entities), len(spans[0])))
    linked = _marks(links[:, 1], n_target)
    for row, (start, end) in zip(scores, entities, strict=True):
        own = _marks(links[_inside(links[:, 0], start, end), 1], n_target)
        possible = _edges(own, spans)
        held = _within(own, spans)[possible]
        elsewhere = _within(linked & ~own, spans)[possible]
        unlinked = _within(~linked, spans)[possible]
        recall = held / own.sum()
        purity = held / (held + 0.5 * elsewhere + 0.1 * unlinked)
        row[possible] = 2 * recall * purity / (recall + purity)
    return scores


def replace_links(links: Indices, surface: Indices) -> Indices:
    """`links`, where a source word that has surface links keeps these alone."""
    return np.concatenate([links[~np.isin(links[:, 0], surface[:, 0])], surface])


@dataclass(frozen=True)
class Forms:
    """What `evidence` looks at in the words of a sentence.

    Attributes:
        letters: float64, letters and digits of each word's romanised form.
        case: int8, LOWER, UPPER or CASELESS by each word's first letter.
        script: the script that most words are written in, such as LATIN.
    """

    letters: Floats
    case: npt.NDArray[np.int8]
    script: str


def forms(tokens: Sequence[str]) -> Forms:
    """The forms of a sentence's words."""
    known = [form(token) for token in tokens]
    scripts = Counter(script for _, _, script in known if script)
    return Forms(
        np.array([letters for letters, _, _ in known], np.float64),
        np.array([case for _, case, _ in known], np.int8),
        min(scripts, key=lambda script: (-scripts[script], script), default=""),
    )


def nameness(entities: Indices, source: Forms, target: Forms) -> tuple[Floats, Floats]:
    """To what degree, 0 to 1, entities are names that should stay capitalised, and look the same.

    The first: the share of an entity's letters in capitalised words, times the share of words
    around it that are not capitalised, since a capital says little in a headline, or in a language
    that writes every noun with one. A sentence's first word does not count in either. The second:
    the same for entities of two words or more, of which hardly all are translated when they are a
    name; 0 where the two sentences are written in different scripts.
    """
    capital, cased = source.case == UPPER, source.case != CASELESS
    capital[:1] = cased[:1] = False
    names = np.zeros(len(entities))
    for index, (start, end) in enumerate(entities):
        letters = source.letters[start:end]
        around = np.ones(len(cased), bool)
        around[start:end] = False
        if letters.any() and cased[around].any():
            share = letters[capital[start:end]].sum() / letters.sum()
            names[index] = share * (1 - capital[around].sum() / cased[around].sum())
    several = entities[:, 1] - entities[:, 0] > 1
    return names, names * several * (source.script == target.script)


@dataclass(frozen=True)
class Weights:
    """The settings of `evidence`, in the order in which it uses them."""

    surface: float = 2.0
    """Evidence of a surface link of similarity 1, where an aligner's link has 1."""
    unlinked: float = 0.3
    """Cost of a letter in a word without any link, where one that is linked elsewhere costs 1."""
    smoothing: float = 20.0
    """Letters added to both sentences when their lengths are compared, ..."""
    trust: float = 0.5
    """... and the power to which this ratio is believed; 0 expects spans as long as entities."""
    slack: float = 3.0
    """Letters added to entity and span when their lengths are compared."""
    shorter: float = 0.35
    """Log ratio of lengths at which a span that is too short loses a third of its score."""
    longer: float = 1.0
    """The same for a span that is too long."""
    fertility: float = 0.5
    """Power of (entity words / words that are the entity's) where the span has more words."""
    dissimilar: float = 0.5
    """What a name loses that looks nothing like its projection."""
    uncapitalised: float = 0.3
    """What a name loses on a span without a capital."""
    min_score: float = 0.42
    """Scores below count as 0: better no label than a doubtful one."""


DEFAULT = Weights()


def evidence(
    entities: Indices,
    links: Indices,
    surface: Indices,
    similarities: Similarities,
    source: Forms,
    target: Forms,
    spans: Spans,
    weights: Weights = DEFAULT,
) -> Floats:
    """Links, likeness, length and case in one score, 0 to 1: projner's own.

    Words count by their letters (l): a stray link to an article is a small error, punctuation is
    none. A source word i has evidence e(i, j) for a target word j: 1 for a link, `weights.surface`
    * similarity for a surface link, or the sum. For an entity s and a span t:

    * i's letters are dealt out by e(i, j) * l(j). Recall r: those that t gets, of all that the
      entity has. Words of it without any link count only as far as t is too short for them: a
      compound may hold them.
    * j is s's own by q(j), the share of evidence at j that comes from s, each weighed by e(i, j) *
      l(j) / (that of i's best word). Precision p: letters of t, times q, of all in t; those of
      unlinked words count by `weights.unlinked`.
    * F = 2rp / (r + p), then lowered if the linked part of t is shorter or longer than s, if it has
      more words, and if s is a name (`nameness`) that has lost its form or its capitals.

    A span begins and ends at words with q > 0, and an entity without letters has none.

    Args:
        surface: int32 (h, 2), surface links of entity words, one per source word at most.
        similarities: floats (h,), their similarities.

    Either kind of link may be missing.
    """
    l_source, l_target = source.letters, target.letters
    table = np.zeros((len(l_source), len(l_target)))
    table[links[:, 0], links[:, 1]] = 1
    table[surface[:, 0], surface[:, 1]] += weights.surface * similarities
    received = table.sum(axis=0)

    alike = np.zeros(table.shape)
    alike[surface[:, 0], surface[:, 1]] = similarities

    added = weights.smoothing
    stretch = ((l_target.sum() + added) / (l_source.sum() + added)) ** weights.trust
    capitals, likeness = nameness(entities, source, target)

    wrong = np.where(received > 0, 1.0, weights.unlinked) * l_target
    in_wrong = _within(wrong, spans)
    in_letters = _within(l_target, spans)
    has_capital = _within(target.case != LOWER, spans) > 0

    scores = np.zeros((len(entities), len(spans[0])))
    for e, (start, end) in enumerate(entities):
        own = table[start:end]
        letters = l_source[start:end]
        pull = own * l_target * (letters > 0)[:, None]
        total, best = pull.sum(axis=1), pull.max(axis=1, initial=0)
        reaching = total > 0
        dealt = (letters / np.where(reaching, total, 1)) @ pull
        share = np.where(reaching, 1 / np.where(reaching, best, 1), 0) @ (own * pull)
        belongs = share / np.where(received > 0, received, 1)

        possible = np.nonzero(_edges(belongs > 0, spans))[0]
        if not len(possible):
            continue
        held = (spans[0][possible], spans[1][possible])
        length, reached = letters.sum(), letters[reaching].sum()

        covered = _within(l_target * (belongs > 0), held)
        spare = np.maximum(0, covered / stretch - reached)
        recall = _within(dealt, held) / (reached + np.maximum(0, length - reached - spare))
        precision = _within(l_target * belongs, held) / in_wrong[possible]
        score = 2 * recall * precision / (recall + precision)

        log_ratio = np.log((covered + weights.slack) / (stretch * length + weights.slack))
        scale = np.where(log_ratio < 0, weights.shorter, weights.longer)
        score /= 1 + 0.5 * (log_ratio / scale) ** 2

        words = np.maximum(1, _within(belongs, held) / (end - start))
        score /= words**weights.fertility

        resembling = _within(alike[start:end].max(axis=0) * l_target, held)
        likely = np.minimum(1, resembling / np.minimum(length, in_letters[possible]))
        score *= 1 - weights.dissimilar * likeness[e] * (1 - likely)
        score *= 1 - weights.uncapitalised * capitals[e] * ~has_capital[possible]
        scores[e, possible] = np.where(score >= weights.min_score, score, 0)
    return scores


ALPHA = 1.15
MIN_NER = 0.05
MIN_NMT = 0.1


@dataclass(frozen=True)
class Classes:
    """The classes of a tagger, and which of its tags begin and which continue an entity of each.

    `begins` and `continues` are float64 (tags, classes) of zeros and ones.
    """

    names: tuple[str, ...]
    begins: Floats
    continues: Floats

    @classmethod
    def read(cls, tags: Sequence[str]) -> Classes:
        """The classes of IOB1, IOB2 or IOBES tags.

        Where a class has neither B nor S, the tags are IOB1, and I begins entities of every class.
        """
        parts = [split_tag(tag) for tag in tags]
        names = tuple(dict.fromkeys(label for _, label in parts if label))
        begin = {label for prefix, label in parts if prefix in "BS"}
        first = "BS" if begin.issuperset(names) else "BSI"
        begins, continues = np.zeros((2, len(tags), len(names)))
        for row, (prefix, label) in enumerate(parts):
            if label:
                begins[row, names.index(label)] = prefix in first
                continues[row, names.index(label)] = prefix in "IE"
        return cls(names, begins, continues)

    def spans(self, probabilities: Similarities, spans: Spans, alpha: float) -> Floats:
        """For each class and span alpha^(words - 1) * the mean probability of its tags there."""
        starts, ends = spans
        inside = probabilities @ self.continues
        first = (probabilities @ self.begins)[starts] - inside[starts]
        sums = np.zeros((len(inside) + 1, len(self.names)))
        np.cumsum(inside, axis=0, out=sums[1:])
        words = (ends - starts)[:, None]
        # A sum that should be 0 may come out a little below.
        total = np.maximum(0, first + sums[ends] - sums[starts])
        means: Floats = (alpha ** (words - 1) * total / words).T
        return means


def ner(
    labels: Sequence[str], probabilities: Similarities, classes: Classes, spans: Spans
) -> Floats:
    """Whether a tagger sees an entity of the same class in a span.

    The mean of the probabilities of B-class at the first word and I-class at the others, times
    1.15 ^ (words - 1), since longer spans should win over their parts; 0 below 0.05. From the thesis
    behind Politov et al. 2025 (arXiv 2501.18750).

    Args:
        labels: the class of each entity; one that the tagger does not know scores 0.
        probabilities: floats (target words, tags).
        classes: what the tags mean.
    """
    by_class = at_least(classes.spans(probabilities, spans, ALPHA), MIN_NER)
    unknown = np.zeros(len(spans[0]))
    known = dict(zip(classes.names, by_class, strict=True))
    scores = [known.get(label, unknown) for label in labels]
    return np.array(scores).reshape(len(labels), len(spans[0]))


def ner_spans(
    n_entities: int, probabilities: Similarities, classes: Classes, spans: Spans
) -> Floats:
    """Whether a tagger sees an entity of any class in a span: the most that `ner` gives for one."""
    by_class = classes.spans(probabilities, spans, ALPHA)
    best = at_least(by_class.max(axis=0, initial=0), MIN_NER)
    return np.tile(best, (n_entities, 1))


def nmt(n_entities: int, candidates: Indices, similarities: Similarities, spans: Spans) -> Floats:
    """How likely a span is to be a translation of an entity; see `projner.translate.similarity`.

    0 below 0.1 and for pairs that are no candidates.

    Args:
        candidates: int32 (k, 3), (entity, start, end) of pairs whose span is one of `spans`.
        similarities: floats (k,), theirs.
    """
    return _placed(n_entities, candidates, at_least(similarities, MIN_NMT), spans)


def codec(n_entities: int, candidates: Indices, probabilities: Floats, spans: Spans) -> Floats:
    """How probably an entity's markers stand around a span; see `projner.translate.constrained`.

    Arguments as of `nmt`.
    """
    return _placed(n_entities, candidates, probabilities, spans)


def fuse(weighted: Sequence[tuple[float, Floats]]) -> Floats:
    """The weighted mean of scores, given with their weights."""
    total = sum(weight for weight, _ in weighted)
    return sum((weight / total * score for weight, score in weighted), np.zeros(1))


@lru_cache(maxsize=1 << 18)
def form(token: str) -> tuple[int, int, str]:
    """Letters, case and script of a word."""
    first = next(filter(str.isalpha, token), None)
    case = CASELESS
    if first is not None and first.lower() != first.upper():
        case = LOWER if first.islower() else UPPER
    script = "" if first is None else unicodedata.name(first, "UNKNOWN").split()[0]
    return len(romanise(token)), case, script


def _placed(n_entities: int, candidates: Indices, values: Floats, spans: Spans) -> Floats:
    """The values of candidates where these stand, and 0 elsewhere."""
    scores = np.zeros((n_entities, len(spans[0])))
    place = {
        span: column for column, span in enumerate(zip(*map(np.ndarray.tolist, spans), strict=True))
    }
    held = [place[start, end] for _, start, end in candidates.tolist()]
    scores[candidates[:, 0], held] = values
    return scores


def at_least(scores: Similarities, least: float) -> Floats:
    """`scores`, 0 where they are below `least`."""
    return np.where(scores >= least, scores, 0).astype(np.float64)


def _within(values: npt.NDArray[np.generic], spans: Spans) -> Floats:
    """The sum of word values in each span."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums[spans[1]] - sums[spans[0]]


def _edges(allowed: Flags, spans: Spans) -> Flags:
    """Which spans begin and end at words that are allowed to be there."""
    return allowed[spans[0]] & allowed[spans[1] - 1]


def _inside(words: Indices, start: int, end: int) -> Flags:
    return (words >= start) & (words < end)


def _marks(words: Indices, n_words: int) -> Flags:
    marks = np.zeros(n_words, bool)
    marks[words] = True
    return marks
