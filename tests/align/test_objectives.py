"""Objectives on small tables; `tests/peers` holds them against awesome-align's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner.align import objectives  # noqa: E402


def test_a_guide_has_all_sub_words_of_linked_words() -> None:
    # Source words: one, two-two, special; target words: special, one-one, two.
    source = torch.tensor([[0, 1, 1, -1]])
    target = torch.tensor([[-1, 0, 0, 1]])
    links = torch.zeros(1, 4, 4, dtype=torch.bool)
    links[0, 2, 1] = True  # The second source word and the first target word.
    links[0, 3, 0] = True  # Between special ones.
    found = objectives.guide(links, source, target)
    assert found[0].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_guides_of_a_batch_do_not_mix() -> None:
    words = torch.tensor([[0, 1], [0, 1]])
    links = torch.zeros(2, 2, 2, dtype=torch.bool)
    links[0, 0, 1] = True
    assert objectives.guide(links, words, words).nonzero().tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("scale", "so", "co"),
    # Where all scores are equal, each word gets half a share.
    [(0.0, -1.0, -0.5), (50.0, -2.0, -1.0)],
)
def test_sure_links_that_agree_have_the_least_loss(scale: float, so: float, co: float) -> None:
    scores = scale * torch.eye(2)[None]
    mask = torch.ones(1, 2, dtype=torch.bool)
    arguments = "softmax", scores, mask, mask
    linked = torch.eye(2, dtype=torch.bool)[None]
    assert objectives.self_training(*arguments, linked).item() == pytest.approx(so)
    assert objectives.consistency(*arguments).item() == pytest.approx(co)


def test_what_is_hidden() -> None:
    ids = torch.full((200, 100), 7)
    maskable = torch.zeros(200, 100, dtype=torch.bool)
    maskable[:, 10:] = True
    chance = torch.Generator().manual_seed(1)
    read, labels = objectives.masked(ids, maskable, mask=1, vocabulary=1000, chance=chance)
    chosen = labels != objectives.IGNORED
    assert not chosen[:, :10].any()
    assert (labels[chosen] == 7).all()
    assert (read[~chosen] == 7).all()
    assert chosen.sum().item() / maskable.sum().item() == pytest.approx(0.15, abs=0.01)
    shares = [(read[chosen] == kind).float().mean().item() for kind in (1, 7)]
    assert shares == pytest.approx([0.8, 0.1], abs=0.02)


def test_guesses_are_averaged_sentence_by_sentence() -> None:
    logits = torch.zeros(3, 2, 4)
    logits[0, 0, 1] = 100
    labels = torch.tensor([[1, 3], [0, -100], [-100, -100]])
    even = torch.log(torch.tensor(4.0)).item()
    right, unsure = 0.0, 0.5 * even
    assert objectives.guesses(logits, labels).item() == pytest.approx(
        (right / 2 + unsure + even + 0) / 3
    )
