from __future__ import annotations

from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest

from projner import tags, words
from projner.demo import write_corpus
from projner.tags import IOB2, Span

SPLITS = ("train", "test")
LANGUAGES = ("eng", "swh", "hau")


class Side(NamedTuple):
    sentences: list[list[str]]
    tags: list[list[str]]

    def entities(self) -> list[list[Span]]:
        return [tags.to_spans(line, IOB2) for line in self.tags]

    def vocabulary(self) -> set[str]:
        return {word for sentence in self.sentences for word in sentence}


@cache
def side(split: str, language: str) -> Side:
    text = (write_corpus.CORPUS / f"{split}.{language}.conll").read_text(encoding="utf-8")
    blocks = [[line.split(" ") for line in block.splitlines()] for block in text.split("\n\n")]
    return Side([[w for w, _ in b] for b in blocks], [[tag for _, tag in b] for b in blocks])


@cache
def links(split: str, language: str) -> list[set[tuple[int, int]]]:
    path = write_corpus.CORPUS / f"{split}.eng-{language}.pharaoh"
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [[link.split("-") for link in line.split()] for line in lines]
    return [{(int(source), int(target)) for source, target in line} for line in pairs]


def test_the_shipped_files_are_what_the_frames_make(tmp_path):
    write_corpus.write(tmp_path)
    shipped = {path.name: path.read_bytes() for path in write_corpus.CORPUS.iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == shipped


@pytest.mark.parametrize(("split", "count"), [("train", 600), ("test", 120)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_sides_are_parallel(split, language, count):
    assert len(side(split, language).sentences) == count
    if language != "eng":
        assert len(links(split, language)) == count


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_tags_are_correct_iob2(split, language):
    for line in side(split, language).tags:
        assert tags.repair(line, IOB2) == line
    labels = {span.label for line in side(split, language).entities() for span in line}
    assert labels == {"PER", "LOC", "ORG"}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_tokens_are_the_words_of_the_text(split, language):
    for sentence in side(split, language).sentences:
        text = " ".join(sentence)
        assert words.words(text, language) == sentence
        for mark in (",", ".", "?", "'s"):
            text = text.replace(f" {mark}", mark)
        assert words.words(text, language) == sentence


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", ["swh", "hau"])
def test_links_join_words_of_both_sides(split, language):
    pairs = zip(side(split, "eng").sentences, side(split, language).sentences, strict=True)
    for (source, target), line in zip(pairs, links(split, language), strict=True):
        assert all(i < len(source) and j < len(target) for i, j in line)
        linked = {i for i, _ in line}
        unlinked = {word.lower() for i, word in enumerate(source) if i not in linked}
        assert unlinked <= {"a", "an", "the", "it", "and"}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", ["swh", "hau"])
def test_every_entity_has_one_counterpart_that_all_its_links_lead_to(split, language):
    pairs = zip(side(split, "eng").entities(), side(split, language).entities(), strict=True)
    for (source, target), line in zip(pairs, links(split, language), strict=True):
        met = []
        for start, end, label in source:
            reached = [j for i, j in line if start <= i < end]
            found = [s for s in target if any(s.start <= j < s.end for j in reached)]
            assert [s.label for s in found] == [label]
            assert set(reached) == set(range(found[0].start, found[0].end))
            assert {i for i, j in line if j in reached} == set(range(start, end))
            met += found
        assert sorted(met) == target


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_test_sentence_is_in_train_and_every_word_is(language):
    train, test = side("train", language), side("test", language)
    assert not {tuple(line) for line in train.sentences} & {tuple(line) for line in test.sentences}
    known = {word.lower() for word in train.vocabulary()}
    assert {word.lower() for word in test.vocabulary()} <= known


def test_labelled_sentences_are_new_in_every_language():
    splits = write_corpus.sentences()
    made = list(zip(*(phrase.words for phrase in splits["labelled"]), strict=True))
    assert len(made[0]) == write_corpus.N_LABELLED
    for language, sentences in zip(LANGUAGES, made, strict=True):
        assert not set(map(tuple, sentences)) & set(map(tuple, side("test", language).sentences))
    shipped = side("labelled", "eng")
    assert shipped.sentences == list(made[0])
    assert not set(map(tuple, made[0])) & set(map(tuple, side("train", "eng").sentences))
    for sentence, line in zip(*shipped, strict=True):
        assert len(sentence) == len(line)
        assert tags.repair(line, IOB2) == line
    known = {word.lower() for word in side("train", "eng").vocabulary()}
    assert {word.lower() for word in shipped.vocabulary()} <= known


@pytest.mark.parametrize("language", LANGUAGES)
def test_vocabulary_and_lengths_suit_a_tiny_model(language):
    assert len(side("train", language).vocabulary()) < 900
    lengths = [len(line) for split in SPLITS for line in side(split, language).sentences]
    assert min(lengths) >= 4
    assert max(lengths) <= 25


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_have_none_to_five_entities(split):
    entities = side(split, "eng").entities()
    counts = Counter(map(len, entities))
    assert set(counts) == set(range(6))
    assert 0.1 < counts[0] / len(entities) < 0.4


@pytest.mark.parametrize("language", LANGUAGES)
def test_entities_touch_repeat_begin_and_end_sentences(language):
    train = side("train", language)
    for found in (
        lambda words, spans: any(a.end == b.start for a in spans for b in spans),
        lambda words, spans: max(Counter(tuple(words[s:e]) for s, e, _ in spans).values()) > 1,
        lambda words, spans: spans[0].start == 0,
        lambda words, spans: spans[-1].end == len(words) - 1,
    ):
        pairs = zip(train.sentences, train.entities(), strict=True)
        assert sum(found(words, spans) for words, spans in pairs if spans) >= 5
