"""Exact scores: the same bits by every route, and an fp32 product within the margin."""

import pytest
import torch

from cirlib.kernels.exact import fixed_point, margin, pair_scores, tile_scores

CPU = torch.device("cpu")


@pytest.mark.parametrize("dim", [1, 7, 512, 1024])
@pytest.mark.parametrize("vectors", [0, 3])
@pytest.mark.parametrize("length", [1.0, 1e-6, 3e4])
def test_pairs_and_tiles_agree_to_the_bit(dim, vectors, length):
    generator = torch.Generator().manual_seed(dim)
    query = length * torch.nn.functional.normalize(torch.randn(11, dim, generator=generator), dim=-1)
    gallery = length * torch.nn.functional.normalize(
        torch.randn(*([23, vectors, dim] if vectors else [23, dim]), generator=generator), dim=-1
    )
    left, right = fixed_point(query, "query", CPU), fixed_point(gallery, "gallery", CPU)
    rows = torch.cartesian_prod(torch.arange(11), torch.arange(23))
    pairs = pair_scores(left, right, rows[:, 0], rows[:, 1]).view(11, 23)
    block, chunk = left.take(slice(None)), right.take(slice(None))
    tile = tile_scores(block.double(), chunk.double())
    backwards = tile_scores(block.double().flip(-1), chunk.double().flip(-1))  # another order of addition
    assert torch.equal(pairs, tile)
    assert torch.equal(tile, backwards)
    assert torch.equal(tile, tile.round())
    assert float((tile_scores(block, chunk).double() - tile).abs().max()) <= margin(left, right)
    truth = (query.double() @ gallery.double().flatten(0, -2).T).view(11, 23, -1).amax(dim=-1)
    assert float((tile / (left.scale * right.scale) - truth).abs().max()) <= 2 * dim**0.5 * 2.0**-26 * length**2


def test_rows_of_zeros_score_zero():
    left = fixed_point(torch.zeros(2, 4), "query", CPU)
    assert torch.equal(pair_scores(left, left, torch.tensor([0]), torch.tensor([1])), torch.zeros(1, dtype=torch.float64))
