"""Every way in which a tile is counted gives the same counts: blocks put aside, whole lines, and the tile in float64."""

import pytest
import torch

from cirlib.kernels import counting
from cirlib.kernels.reference import target_ranks


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def world(copies):
    """Queries near their targets and queries far from them, so that some lines are heavy; and copies of targets, which tie."""
    gallery = unit(1000, 24, seed=1)
    target = torch.randperm(900, generator=torch.Generator().manual_seed(2))[:80]
    query = unit(80, 24)
    query[:60] = torch.nn.functional.normalize(0.4 * query[:60] + gallery[target[:60]], dim=1)
    if copies:
        gallery[900:980] = gallery[target]
    return query, gallery, torch.stack([target, (target + 31) % 900, torch.full_like(target, -1)], dim=1)


def ranks_by_sorting(query, gallery, target):
    """Slow reference: whole numbers of 26 bits, multiplied in float64, sorted with ties by row."""
    scale = 2.0**26 / 2  # rows of length 1 lie below 1.25 * 2^exponent with exponent 0: the scale is 2^26 up to a power of two
    scores = (query * scale).round().double() @ (gallery * scale).round().double().T
    order = scores.argsort(dim=1, descending=True, stable=True)
    place = torch.empty_like(order).scatter_(1, order, torch.arange(1, len(gallery) + 1).expand_as(order))
    return torch.where(target >= 0, place.gather(1, target.clamp_min(0)), 0)


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("setting", [{}, {"_SPARSE": 1 << 20}, {"_SPARSE": 0}, {"_DENSE": 1 << 20}, {"_WAITING": 3}])
@pytest.mark.parametrize("chunk_size", [1, 50, 64, 4096])
def test_every_way_of_counting_gives_the_ranks_of_a_sort(monkeypatch, copies, setting, chunk_size):
    """Heavy lines only, no heavy lines, tiles in float64 as soon as anything is close, and blocks settled at once."""
    for name, value in setting.items():
        monkeypatch.setattr(counting, name, value)
    query, gallery, target = world(copies)
    ranks = target_ranks(query, gallery, target, chunk_size=chunk_size)
    assert torch.equal(ranks, ranks_by_sorting(query, gallery, target))
    assert (ranks[:60, 0] < 10).float().mean() > 0.5 and (ranks[60:, 0] > 100).any(), "light and heavy lines"


def test_rows_too_long_for_plain_products_are_taken_as_integers():
    query, gallery, target = world(copies=True)
    expected = target_ranks(query, gallery, target)
    for size in (2.0**50, 2.0**-50):
        assert torch.equal(target_ranks(query, gallery * size, target), expected)
