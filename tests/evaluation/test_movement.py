"""Queries in a space, against loops over queries and pictures."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from cirlib.evaluation.movement import cloud_gap, movement, relevance, relevance_of, similarity_groups
from cirlib.evaluation.neighbourhoods import picture_similarity
from cirlib.types import Benchmark, BenchmarkProtocol, Embeddings, ImageSet, InputError, Query

IDS = tuple(f"p{number:02d}" for number in range(20))
PICTURES = ImageSet(IDS, lambda image_id: Image.new("RGB", (4, 4)), lambda image_id: image_id)
QUERIES = (
    Query("q0", "p00", "redder", ("p03", "p04", "p05"), ("p03", "p06", "p04", "p07")),
    Query("q1", "p09", "longer", ("p01",), ()),
    Query("q2", "p19", "shorter", ("p02", "p18"), ("p02", "p17")),
)
BENCHMARK = Benchmark("toy", "test", QUERIES, PICTURES, PICTURES, BenchmarkProtocol(True, (1,)))


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def score(query, picture):
    return max(float(query @ vector) for vector in picture.reshape(-1, picture.shape[-1]))


@pytest.fixture(params=[(20, 6), (20, 3, 6)], ids=["one vector", "three vectors"])
def gallery(request):
    return Embeddings(IDS, unit(*request.param))


@pytest.fixture
def query():
    return Embeddings(tuple(q.id for q in QUERIES), unit(3, 6, seed=1))


def test_relevance_is_the_best_vector(gallery, query):
    table = relevance(query.rows, gallery.rows)
    for i, j in [(0, 0), (2, 19), (1, 7)]:
        assert float(table[i, j]) == pytest.approx(score(query.rows[i], gallery.rows[j]), abs=1e-6)
    torch.testing.assert_close(relevance_of(query.rows, gallery.rows[:3]), table[:, :3].diag(), atol=1e-6, rtol=0)


def test_movement_is_the_loop(gallery, query):
    similarity = picture_similarity(gallery.rows)
    found = movement(query, gallery, BENCHMARK, similarity)
    for row, asked in enumerate(QUERIES):
        start, end = IDS.index(asked.reference), IDS.index(asked.target)
        scores = [score(query.rows[row], picture) for picture in gallery.rows]
        assert found.turn[row] == pytest.approx(math.degrees(math.acos(scores[start])), abs=1e-3)
        assert found.reference[row] == 1 + sum(s > scores[start] for s in scores)
        others = [j for j in range(20) if j != start]
        assert found.after[row] == 1 + sum(scores[j] > scores[end] for j in others)
        assert found.before[row] == 1 + sum(similarity[start, j] > similarity[start, end] for j in others)


def test_a_query_that_stays_has_not_moved():
    gallery = Embeddings(IDS, unit(20, 6))
    query = Embeddings(("q0", "q1", "q2"), gallery.rows[[0, 9, 19]])
    found = movement(query, gallery, BENCHMARK, picture_similarity(gallery.rows))
    np.testing.assert_allclose(found.turn, 0, atol=0.05)
    assert (found.reference == 1).all() and (found.before == found.after).all()


def test_a_reference_outside_the_gallery_is_refused(query):
    some = PICTURES.select(IDS[:9])
    outside = Benchmark("toy", "test", QUERIES, some, PICTURES, BENCHMARK.protocol)
    rows = unit(9, 6)
    with pytest.raises(InputError, match=r"2 reference images.*'p09'"):
        movement(query, Embeddings(some.ids, rows), outside, picture_similarity(rows))


def test_gap_of_clouds_is_the_distance_of_their_means():
    first, second = unit(7, 2, 5), unit(4, 5, seed=2)
    means = [[sum(float(v[a]) for v in rows.reshape(-1, 5)) / rows.reshape(-1, 5).shape[0] for a in range(5)] for rows in (first, second)]
    assert cloud_gap(first, second) == pytest.approx(math.dist(*means), abs=1e-6)
    assert cloud_gap(first, first) == 0


def test_groups_hold_their_pictures(gallery, query):
    found = similarity_groups(query, gallery, BENCHMARK, seed=4)
    expected = {
        "target": [["p03"], ["p01"], ["p02"]],
        "other positives": [["p04", "p05"], [], ["p18"]],
        "look-alikes": [["p06", "p07"], [], ["p17"]],
    }
    for name, lists in expected.items():
        for row, ids in enumerate(lists):
            values = found[name][row]
            np.testing.assert_allclose(
                values[np.isfinite(values)], [score(query.rows[row], gallery.rows[IDS.index(i)]) for i in ids], atol=1e-6
            )
    for row, asked in enumerate(QUERIES):
        allowed = {round(score(query.rows[row], gallery.rows[j]), 5) for j, i in enumerate(IDS)
                   if i not in {asked.reference, *asked.positives, *asked.subset}}  # fmt: skip
        assert len(found["random"][row]) == 5 and {round(v, 5) for v in found["random"][row]} <= allowed
    again = similarity_groups(query, gallery, BENCHMARK, seed=4)["random"]
    np.testing.assert_array_equal(again, found["random"])
