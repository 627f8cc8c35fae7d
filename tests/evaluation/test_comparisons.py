"""Comparisons of methods against loops, their own parts, and cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from cirlib.evaluation import comparisons
from cirlib.evaluation.intervals import Interval, paired_interval
from cirlib.types import InputError, Report

FINGERPRINT = {"benchmark": "toy", "split": "test", "version": "1", "gallery_size": 9, "protocol": {}, "missing": {}}


def make(method: str, ranks, **metrics) -> Report:
    ids = tuple(f"q{position}" for position in range(len(ranks)))
    values = {name.replace("_at_", "@"): np.asarray(value, float) for name, value in metrics.items()}
    return Report(method, ids, np.asarray(ranks), values, np.zeros((len(ranks), 1), int), FINGERPRINT)


@pytest.fixture
def reports() -> list[Report]:
    rng = np.random.default_rng(0)
    names = ["sum", "ours", "ours", "chance"]
    return [make(name, rng.integers(1, 9, 40), recall_at_10=rng.integers(0, 2, 40)) for name in names]


def test_groups_keep_order_and_seeds(reports):
    groups = comparisons.group_by_method(reports)
    assert {name: len(group) for name, group in groups.items()} == {"sum": 1, "ours": 2, "chance": 1}
    assert list(groups) == ["sum", "ours", "chance"]


def test_pooling_averages_seeds_and_leaves_out_what_is_undefined():
    group = [make("a", [1, 1, 1], ac_at_10=[1, np.nan, np.nan]), make("a", [1, 1, 1], ac_at_10=[0, 0.5, np.nan])]
    np.testing.assert_array_equal(comparisons.pooled(group, "ac@10"), [0.5, 0.5, np.nan])
    with pytest.raises(InputError, match=r"'map@10' is not in the report of 'a'; it holds ac@10"):
        comparisons.pooled(group, "map@10")


def test_differences_are_the_paired_intervals_row_by_row(reports):
    groups = comparisons.group_by_method(reports)
    table = comparisons.differences(groups, "recall@10", "sum", skip=("chance",), resamples=500, seed=3)
    assert list(table["method"]) == ["ours"] and set(table["against"]) == {"sum"}
    ours = np.stack([report.per_query["recall@10"] for report in groups["ours"]])
    expected = paired_interval(ours, groups["sum"][0].per_query["recall@10"], resamples=500, seed=3)
    row = table.iloc[0]
    np.testing.assert_allclose([row["mean"], row["low"], row["high"]], [expected.mean, expected.low, expected.high], rtol=0, atol=1e-12)
    assert row["verdict"] == comparisons.verdict(expected)


def test_a_clear_gain_is_higher_and_its_mirror_lower():
    reports = [make("good", [1] * 50, recall_at_10=[1] * 45 + [0] * 5), make("bad", [9] * 50, recall_at_10=[0] * 50)]
    groups = comparisons.group_by_method(reports)
    assert list(comparisons.differences(groups, "recall@10", "bad", resamples=200)["verdict"]) == ["higher"]
    assert list(comparisons.differences(groups, "recall@10", "good", resamples=200)["verdict"]) == ["lower"]


def test_a_method_against_itself_is_inconclusive(reports):
    twin = replace(reports[0], method="twin")
    table = comparisons.differences({"sum": [reports[0]], "twin": [twin]}, "recall@10", "sum", resamples=200)
    assert table[["mean", "low", "high", "verdict"]].values.tolist() == [[0, 0, 0, "inconclusive"]]


def test_differences_without_rows_or_opponent(reports):
    groups = comparisons.group_by_method(reports)
    assert len(comparisons.differences(groups, "recall@10", "sum", skip=("ours", "chance"))) == 0
    with pytest.raises(InputError, match="no report of 'slerp' to compare with; there are sum, ours, chance"):
        comparisons.differences(groups, "recall@10", "slerp")


def test_other_protocols_are_refused(reports):
    other = replace(reports[1], fingerprint={**FINGERPRINT, "gallery_size": 3})
    with pytest.raises(InputError, match="gallery_size"):
        comparisons.differences({"sum": [reports[0]], "ours": [other]}, "recall@10", "sum")
    with pytest.raises(InputError, match="gallery_size"):
        comparisons.head_to_head([reports[0]], [other])


def test_head_to_head_by_loop():
    rng = np.random.default_rng(1)
    first, second = ([make(name, rng.integers(0, 5, 30)) for _ in range(seeds)] for name, seeds in (("a", 3), ("b", 2)))
    found = comparisons.head_to_head(first, second)
    for query in range(30):
        won = tied = 0
        for left in first:
            for right in second:
                a, b = (report.ranks[query] or 99 for report in (left, right))  # rank 0: behind everything
                won += a < b
                tied += a == b
        assert found["win"][query] == pytest.approx(won / 6) and found["tie"][query] == pytest.approx(tied / 6)
    np.testing.assert_allclose(sum(found.values()), 1)


def test_unranked_loses_against_any_rank_and_ties_with_unranked():
    found = comparisons.head_to_head([make("a", [0, 3, 0])], [make("b", [500, 0, 0])])
    assert [found[outcome].tolist() for outcome in ("win", "tie", "loss")] == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_independent_difference_matches_two_bootstraps():
    rng = np.random.default_rng(2)
    samples = [rng.binomial(n, p, 200_000) / n for n, p in ((400, 0.3), (250, 0.5))]
    ends = [Interval(p, *np.quantile(s, [0.025, 0.975])) for s, p in zip(samples, (0.3, 0.5), strict=True)]
    found = comparisons.independent_difference(*ends)
    np.testing.assert_allclose([found.low, found.high], np.quantile(samples[0] - samples[1], [0.025, 0.975]), atol=0.004)
    assert found.mean == pytest.approx(-0.2)
    mirrored = comparisons.independent_difference(ends[1], ends[0])
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_levels_must_agree():
    with pytest.raises(InputError, match="levels 0.95 and 0.9"):
        comparisons.independent_difference(Interval(0, 0, 0), Interval(0, 0, 0, 0.9))


def test_the_mean_of_parts_narrows_with_their_number():
    part = Interval(0.4, 0.3, 0.6)
    found = comparisons.mean_of_independent([part] * 4)
    assert (found.mean, round(found.low, 12), round(found.high, 12)) == (0.4, 0.35, 0.5)
    assert comparisons.mean_of_independent([part]) == part
    for wrong in ([], [part, Interval(0, 0, 0, 0.9)]):
        with pytest.raises(InputError, match="one or more of one level"):
            comparisons.mean_of_independent(wrong)


def test_queries_that_differ_most_are_those_of_a_loop():
    rng = np.random.default_rng(5)
    first = [make("a", rng.integers(0, 60, 30)) for _ in range(2)]
    second = [make("b", rng.integers(0, 60, 30)) for _ in range(3)]
    worst = max(report.ranks.max() for report in (*first, *second))

    def mean_log(group, query):
        return np.mean([np.log(report.ranks[query] or worst + 1) for report in group])

    gaps = [mean_log(second, query) - mean_log(first, query) for query in range(30)]
    ahead = sorted((q for q in range(30) if gaps[q] > 0), key=lambda q: (-gaps[q], q))[:4]
    behind = sorted((q for q in range(30) if gaps[q] < 0), key=lambda q: (gaps[q], q))[:3]
    assert comparisons.most_different(first, second, 7).tolist() == ahead + behind


def test_where_one_method_is_never_ahead_the_other_fills_the_list():
    first, second = [make("a", [1, 1, 1, 2, 5])], [make("b", [9, 3, 1, 4, 50])]
    assert comparisons.most_different(first, second, 10).tolist() == [4, 0, 1, 3]
    assert comparisons.most_different(second, first, 2).tolist() == [4, 0]
    assert comparisons.most_different(first, first, 3).tolist() == []
    with pytest.raises(InputError, match="0 queries"):
        comparisons.most_different(first, second, 0)
