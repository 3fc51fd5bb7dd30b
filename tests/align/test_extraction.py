"""Links from vectors: hand-made tables, and one pair at a time as the oracle for batches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner.align import extraction  # noqa: E402


def batch(seed: int, lengths: list[tuple[int, int]], width: int = 8) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    longest_source, longest_target = (max(side) for side in zip(*lengths, strict=True))
    source = torch.randn(len(lengths), longest_source, width, generator=generator)
    target = torch.randn(len(lengths), longest_target, width, generator=generator)
    source_mask = torch.tensor([[i < n for i in range(longest_source)] for n, _ in lengths])
    target_mask = torch.tensor([[i < m for i in range(longest_target)] for _, m in lengths])
    return source, target, source_mask, target_mask


@pytest.mark.parametrize("method", extraction.METHODS)
def test_padding_and_company_change_nothing(method: str) -> None:
    lengths = [(1, 1), (1, 5), (4, 2), (7, 9), (12, 3), (6, 6)]
    source, target, source_mask, target_mask = batch(7, lengths)
    together = extraction.extract(method, source, target, source_mask, target_mask)
    for number, (n, m) in enumerate(lengths):
        alone = extraction.extract(
            method,
            source[number : number + 1, :n],
            target[number : number + 1, :m],
            source_mask[number : number + 1, :n],
            target_mask[number : number + 1, :m],
        )
        torch.testing.assert_close(together[number, :n, :m], alone[0])
        outside = together[number].clone()
        outside[:n, :m] = 0
        assert not outside.any()


@pytest.mark.parametrize("method", extraction.METHODS)
def test_a_sentence_links_to_itself_word_by_word(method: str) -> None:
    vectors = 4 * torch.eye(6)[None]
    mask = torch.ones(1, 6, dtype=torch.bool)
    links = extraction.extract(method, vectors, vectors, mask, mask) > 0.1
    assert links[0].nonzero().tolist() == [[i, i] for i in range(6)]


def test_softmax_keeps_what_both_directions_allow() -> None:
    source = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    target = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    scores = (source @ target.mT)[0].numpy()
    forward = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    backward = np.exp(scores) / np.exp(scores).sum(0, keepdims=True)
    for threshold in (1e-3, 0.3):
        links = extraction.extract("softmax", source, target, mask, mask, threshold)[0] > 0
        assert np.array_equal(links.numpy(), (forward > threshold) & (backward > threshold))


def test_argmax_is_contained_in_itermax() -> None:
    arguments = batch(3, [(9, 12), (5, 5), (14, 8)])
    first = extraction.extract("argmax", *arguments) > 0
    second = extraction.extract("itermax", *arguments) > 0
    assert (second | ~first).all()
    assert second.sum() > first.sum()


def test_match_links_every_word_of_the_shorter_side_once() -> None:
    links = extraction.extract("match", *batch(5, [(9, 12), (4, 7)])) > 0
    assert links[0].sum() == 9
    assert links[1].sum() == 4
    assert links.sum(1).max() == links.sum(2).max() == 1


def test_entmax_sums_to_one_and_is_sparse() -> None:
    scores = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1)) * 3
    for dim in (-1, -2):
        shares = extraction.entmax15(scores, dim)
        torch.testing.assert_close(shares.sum(dim), torch.ones_like(shares.sum(dim)))
        assert (shares == 0).any()
