"""Neighbourhoods against plain loops over pictures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from cirlib.evaluation.neighbourhoods import chance_purity, map_quality, nearest, picture_similarity, purity, ranks_of
from cirlib.types import InputError


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def slow_similarity(left, right):
    ways = [[max(float(a @ b) for b in right) for a in left], [max(float(a @ b) for a in left) for b in right]]
    return sum(sum(way) / len(way) for way in ways) / 2


@pytest.mark.parametrize("vectors", [1, 3])
def test_similarity_is_the_loop_over_pairs_of_vectors(vectors):
    rows = unit(140, vectors, 5)  # more than a chunk
    found = picture_similarity(rows)
    for i, j in [(0, 0), (0, 1), (139, 5), (17, 128), (130, 131)]:
        assert float(found[i, j]) == pytest.approx(slow_similarity(rows[i], rows[j]), abs=1e-5)
    assert torch.allclose(found, found.T, atol=1e-6)


def test_one_vector_may_come_without_its_axis():
    rows = unit(12, 4)
    torch.testing.assert_close(picture_similarity(rows), picture_similarity(rows[:, None]), atol=1e-6, rtol=0)


def test_nearest_leaves_the_picture_out_and_breaks_ties_by_row():
    similarity = torch.ones(4, 4)
    assert nearest(similarity, 3).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    for k in (0, 4):
        with pytest.raises(InputError, match=f"{k} nearest of 3"):
            nearest(similarity, k)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_ranks_count_what_is_ahead(seed, levels):
    rng = np.random.default_rng(seed)
    table = torch.from_numpy(rng.integers(0, levels, (3, 8)).astype(np.float64))
    columns = rng.integers(0, 8, (3, 2))
    for line, chosen, ranks in zip(table.tolist(), columns, ranks_of(table, columns), strict=True):
        order = sorted(range(8), key=lambda c: (-line[c], c))
        assert [order.index(c) + 1 for c in chosen] == ranks.tolist()


def slow_quality(similarity, positions, k):
    """Kept share, trustworthiness and continuity by sorting lists."""
    n, distances = len(positions), [[math.dist(a, b) for b in positions] for a in positions]
    space = [sorted((j for j in range(n) if j != i), key=lambda j: (-similarity[i][j], j)) for i in range(n)]
    plane = [sorted((j for j in range(n) if j != i), key=lambda j: (distances[i][j], j)) for i in range(n)]
    kept = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(space, plane, strict=True)]
    scale, values = 2 / (n * k * (2 * n - 3 * k - 1)), []
    for shown, real in ((plane, space), (space, plane)):
        values.append(1 - scale * sum(max(0, real[i].index(j) + 1 - k) for i in range(n) for j in shown[i][:k]))
    return kept, *values


@pytest.mark.parametrize("k", [1, 5])
def test_quality_of_a_map_is_the_loop(k):
    rows = unit(40, 6, seed=3)
    similarity, positions = picture_similarity(rows), rows[:, :2].double().numpy()
    found = map_quality(similarity, positions, k)
    kept, trust, continuity = slow_quality(similarity.tolist(), positions, k)
    np.testing.assert_allclose(found.kept, kept)
    assert (found.trustworthiness, found.continuity) == (pytest.approx(trust), pytest.approx(continuity))
    assert found.trustworthiness == pytest.approx(
        sklearn_trustworthiness((1 - similarity.numpy()).clip(0), positions, n_neighbors=k, metric="precomputed")
    )


def test_a_faithful_map_keeps_everything_and_a_shuffled_one_little():
    angles = 1.5 * torch.linspace(0, 1, 60) ** 1.3  # uneven steps: no ties
    rows = torch.stack([angles.cos(), angles.sin()], 1)
    faithful = map_quality(picture_similarity(rows), rows.double().numpy(), 5)
    assert faithful.kept.min() == faithful.trustworthiness == faithful.continuity == 1
    shuffled = map_quality(picture_similarity(rows), rows.double().numpy()[np.random.default_rng(0).permutation(60)], 5)
    assert shuffled.kept.mean() < 0.25 and 0.3 < shuffled.trustworthiness < 0.7


@pytest.mark.parametrize(("positions", "k"), [(10, 5), (10, 0), (9, 2)])
def test_too_many_neighbours_are_refused(positions, k):
    with pytest.raises(InputError, match="below half"):
        map_quality(picture_similarity(unit(10, 3)), np.zeros((positions, 2)), k)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=6, max_size=12), st.integers(0, 99))
def test_purity_and_chance_are_loops(values, seed):
    n, rng = len(values), np.random.default_rng(seed)
    neighbours = np.stack([rng.permutation([j for j in range(n) if j != i])[:4] for i in range(n)])
    groups = rng.integers(0, 2, n)
    for i, (share, any_other, same_group) in enumerate(
        zip(purity(neighbours, values), chance_purity(values), chance_purity(values, groups), strict=True)
    ):
        pools = neighbours[i], [j for j in range(n) if j != i], [j for j in range(n) if j != i and groups[j] == groups[i]]
        for found, pool in zip((share, any_other, same_group), pools, strict=True):
            counted = [values[j] == values[i] for j in pool if values[j] is not None] if values[i] is not None else []
            assert (np.isnan(found) and not counted) or found == pytest.approx(np.mean(counted))
