"""Scoring of ranking files: against a plain loop, and against every way in which a file can be wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.evaluation.protocols import find_list_problem, mean_by_aspect, score_lists, score_similarities, score_subset_lists
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, InputError, Query

NAMES = tuple("abcdefgh")


def _bench(protocol: BenchmarkProtocol, queries: tuple[Query, ...]) -> Benchmark:
    pictures = ImageSet(NAMES, lambda i: None, lambda i: "")
    return Benchmark("toy", "val", queries, pictures, pictures, protocol)


QUERIES = (
    Query("0", "a", "x", ("b", "c"), ("b", "c", "d"), aspects=("one", "two")),
    Query("1", "b", "x", ("h",), ("h", "a"), aspects=("two",)),
)
TOY = _bench(BenchmarkProtocol(True, (1, 3), map_at=(3,), subset_at=(1,)), QUERIES)
GOOD = {"0": ["d", "c", "b"], "1": ["h", "a", "c"]}


def test_lists_by_hand() -> None:
    scores = score_lists(TOY, GOOD)
    assert {name: values.tolist() for name, values in scores.items()} == {
        "recall@1": [0.0, 1.0],
        "recall@3": [1.0, 1.0],
        "map@3": [pytest.approx((1 / 2 + 2 / 3) / 2), 1.0],
    }
    assert mean_by_aspect(QUERIES, scores["recall@1"]) == {"one": 0.0, "two": 0.5}


@given(st.integers(0, 2**32 - 1))
def test_lists_match_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries = []
    for i in range(5):
        order = rng.permutation(8)
        queries.append(Query(str(i), NAMES[order[0]], "x", tuple(NAMES[j] for j in order[1 : 2 + rng.integers(3)])))
    rankings = {q.id: [NAMES[j] for j in rng.permutation(8) if NAMES[j] != q.reference][: 5 + rng.integers(3)] for q in queries}
    scores = score_lists(_bench(BenchmarkProtocol(True, (1, 5), map_at=(2, 5)), tuple(queries)), rankings)
    for row, query in enumerate(queries):
        for k in (1, 5):
            assert scores[f"recall@{k}"][row] == (query.target in rankings[query.id][:k])
        for k in (2, 5):
            hits, total = 0, 0.0
            for place, name in enumerate(rankings[query.id][:k], start=1):
                if name in query.positives:
                    hits += 1
                    total += hits / place
            assert scores[f"map@{k}"][row] == pytest.approx(total / min(len(query.positives), k))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1": None}, "query '1' has no ranking"),
        ({"9": ["b"]}, "query '9' is not in toy val"),
        ({"1": ["h", "a"]}, "query '1': 2 images listed, at least 3"),
        ({"1": ["h", "a", "h"]}, "query '1': image 'h' at place 3 is listed twice"),
        ({"1": ["h", "z", "a"]}, "query '1': image 'z' at place 2 is not among the 8 candidates"),
        ({"0": ["d", "a", "b"]}, "query '0': place 2 is the reference 'a'"),
    ],
)
def test_wrong_lists_name_the_query(change: dict, message: str) -> None:
    rankings = {key: names for key, names in (GOOD | change).items() if names is not None}
    with pytest.raises(InputError, match=message):
        score_lists(TOY, rankings)


def test_unknown_gallery_accepts_any_id_but_no_repeat() -> None:
    assert score_lists(TOY, GOOD | {"1": ["z", "y", "h"]}, known=())["recall@3"].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="listed twice"):
        score_lists(TOY, GOOD | {"1": ["z", "z", "h"]}, known=())


def test_subset_lists() -> None:
    assert score_subset_lists(TOY, {"0": ["b", "d"], "1": ["a"]})["recall_subset@1"].tolist() == [1.0, 0.0]
    with pytest.raises(InputError, match="query '1': image 'c' at place 1 is not among the 2 candidates"):
        score_subset_lists(TOY, {"0": ["b"], "1": ["c"]})
    with pytest.raises(InputError, match="no subset metric"):
        score_subset_lists(_bench(BenchmarkProtocol(False, (1,)), QUERIES), {})


def test_hidden_targets_are_refused() -> None:
    with pytest.raises(InputError, match="query '0' of toy val has no public target"):
        score_lists(_bench(BenchmarkProtocol(False, (1,)), (Query("0", "a", "x"),)), {"0": ["b"]})


def _task(n_queries: int, n_candidates: int = 8) -> Benchmark:
    queries = tuple(Query(f"t-{i}", "a", "x", NAMES[:1], NAMES[:n_candidates]) for i in range(n_queries))
    return _bench(BenchmarkProtocol(False, (1, 2, 3), candidates="subset"), queries)


def test_a_collapsed_model_scores_exactly_chance() -> None:
    scores = score_similarities(_task(4), np.full((4, 8), 0.3, dtype=np.float16))
    assert [scores[f"recall@{k}"].mean() for k in (1, 2, 3)] == [1 / 8, 2 / 8, 3 / 8]


@given(st.integers(0, 2**32 - 1))
def test_ties_are_the_mean_over_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 3, (6, 5)).astype(np.float32)
    scores = score_similarities(_task(6, 5), matrix)
    for k in (1, 2, 3):
        for row in range(6):
            better, tied = int((matrix[row, 1:] > matrix[row, 0]).sum()), int((matrix[row, 1:] == matrix[row, 0]).sum())
            hits = [better + place <= k for place in range(1, tied + 2)]  # every place that the target can take among the tied
            assert scores[f"recall@{k}"][row] == pytest.approx(np.mean(hits))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 7)), r"shape \(3, 7\) given; it must be \(3, 8\)"),
        (np.zeros(8), "it must be"),
        (np.array([[0.0] * 8, [0.0] * 7 + [np.nan], [0.0] * 8]), "query 't-1' has a similarity that is not a finite number"),
        (np.full((3, 8), "x"), "they must be numbers"),
    ],
)
def test_wrong_matrices(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_similarities(_task(3), matrix)


def test_list_problems_in_words() -> None:
    assert find_list_problem(["a", "b"], 2, {"a", "b"}, None) == ""
    assert "reference 'b'" in find_list_problem(["a", "b"], 2, set(), "b")


@given(st.integers(0, 2**32 - 1))
def test_without_ties_it_is_sorting(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(6, 5))
    scores = score_similarities(_task(6, 5), matrix)
    order = np.argsort(-matrix, axis=1)
    for k in (1, 2, 3):
        assert scores[f"recall@{k}"].tolist() == (order[:, :k] == 0).any(axis=1).tolist()
