"""Metrics against slow loops over ranked lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.evaluation.metrics import average_precision_at_k, composition_gain, median_rank, ndcg_at_k, ranks_in_lists, recall_at_k
from cirlib.types import InputError


def slow_average_precision(relevant, n_positives, k):
    """Walk down the list, average the precision at every hit."""
    hits, total = 0, 0.0
    for place, hit in enumerate(relevant[:k], start=1):
        hits += hit
        total += hits / place if hit else 0.0
    return total / min(n_positives, k)


def slow_ndcg(relevant, n_positives, k):
    gained = sum(1 / math.log2(place + 1) for place, hit in enumerate(relevant[:k], start=1) if hit)
    return gained / sum(1 / math.log2(place + 1) for place in range(1, min(n_positives, k) + 1))


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 3), st.randoms())
def test_ap_and_ndcg_equal_a_walk_down_the_list(relevant, k, n_missing, random):
    ranks = [place for place, hit in enumerate(relevant, start=1) if hit] + [0] * n_missing
    random.shuffle(ranks)
    if not ranks:
        ranks, n_missing = [0], 1
    table, count = np.array([ranks]), np.array([len(ranks)])
    assert average_precision_at_k(table, count, k)[0] == pytest.approx(slow_average_precision(relevant, len(ranks), k))
    assert ndcg_at_k(table, count, k)[0] == pytest.approx(slow_ndcg(relevant, len(ranks), k))


def test_perfect_ranking_scores_one_and_no_positives_is_undefined():
    ranks, count = np.array([[1, 2, 3], [0, 0, 0]]), np.array([3, 0])
    for metric in (average_precision_at_k, ndcg_at_k):
        for k in (1, 2, 3, 10):
            np.testing.assert_array_equal(metric(ranks, count, k), [1.0, np.nan])


def test_recall_counts_unranked_as_a_miss():
    np.testing.assert_array_equal(recall_at_k(np.array([0, 1, 5, 6]), 5), [0, 1, 1, 0])


def test_median_rank_of_mostly_unranked_targets_is_infinite():
    assert median_rank(np.array([0, 0, 3])) == math.inf
    assert median_rank(np.array([2, 4, 0, 6])) == 5.0
    with pytest.raises(InputError, match="no queries"):
        median_rank(np.array([], dtype=int))


def test_names_in_lists_become_ranks():
    ranks = ranks_in_lists([["a", "b", "a"], []], [["a", "z"], ["a"]])
    np.testing.assert_array_equal(ranks, [[1, 0], [0, 0]])
    with pytest.raises(InputError, match="2 rankings for 1 queries"):
        ranks_in_lists([[], []], [[]])


def test_gain_is_over_the_one_best_single_run():
    composed = np.array([1.0, 1.0, 0.0, 1.0])
    single = {"image": np.array([0.0, 0.0, 1.0, 0.0]), "text": np.array([1.0, 1.0, 0.0, 0.0])}
    gain = composition_gain(composed, single)
    np.testing.assert_array_equal(gain, [0, 0, 0, 1])
    assert gain.mean() == composed.mean() - max(values.mean() for values in single.values())
    with pytest.raises(InputError, match="no single-modality run"):
        composition_gain(composed, {})
    with pytest.raises(InputError, match="'text' has 3 queries"):
        composition_gain(composed, {"text": np.zeros(3)})


@pytest.mark.parametrize("metric", [lambda: recall_at_k(np.array([1]), 0), lambda: ndcg_at_k(np.array([[1]]), np.array([1]), -1)])
def test_cutoffs_start_at_one(metric):
    with pytest.raises(InputError, match="at least 1"):
        metric()
