"""Codes of 8 bits: the bound holds for every pair, products are exact, and an index knows its gallery."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.kernels import eight_bit
from cirlib.kernels.eight_bit import BLOCK, int8_product, int8_speed, quantise_gallery, statistical_bound
from cirlib.kernels.exact import fixed_point, pair_scores
from cirlib.types import InputError


def rows(kind, n, d, seed=0):
    """Rows that are easy or hard to code: even, with outlying dimensions, of very different lengths, with a common mean, sparse."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(n, d, generator=generator)
    if kind == "outliers":
        made[:, :2] *= 40
    elif kind == "lengths":
        made *= torch.exp(2 * torch.randn(n, 1, generator=generator))
    elif kind == "mean":
        made += 5 * torch.randn(d, generator=generator)
    elif kind == "sparse":
        made *= torch.rand(n, d, generator=generator) < 0.1
    return made / made.norm(dim=1).max().clamp(min=1)


def scores_and_estimates(query, gallery):
    """Exact scores of all pairs, what codes say of them, and both bounds; in the order of the codes."""
    index = quantise_gallery(gallery)
    left = fixed_point(query, "query", query.device)
    codes = index.quantise_query(left.take(slice(None)))
    line, place = (part.flatten() for part in torch.meshgrid(torch.arange(len(query)), torch.arange(len(gallery)), indexing="ij"))
    exact = pair_scores(left, index.gallery, line, index.order.long()[place])
    product = (codes.codes.long()[line] * index.codes.long()[place]).sum(dim=1)
    block = place // BLOCK
    estimate = product * codes.step[line] * index.step[block] + codes.offset[line]
    return exact, estimate, codes.bound[line, block], statistical_bound(codes)[line, block]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["even", "outliers", "lengths", "mean", "sparse"]),
    n=st.integers(1, 300),
    q=st.integers(1, 5),
    d=st.integers(1, 40),
    seed=st.integers(0, 10**6),
)
def test_no_score_is_further_off_than_the_bound(kind, n, q, d, seed):
    exact, estimate, bound, _ = scores_and_estimates(rows(kind, q, d, seed + 1), rows(kind, n, d, seed))
    assert ((exact - estimate).abs() <= bound).all()


def test_bounds_hold_and_are_narrow_over_several_blocks():
    """At d = 256 the proven bound is well below the spread of scores, the statistical one about a third of it, and neither is crossed."""
    gallery, query = rows("even", 5000, 256), rows("even", 4, 256, seed=1)
    exact, estimate, bound, statistical = scores_and_estimates(query, gallery)
    error = (exact - estimate).abs()
    assert (error <= statistical).all() and (statistical < 0.8 * bound).all()
    assert bound.mean() < 0.5 * exact.std() and error.max() > 0.2 * statistical.min()


def test_rotation_evens_out_outlying_dimensions():
    """Two dimensions with nearly all of the length would leave the others without codes; after the rotation they are as good as any."""
    gallery = rows("outliers", 3000, 128)
    index = quantise_gallery(gallery)
    share = index.residual / index.length
    assert (share < 0.02).all()


def test_order_is_a_permutation_and_zeros_fill_the_last_block():
    index = quantise_gallery(rows("even", BLOCK + 100, 8))
    assert index.order.sort().values.tolist() == list(range(BLOCK + 100)) and len(index) == BLOCK + 100
    assert index.codes.shape == (2 * BLOCK, 8) and not index.codes[BLOCK + 100 :].any()
    assert index.codes[:BLOCK].abs().max() == index.codes[BLOCK:].abs().max() == 127
    expected = index.codes.numel() + 4 * (BLOCK + 100) + 8 * (8 * 8 + 8) + 3 * 8 * 2
    assert index.mib == expected / 2**20


def test_the_seed_decides_the_codes():
    gallery = rows("even", 50, 16)
    first, same, other = (quantise_gallery(gallery, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.codes, same.codes) and not torch.equal(first.codes, other.codes)


@pytest.mark.parametrize("dim", [1, 33, 1025, 2100])
@pytest.mark.parametrize("native", [True, False])
def test_products_of_codes_are_exact(dim, native, monkeypatch):
    if not native:
        monkeypatch.setattr(eight_bit, "_int_mm", lambda: None)
    generator = torch.Generator().manual_seed(dim)
    left = torch.randint(-127, 128, (5, dim), generator=generator, dtype=torch.int8)
    right = torch.randint(-127, 128, (64, dim), generator=generator, dtype=torch.int8)
    left[0], right[0] = 127, -127
    out = torch.full((5, 64), 77, dtype=torch.int32)
    int8_product(left, right, out)
    assert np.array_equal(out.numpy(), left.numpy().astype(np.int64) @ right.numpy().astype(np.int64).T)


def test_int8_speed_is_positive_here_and_zero_without_a_product(monkeypatch):
    assert int8_speed() > 0
    monkeypatch.setattr(eight_bit, "_int_mm", lambda: None)
    assert int8_speed.__wrapped__() == 0


def test_a_wrong_or_missing_product_is_not_used(monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", lambda left, right: torch.zeros(1, 1, dtype=torch.int32))
    assert eight_bit._int_mm.__wrapped__() is None
    monkeypatch.delattr(torch, "_int_mm")
    assert eight_bit._int_mm.__wrapped__() is None


def test_an_index_knows_its_gallery():
    gallery = rows("even", 20, 6)
    index = quantise_gallery(gallery)
    assert index.belongs_to(gallery) and index.belongs_to(gallery[:])
    assert not any(index.belongs_to(other) for other in (gallery.clone(), gallery[:-1], gallery.double(), gallery[:, None]))
    gallery[0, 0] = 2
    assert not index.belongs_to(gallery)


@pytest.mark.parametrize("gallery", [torch.zeros(30, 7), torch.ones(30, 7), torch.full((1, 1), 1e-30), 1e12 * torch.eye(4)])
def test_galleries_without_spread_or_of_extreme_size_have_codes(gallery):
    exact, estimate, bound, _ = scores_and_estimates(gallery[:1], gallery)
    assert ((exact - estimate).abs() <= bound).all()


@pytest.mark.parametrize(
    ("gallery", "message"),
    [
        (torch.ones(4, 2, 3), r"shape \(4, 2, 3\)"),
        (torch.ones(0, 3), r"shape \(0, 3\)"),
        (torch.ones(4, 3, dtype=torch.int64), "floating point"),
        (torch.tensor([[1.0], [float("nan")]]), "gallery row 1"),
        (torch.ones(4, 3, device="meta"), "on meta"),
    ],
)
def test_what_cannot_be_coded_is_refused(gallery, message):
    with pytest.raises(InputError, match=message):
        quantise_gallery(gallery)
