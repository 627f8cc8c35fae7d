"""Maps of spaces: axes against an eigendecomposition, placing against a search over the whole map."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from cirlib.evaluation.neighbourhoods import map_quality, picture_similarity
from cirlib.types import InputError
from cirlib.viz.layout import neighbour_map, place_queries, principal_axes


def heaps(count=3, each=40, d=8, seed=0):
    """Unit rows in well separated heaps, and the heap of each."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.eye(d)[torch.arange(count).repeat_interleave(each)]
    rows = middle + 0.15 * torch.randn(count * each, d, generator=generator)
    return rows / rows.norm(dim=1, keepdim=True), np.repeat(np.arange(count), each)


def test_axes_are_those_of_the_covariance():
    rows, _ = heaps()
    axes = principal_axes(rows)
    values, vectors = np.linalg.eigh(np.cov(rows.double().numpy().T))
    for place in (0, 1):
        assert abs(axes.directions[place] @ vectors[:, -1 - place]) == pytest.approx(1)
        assert axes.shares[place] == pytest.approx(values[-1 - place] / values.sum())
        assert axes.directions[place].max() == np.abs(axes.directions[place]).max()
    projected = axes.project(rows)
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(projected.var(0, ddof=1), values[[-1, -2]])


def test_of_several_vectors_the_mean_is_taken():
    rows = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(1))
    many, one = principal_axes(rows), principal_axes(rows.mean(1))
    np.testing.assert_allclose(many.project(rows), one.project(rows.mean(1)))


@pytest.mark.parametrize("rows", [torch.randn(2, 4), torch.ones(5, 4)])
def test_what_has_no_axes_is_refused(rows):
    with pytest.raises(InputError, match="three rows that differ"):
        principal_axes(rows)


def test_neighbours_keep_together_on_the_map_and_it_is_the_same_again():
    rows, heap = heaps()
    similarity = picture_similarity(rows)
    start = principal_axes(rows).project(rows)
    first = neighbour_map(similarity, start, perplexity=10)
    np.testing.assert_array_equal(first, neighbour_map(similarity, start, perplexity=10))
    distance = cdist(first, first)
    np.fill_diagonal(distance, np.inf)
    assert (heap[distance.argmin(1)] == heap).mean() > 0.98
    assert map_quality(similarity, first).kept.mean() > map_quality(similarity, start).kept.mean()
    with pytest.raises(InputError, match="perplexity 40"):
        neighbour_map(similarity, start, perplexity=40)


def objective(at, weights, positions):
    """Kullback-Leibler divergence of a query at a place, as a loop."""
    kernel = [1 / (1 + math.dist(at, p) ** 2) for p in positions]
    return sum(w * (math.log(w) - math.log(k / sum(kernel))) for w, k in zip(weights, kernel, strict=True) if w > 1e-12)


def test_a_query_stands_where_the_objective_is_least():
    from cirlib.viz.layout import _attraction

    rng = np.random.default_rng(2)
    positions = rng.normal(size=(40, 2)) * 6
    similarity = torch.from_numpy(rng.random((3, 40)))
    weights = _attraction(similarity)
    np.testing.assert_allclose([math.exp(-sum(w * math.log(w) for w in line if w > 0)) for line in weights.tolist()], 5, rtol=1e-3)
    for at, line in zip(place_queries(similarity, positions), weights.tolist(), strict=True):
        here = objective(at, line, positions)
        for way in rng.normal(size=(12, 2)):
            assert objective(at + 0.05 * way, line, positions) >= here - 1e-4


def test_a_picture_asked_for_stands_in_its_own_heap():
    rows, heap = heaps(seed=3)
    similarity = picture_similarity(rows)
    positions = neighbour_map(similarity, principal_axes(rows).project(rows), perplexity=10)
    others = similarity.clone().fill_diagonal_(-1)
    placed = place_queries(others[::8], positions)
    assert (heap[cdist(placed, positions).argmin(1)] == heap[::8]).mean() > 0.9
    with pytest.raises(InputError, match="as many of both"):
        place_queries(others[:, :30], positions)
