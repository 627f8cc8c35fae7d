"""The three-term score and its fused form are one: equal scores, equal rankings."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from cirlib.methods.pix2key.scoring import SignedRows, fuse, join_image, score_terms
from cirlib.types import InputError


def unit_rows(seed: int, rows: int, dim: int = 9) -> torch.Tensor:
    return normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).double(), dim=-1)


def signed_rows(seed: int, empty: tuple[bool, bool, bool] = (False, False, False), queries: int = 4) -> SignedRows:
    parts = [unit_rows(3 * seed + n, queries) for n in range(3)]
    for part, gone in zip(parts, empty, strict=True):
        if gone:
            part[1::2] = 0  # every other query lacks this part
    return SignedRows(*parts)


def slow_relevance(rows: SignedRows, gallery: torch.Tensor, alpha: float, beta: float) -> np.ndarray:
    """Eq. 8-9 in plain loops, cosines with their lengths."""

    def cosine(left: np.ndarray, right: np.ndarray) -> float:
        lengths = np.sqrt((left * left).sum() * (right * right).sum())
        return float((left * right).sum() / lengths) if lengths > 0 else 0.0

    result = np.zeros((len(rows.wants), len(gallery)))
    for q in range(len(rows.wants)):
        for i, e in enumerate(gallery.numpy()):
            p, o, n = (cosine(part[q].numpy(), e) for part in (rows.wants, rows.anchors, rows.avoids))
            result[q, i] = alpha * p + beta * o - (1 - alpha) * n
    return result


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 3), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=40, deadline=None)
def test_one_fused_query_scores_and_ranks_as_three_terms_do(seed, alpha, beta, empty):
    rows, gallery = signed_rows(seed, empty), unit_rows(seed + 5000, 15)
    expected = slow_relevance(rows, gallery, alpha, beta)
    fused = (fuse(rows, alpha, beta) @ gallery.T).numpy()
    terms = score_terms(rows, gallery).relevance(alpha, beta).numpy()
    np.testing.assert_allclose(fused, expected, atol=1e-12)
    np.testing.assert_allclose(terms, expected, atol=1e-12)
    for line, slow in zip(fused, expected, strict=True):
        order = np.argsort(-line, kind="stable")
        assert (np.diff(slow[order]) <= 1e-12).all(), "the same ranking, but for scores that agree to 1e-12"


def test_an_empty_part_adds_nothing_and_a_negative_is_taken_away():
    gallery = unit_rows(1, 6)
    rows = signed_rows(2, (False, False, True))
    without = fuse(rows, 0.8, 0.4)[1]
    torch.testing.assert_close(without, 0.8 * rows.wants[1] + 0.4 * rows.anchors[1])
    avoid = SignedRows(torch.zeros(1, 9), torch.zeros(1, 9), gallery[:1].float())
    assert int((fuse(avoid, 0.5, 0.0) @ gallery.float().T).argmin()) == 0
    assert not fuse(avoid, 1.0, 0.0).any(), "alpha = 1 ignores avoids"


@given(st.integers(0, 1000), st.floats(0.01, 1))
@settings(max_examples=25, deadline=None)
def test_an_image_share_is_a_mixture_of_two_cosines(seed, weight):
    text, image, more_text, more_image = (unit_rows(seed + n, 5) for n in (0, 10_000, 20_000, 30_000))
    left, right = join_image(text, image, weight), join_image(more_text, more_image, weight)
    torch.testing.assert_close(left @ right.T, (1 - weight) * text @ more_text.T + weight * image @ more_image.T)
    torch.testing.assert_close(torch.linalg.vector_norm(left, dim=-1), torch.ones(5).double())


@pytest.mark.parametrize(
    ("alpha", "beta", "message"), [(1.1, 0, "alpha 1.1"), (-0.1, 0, "alpha -0.1"), (0.5, -1, "beta -1"), (0.5, float("nan"), "beta nan")]
)
def test_weights_out_of_range_are_named(alpha, beta, message):
    with pytest.raises(InputError, match=message):
        fuse(signed_rows(0), alpha, beta)


def test_an_image_share_out_of_range_is_named():
    with pytest.raises(InputError, match="image weight 2"):
        join_image(unit_rows(0, 2), unit_rows(1, 2), 2)
