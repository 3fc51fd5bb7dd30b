"""What the toy translator that keeps markers learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from projner.tags import Span, to_spans
from projner.translate import markers
from projner.words import offsets

MARKERS = ["[ ]", *(" ".join(markers.around("xml", number)) for number in range(4))]
"""What the vocabulary has beside the words."""


class Pair(NamedTuple):
    """A sentence and its translation: words and IOB2 tags of both, and which word translates which."""

    source: tuple[Sequence[str], Sequence[str]]
    target: tuple[Sequence[str], Sequence[str]]
    links: Sequence[tuple[int, int]]


def examples(pairs: Sequence[Pair], codes: tuple[str, str], seed: int = 0) -> list[dict[str, str]]:
    """Texts by FLORES-200 code: each pair as it is, with either kind of marker, and one of its names.

    Half the time all entities are marked, else some by chance: what is marked in one text is marked in
    the other, and nothing else is, as in what the models of EasyProject and LabelPigeon are tuned on.
    """
    chance = random.Random(seed)
    texts: list[tuple[str, str]] = []
    for source, target, links in pairs:
        texts.append((" ".join(source[0]), " ".join(target[0])))
        both = _both(to_spans(source[1]), to_spans(target[1]), links)
        if not both:
            continue
        for kind in ("brackets", "xml"):
            count = len(both) if chance.random() < 0.5 else chance.randint(1, len(both))
            ours, theirs = zip(*sorted(chance.sample(both, count)), strict=True)
            texts.append((_marked(source[0], ours, kind), _marked(target[0], theirs, kind)))
        one, other = chance.choice(both)
        names = source[0][one.start : one.end], target[0][other.start : other.end]
        texts.append((" ".join(names[0]), " ".join(names[1])))
    return [dict(zip(codes, pair, strict=True)) for pair in texts]


def _both(
    ours: Sequence[Span], theirs: Sequence[Span], links: Sequence[tuple[int, int]]
) -> list[tuple[Span, Span]]:
    """The entities that translate each other."""
    found = []
    for one in ours:
        reached = {j for i, j in links if one.start <= i < one.end}
        others = [each for each in theirs if reached.intersection(range(each.start, each.end))]
        if len(others) == 1:
            found.append((one, others[0]))
    return found


def _marked(words: Sequence[str], spans: Sequence[Span], kind: markers.Kind) -> str:
    text = " ".join(words)
    places = offsets(text, words)
    return markers.insert(
        text, [(places[span.start][0], places[span.end - 1][1]) for span in spans], kind
    )
