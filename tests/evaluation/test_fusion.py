"""Fusion against slow loops over every query and picture, ties and excluded references included."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.data.atelier import load_atelier
from cirlib.evaluation import fusion
from cirlib.evaluation.evaluate import evaluate, evaluate_scores
from cirlib.methods.baselines import Chance
from cirlib.types import Embeddings, InputError

NAMES = ("a", "b", "c")


class Coarse(Chance):
    """Random directions of few values, so that many pictures tie, and several vectors a picture where asked."""

    def __init__(self, seed=0, vectors=0):
        super().__init__(seed, dim=3)
        self.vectors = vectors

    def _directions(self, count, stream):
        rng = np.random.default_rng([self.seed, stream])
        shape = (count, self.vectors, 3) if self.vectors and not stream else (count, 3)
        rows = torch.from_numpy(rng.integers(-1, 2, shape)).float()
        rows[..., 0] += (rows == 0).all(dim=-1)
        return torch.nn.functional.normalize(rows, dim=-1)


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("val", 64, 12)


def places(scores, excluded):
    """Rank of every picture by a loop: better ones and equal ones of smaller row come before."""
    ranks = []
    for row, score in enumerate(scores):
        before = [r for r, s in enumerate(scores) if r != excluded and (s > score or (s == score and r < row))]
        ranks.append(len(before) + 1)
    return ranks


scores_of = st.integers(0, 2**16).map(lambda seed: np.random.default_rng(seed).integers(0, 4, (3, 6)).astype(float))


@settings(max_examples=30)
@given(scores_of, st.lists(st.integers(-1, 5), min_size=3, max_size=3), st.sampled_from([0.0, 1.0, 60.0]))
def test_reciprocal_ranks_are_those_of_a_loop(scores, exclude, smoothing):
    gained = fusion.reciprocal_ranks(scores, np.array(exclude), smoothing)
    for line, excluded in enumerate(exclude):
        slow = [1 / (smoothing + rank) for rank in places(scores[line], excluded)]
        if excluded >= 0:
            slow[excluded] = 0.0
        np.testing.assert_allclose(gained[line], slow, rtol=1e-15)


@settings(max_examples=30)
@given(scores_of, st.lists(st.integers(-1, 5), min_size=3, max_size=3))
def test_standard_scores_are_centred_over_the_candidates(scores, exclude):
    found = fusion.standard_scores(scores, np.array(exclude))
    for line, excluded in enumerate(exclude):
        kept = [row for row in range(6) if row != excluded]
        values = scores[line, kept]
        slow = (values - values.mean()) / values.std() if values.std() > 0 else np.zeros(len(kept))
        np.testing.assert_allclose(found[line, kept], slow, atol=1e-12)
        assert excluded < 0 or found[line, excluded] == 0
    again = fusion.standard_scores(3 * scores - 7, np.array(exclude))
    np.testing.assert_allclose(again, found, atol=1e-12)  # neither unit nor offset of a system matters


def test_the_grid_holds_every_combination_once_and_starts_even():
    grid = fusion.weight_grid(3, 4)
    assert len(grid) == len(set(grid)) == 15 and all(abs(sum(weights) - 1) < 1e-12 for weights in grid)
    assert {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)} == set(grid[-3:])
    assert max(grid[0]) == 0.5


def test_weights_are_the_best_of_a_slow_search():
    rng = np.random.default_rng(0)
    target, exclude = rng.integers(0, 8, 20), np.full(20, -1)
    parts = {name: rng.normal(size=(20, 8)) for name in NAMES}
    parts["b"][np.arange(20), target] += 1.5
    tuned = fusion.tune_fusion(parts, target, exclude, k=2, steps=4)
    slow = {}
    for weights in fusion.weight_grid(3, 4):
        summed = sum(weight * part for weight, part in zip(weights, parts.values(), strict=True))
        slow[weights] = np.mean([places(summed[q], -1)[target[q]] <= 2 for q in range(20)])
    assert tuned.tried == slow and tuned.score == max(slow.values()) >= slow[0.0, 1.0, 0.0]
    assert tuple(tuned.weights.values()) == next(weights for weights, score in slow.items() if score == tuned.score)


@pytest.mark.parametrize("vectors", [0, 2])
def test_scores_of_one_system_give_its_own_report(benchmark, vectors):
    """Many ties: the matrix and the streamed ranking agree in every rank, list and metric."""
    method = Coarse(1, vectors)
    report, scores = evaluate(method, benchmark), fusion.method_scores(method, benchmark)
    again = evaluate_scores("chance", scores, benchmark)
    np.testing.assert_array_equal(again.ranks, report.ranks)
    np.testing.assert_array_equal(again.top, report.top)
    assert set(again.per_query) == set(report.per_query)
    for metric, values in report.per_query.items():
        np.testing.assert_array_equal(again.per_query[metric], values, err_msg=metric)
    own = ("seed", "kernels")  # scores were ranked as they are, by no kernel
    assert {k: v for k, v in again.fingerprint.items() if k not in own} == {k: v for k, v in report.fingerprint.items() if k not in own}


def test_a_single_weight_is_the_single_system(benchmark):
    method = Coarse(2)
    target, exclude = fusion.target_rows(benchmark)
    scores = [fusion.method_scores(method, benchmark), fusion.method_scores(Coarse(3), benchmark)]
    report = evaluate(method, benchmark)
    assert [benchmark.gallery.ids[row] for row in target] == [query.target for query in benchmark.queries]
    for change in (fusion.reciprocal_ranks, fusion.standard_scores):
        fused = fusion.fuse([change(part, exclude) for part in scores], (1, 0))
        np.testing.assert_array_equal(evaluate_scores("one", fused, benchmark).ranks, report.ranks)


def test_bad_input_is_refused(benchmark):
    scores = np.zeros((2, 3))
    with pytest.raises(InputError, match="smoothing -1 given"):
        fusion.reciprocal_ranks(scores, smoothing=-1)
    for parts, weights in (([scores], (0.5, 0.5)), ([scores], (-1,)), ([], ()), ([scores, scores[:1]], (0.5, 0.5))):
        with pytest.raises(InputError, match="one weight of 0 or more"):
            fusion.fuse(parts, weights)
    with pytest.raises(InputError, match="0 systems"):
        fusion.weight_grid(0)
    with pytest.raises(InputError, match=r"scores of shape \(2, 3\) for atelier; give \(12, 64\)"):
        evaluate_scores("x", scores, benchmark)
    with pytest.raises(InputError, match="not a number"):
        evaluate_scores("x", np.full((12, 64), np.nan), benchmark)


def test_embedding_scores_are_inner_products():
    rng = np.random.default_rng(3)
    query, gallery = (torch.from_numpy(rng.normal(size=shape)).float() for shape in ((4, 5), (300, 2, 5)))
    found = fusion.embedding_scores(Embeddings(tuple("abcd"), query), Embeddings(tuple(map(str, range(300))), gallery))
    slow = np.einsum("qd,gmd->qgm", query.double().numpy(), gallery.double().numpy()).max(axis=2)
    np.testing.assert_allclose(found, slow, atol=1e-6)
