import numpy as np
import pytest

from cirlib.data.published import load_published
from cirlib.evaluation.intervals import mean_interval
from cirlib.types import Report
from cirlib.viz.published import METRICS, public_estimates, public_table


def report(method, benchmark, part, values, seed=0):
    rng = np.random.default_rng(seed)
    per_query = {metric: (rng.random(40) < values).astype(float) for metric in METRICS[benchmark]}
    fingerprint = {"benchmark": benchmark, "split": "val", "part": part}
    return Report(method, tuple(map(str, range(40))), np.ones(40, int), per_query, np.zeros((40, 1), int), fingerprint)


@pytest.fixture
def rankings():
    parts = {"dress": 0.2, "shirt": 0.4, "toptee": 0.6}
    made = {f"fashioniq-val-{part}": [report("ours", "fashioniq", part, share, 1)] for part, share in parts.items()}
    made["fashioniq-val-dress"].append(report("half", "fashioniq", "dress", 0.5))
    return {
        **made,
        "cirr-val": [report("ours", "cirr", "", 0.3, seed) for seed in (0, 1)],
    }


def test_categories_count_the_same_and_a_part_of_them_does_not_count(rankings):
    found = public_estimates(rankings, "fashioniq", resamples=200)
    assert list(found) == ["ours"], "the mean of one category is no mean of three"
    each = [rankings[f"fashioniq-val-{part}"][0].per_query["recall@10"].mean() for part in ("dress", "shirt", "toptee")]
    ours = found["ours"]
    assert ours["recall@10"].mean == pytest.approx(np.mean(each)) and ours["shirt/recall@10"].mean == pytest.approx(each[1])
    assert ours["recall@10"].high - ours["recall@10"].low < ours["shirt/recall@10"].high - ours["shirt/recall@10"].low


def test_seeds_are_pooled(rankings):
    both = np.stack([one.per_query["recall@1"] for one in rankings["cirr-val"]])
    found = public_estimates(rankings, "cirr", resamples=300)["ours"]["recall@1"]
    expected = mean_interval(both, resamples=300)
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("name", list(METRICS))
def test_published_rows_keep_source_and_split(rankings, name):
    published, ours = load_published(name), public_estimates(rankings, name, resamples=100) if name != "cirr" else {}
    table = public_table(published, ours, "val")
    assert len(table) == len(published.rows) + len(ours)
    theirs = table[table["who"] == "published"]
    assert set(theirs["split"]) == {published.split} and all(source.endswith(")") for source in theirs["source"])
    assert not table.isna().any().any()


def test_numbers_stand_in_percent_with_our_intervals(rankings):
    table = public_table(load_published("fashioniq"), public_estimates(rankings, "fashioniq", resamples=200), "val").set_index("method")
    assert table.loc["Pix2Key", "R@10 (%)"] == "29.18" and table.loc["Pix2Key", "dress R@50 (%)"] == "47.19"
    assert "[" in table.loc["ours", "toptee R@10 (%)"] and table.loc["ours", "source"] == "this run"
    cirr = public_table(load_published("cirr"), {}, "val").set_index("method")
    assert cirr.loc["DQE-CIR", ["R@1 (%)", "R@10 (%)"]].tolist() == ["-", "91.58"]
