"""Links from vectors against the code of awesome-align and SimAlign themselves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
simalign = pytest.importorskip("simalign.simalign", reason="needs the extra projner[peers]")
sparsemax = pytest.importorskip("awesome_align.sparsemax", reason="needs the extra projner[peers]")

from projner.align import extraction  # noqa: E402


def test_entmax_equals_awesome_align() -> None:
    scores = torch.randn(4, 1, 6, 9, generator=torch.Generator().manual_seed(2)) * 4
    for dim in (-1, -2):
        torch.testing.assert_close(
            extraction.entmax15(scores, dim), sparsemax.entmax15(scores, dim=dim)
        )


@pytest.mark.parametrize(
    ("method", "theirs"), [("argmax", "inter"), ("itermax", "itermax"), ("match", "mwmf")]
)
def test_cosine_methods_equal_simalign(method: str, theirs: str) -> None:
    aligner = simalign.SentenceAligner
    generator = torch.Generator().manual_seed(4)
    for n, m in [(1, 1), (2, 5), (3, 3), (8, 6), (15, 21), (30, 30)]:
        source = torch.randn(1, n, 16, generator=generator)
        target = torch.randn(1, m, 16, generator=generator)
        ones = [torch.ones(1, length, dtype=torch.bool) for length in (n, m)]
        ours = extraction.extract(method, source, target, *ones)[0].numpy() > 0
        similarity = aligner.get_similarity(source[0].numpy(), target[0].numpy())
        if theirs == "inter":
            forward, backward = aligner.get_alignment_matrix(similarity)
            expected = forward * backward
        elif theirs == "itermax":
            expected = aligner.iter_max(similarity)
        else:
            expected = aligner.get_max_weight_match(similarity)
        assert np.array_equal(ours, expected > 0), (method, n, m)
