"""Ranking by counting against a full sort, and what chunking, ties, duplicates and bad numbers may do to it: nothing."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.kernels import reference
from cirlib.kernels.reference import candidate_ranks, order_candidates, target_ranks, top_k
from cirlib.types import InputError


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def whole(*shape, seed=0, low=-2, high=3):
    """Small whole numbers: their scores are exact in any precision, and tie all the time."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator).float()


def sorted_rows(query, gallery, exclude=()):
    """Slow reference: score in float64, sort the whole gallery by (-score, row), drop excluded rows."""
    scores = np.asarray(gallery, dtype=np.float64) @ np.asarray(query, dtype=np.float64)
    scores = scores if scores.ndim == 1 else scores.max(axis=-1)
    return [row for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)) if row not in set(exclude)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    g=st.integers(3, 40),
    q=st.integers(1, 9),
    m=st.integers(0, 3),
    p=st.integers(1, 3),
    chunk=st.integers(1, 50),
)
def test_ranks_equal_a_full_sort_with_ties(seed, g, q, m, p, chunk):
    query = whole(q, 4, seed=seed)
    gallery = whole(*([g, m, 4] if m else [g, 4]), seed=seed + 1)
    generator = torch.Generator().manual_seed(seed)
    rows = (
        torch.stack([torch.randperm(g, generator=generator)[: p + 1] for _ in range(q)]) if g > p else torch.zeros(q, 2, dtype=torch.int64)
    )
    target, exclude = rows[:, :-1].clone(), rows[:, -1:].clone()
    if g <= p:
        exclude = torch.full_like(exclude, -1)
    target[0, -1] = -1
    ranks = target_ranks(query, gallery, target, exclude, chunk_size=chunk)
    best, _ = top_k(query, gallery, g, exclude, chunk_size=chunk)
    for i in range(q):
        order = sorted_rows(query[i], gallery, exclude[i].tolist())
        assert ranks[i].tolist() == [order.index(row) + 1 if row >= 0 else 0 for row in target[i].tolist()]
        assert best[i].tolist() == order + [-1] * (g - len(order))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), chunks=st.lists(st.integers(7, 400), min_size=2, max_size=2), m=st.sampled_from([0, 2]))
def test_chunk_size_never_changes_anything(seed, chunks, m):
    query, gallery = unit(30, 33, seed=seed), unit(*([300, m, 33] if m else [300, 33]), seed=seed + 1)
    gallery[200:] = gallery[:100]  # identical pictures
    target = torch.randint(300, (30, 2), generator=torch.Generator().manual_seed(seed))
    results = [(target_ranks(query, gallery, target, chunk_size=c), *top_k(query, gallery, 20, chunk_size=c)) for c in chunks]
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert torch.equal(left, right)


def test_order_is_that_of_the_true_inner_products():
    """Exact rational arithmetic on the very rows given: neighbours in the ranking are out of order by less than the fixed point's step."""
    query, gallery = unit(1, 16), unit(60, 16, seed=1)
    rows = top_k(query, gallery, 60)[0][0].tolist()
    true = [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query[0], gallery[row], strict=True)) for row in rows]
    assert all(float(later - earlier) <= 16 * 2.0**-26 for earlier, later in zip(true, true[1:], strict=False))


def test_identical_rows_tie_and_the_smaller_row_wins():
    query, gallery = unit(50, 512), unit(3000, 512, seed=1)
    copies = [5, 700, 1400, 2999]
    gallery[copies] = gallery[5].clone()
    ranks = target_ranks(query, gallery, torch.tensor([copies] * 50), chunk_size=777)
    assert torch.equal(ranks - ranks[:, :1], torch.arange(4).expand(50, -1))


def test_moving_other_pictures_around_changes_nothing_without_ties():
    query, gallery = unit(40, 32), unit(200, 32, seed=1)
    target = torch.arange(40)
    shuffled = gallery.clone()
    shuffled[40:] = gallery[40:][torch.randperm(160, generator=torch.Generator().manual_seed(2))]
    assert torch.equal(target_ranks(query, gallery, target), target_ranks(query, shuffled, target))


def test_collapsed_model_ranks_by_row_so_chance_is_chance():
    query, gallery = unit(1, 64).expand(700, -1), unit(1, 64).expand(5000, -1)
    target = torch.arange(700) * 7
    assert torch.equal(target_ranks(query, gallery, target), target + 1)
    rows, scores = top_k(query[:3], gallery, 10)
    assert torch.equal(rows, torch.arange(10).expand(3, -1))
    torch.testing.assert_close(scores, torch.ones(3, 10))


def test_top_k_survives_more_near_ties_than_it_keeps():
    """Rounding noise of fp32 exceeds the differences of 400 nearly equal pictures: the float64 path must put them in order."""
    query = unit(5, 128)
    gallery = unit(1, 128, seed=1) + 1e-7 * unit(400, 128, seed=2)
    rows, _ = top_k(query, gallery, 30, chunk_size=90)
    everyone = torch.arange(400).expand(5, -1)
    ranks = target_ranks(query, gallery, everyone)
    assert torch.equal(ranks.gather(1, rows), torch.arange(1, 31).expand(5, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_widened_or_narrowed_first(dtype):
    query, gallery, target = unit(20, 48).to(dtype), unit(150, 48, seed=1).to(dtype), torch.arange(20)
    assert torch.equal(target_ranks(query, gallery, target), target_ranks(query.float(), gallery.float(), target))


def test_lengths_of_rows_do_not_matter_to_exactness():
    query, gallery, target = whole(9, 6), whole(80, 6, seed=1), torch.arange(9)
    assert torch.equal(target_ranks(query, gallery, target), target_ranks(query * 2.0**12, gallery * 2.0**-9, target))


def test_exclusion_removes_rows_and_counts_repeats_once():
    query, gallery = unit(6, 16), unit(50, 16, seed=1)
    orders = [sorted_rows(query[i], gallery) for i in range(6)]
    target = torch.tensor([order[10] for order in orders])
    exclude = torch.tensor([[order[2], order[2], order[20], -1] for order in orders])
    assert target_ranks(query, gallery, target, exclude).tolist() == [10] * 6
    assert target_ranks(query, gallery, target, exclude[:, 0]).tolist() == [10] * 6
    assert (top_k(query, gallery, 50, exclude)[0] == -1).sum(dim=1).tolist() == [2] * 6


def test_candidates_compete_only_with_each_other():
    query, gallery = whole(30, 3), whole(90, 3, seed=1)
    candidates = torch.stack([torch.randperm(90, generator=torch.Generator().manual_seed(i))[:7] for i in range(30)])
    candidates[:, 5] = -1
    candidates[:, 6] = candidates[:, 0]
    target = candidates[:, 2].clone()
    target[4] = -1
    ranks = candidate_ranks(query, gallery, target, candidates)
    ordered, scores = order_candidates(query, gallery, candidates)
    for i in range(30):
        expected = [row for row in sorted_rows(query[i], gallery) if row in candidates[i].tolist()]
        assert ordered[i].tolist() == [*expected, -1, -1]
        assert ranks[i] == (expected.index(int(target[i])) + 1 if target[i] >= 0 else 0)
        torch.testing.assert_close(scores[i, :5], (gallery[ordered[i, :5]] @ query[i]))


def test_no_more_than_a_tile_of_scores_exists(monkeypatch):
    sizes = []
    original = reference.tile_scores
    monkeypatch.setattr(reference, "tile_scores", lambda *args: sizes.append((r := original(*args)).numel()) or r)
    target_ranks(unit(1300, 8), unit(900, 8, seed=1), torch.arange(900).repeat(2)[:1300], chunk_size=100)
    assert max(sizes) <= 512 * 100
    assert sum(sizes) == 1300 * 900


def test_a_product_less_precise_than_fp32_is_noticed(monkeypatch):
    original = reference.tile_scores
    monkeypatch.setattr(reference, "tile_scores", lambda q, g, out: original(q.bfloat16().to(q.dtype), g.bfloat16().to(g.dtype), out))
    with pytest.raises(RuntimeError, match="less precise than fp32"):
        target_ranks(unit(50, 64), unit(200, 64, seed=1), torch.arange(50))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(bad):
    query, gallery = unit(5, 8), unit(9, 8, seed=1)
    query[3, 2] = bad
    with pytest.raises(InputError, match="query row 3"):
        target_ranks(query, gallery, torch.arange(5))
    gallery[7, 0] = bad
    with pytest.raises(InputError, match="gallery row 7"):
        top_k(unit(5, 8), gallery, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.tensor([0, 9, 1])}, "target of query row 1 is gallery row 9"),
        ({"target": torch.tensor([0, 1])}, "one line for each of 3 queries"),
        ({"target": torch.tensor([0.0, 1.0, 2.0])}, "whole numbers"),
        ({"exclude": torch.tensor([4, 1, 4])}, "query row 1 excludes its own positive"),
        ({"gallery": unit(9, 5)}, "do not fit"),
        ({"gallery": unit(0, 4)}, "gallery is empty"),
        ({"chunk_size": 0}, "chunk size 0"),
        ({"query": torch.ones(3, 4, dtype=torch.int64)}, "floating point"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    arguments = {"query": unit(3, 4), "gallery": unit(9, 4, seed=1), "target": torch.tensor([0, 1, 2])} | change
    with pytest.raises(InputError, match=message) as caught:
        target_ranks(**arguments)
    assert "\n" not in str(caught.value)


def test_top_k_larger_than_the_gallery_is_refused():
    with pytest.raises(InputError, match="top 10 of a gallery of 9"):
        top_k(unit(3, 4), unit(9, 4), 10)


def test_settings_of_torch_are_left_as_they_were():
    before = torch.get_float32_matmul_precision()
    target_ranks(unit(3, 4), unit(9, 4), torch.arange(3))
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_the_same_ranks():
    query, gallery, target = unit(100, 512), unit(5000, 512, seed=1), torch.arange(100)
    expected = target_ranks(query, gallery, target)
    assert torch.equal(target_ranks(query.cuda(), gallery.cuda(), target).cpu(), expected)
    assert torch.equal(target_ranks(query.cuda(), gallery, target).cpu(), expected)  # gallery stays in main memory
