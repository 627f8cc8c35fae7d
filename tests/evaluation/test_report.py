"""Reports on disk and beside each other."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cirlib.evaluation.report import compare, load_report, save_report, summary
from cirlib.types import InputError, Report


def make_report(method="sum", seed=0, q=200, shift=0.0, **fingerprint):
    ranks = np.random.default_rng(seed).geometric(0.05 + shift, q)
    per_query = {"recall@10": (ranks <= 10).astype(float), "ac@10": np.where(np.arange(q) % 2, np.nan, 0.5)}
    known = {"benchmark": "atelier", "split": "val", "version": "1", "gallery_size": 9, "protocol": {"recall_at": (10,)}, "seed": seed}
    return Report(method, tuple(f"q{i}é" for i in range(q)), ranks, per_query, np.arange(2 * q).reshape(q, 2), known | fingerprint)


def test_a_report_survives_the_disk(tmp_path):
    report = make_report(checkpoint=np.float32(0.5))
    path = save_report(report, tmp_path / "new" / "sum.seed0")
    assert path == tmp_path / "new" / "sum.seed0.npz"
    assert sorted(p.name for p in path.parent.iterdir()) == ["sum.seed0.json", "sum.seed0.npz"]  # no temporary file stays
    loaded = load_report(path)
    assert (loaded.method, loaded.query_ids) == (report.method, report.query_ids)
    for left, right in [
        (loaded.ranks, report.ranks),
        (loaded.top, report.top),
        *((loaded.per_query[m], report.per_query[m]) for m in report.per_query),
    ]:
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    assert loaded.fingerprint["checkpoint"] == 0.5
    readable = json.loads(path.with_suffix(".json").read_text())
    assert readable["means"]["ac@10"] == 0.5
    compare(report, loaded, "recall@10")  # a tuple that became a list is still the same protocol


def test_a_failed_save_leaves_the_old_report(tmp_path, monkeypatch):
    path = save_report(make_report(seed=1), tmp_path / "r")
    monkeypatch.setattr("os.replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_report(make_report(seed=2), path)
    np.testing.assert_array_equal(load_report(path).ranks, make_report(seed=1).ranks)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".npz"]


def test_files_that_are_no_reports(tmp_path):
    with pytest.raises(InputError, match="no report at"):
        load_report(tmp_path / "absent.npz")
    cut = save_report(make_report(), tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:100])
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    for name in ("cut.npz", "other.npz"):
        with pytest.raises(InputError, match="is not a report of cirlib"):
            load_report(tmp_path / name)


def test_comparison_is_paired():
    better, worse = make_report("ours", shift=0.1), make_report("sum")
    result = compare(better, worse, "recall@10")
    assert result.difference.mean == pytest.approx(result.first.mean - result.second.mean)
    assert result.difference.excludes_zero
    backwards = compare(worse, better, "recall@10").difference
    assert (backwards.low, backwards.high) == (
        pytest.approx(-result.difference.high, abs=0.01),
        pytest.approx(-result.difference.low, abs=0.01),
    )


def test_only_the_same_queries_and_protocol_are_compared():
    report = make_report()
    with pytest.raises(InputError, match="differ in protocol"):
        compare(report, make_report(protocol={"recall_at": (10,), "exclude_reference": True}), "recall@10")
    with pytest.raises(InputError, match="different queries"):
        compare(report, replace(report, query_ids=tuple(f"x{i}" for i in range(200))), "recall@10")
    with pytest.raises(InputError, match="metric 'map@5' is not in the report of 'sum'; it holds ac@10, recall@10"):
        compare(report, report, "map@5")


def test_summary_pools_seeds():
    reports = [make_report("sum", seed) for seed in range(3)] + [make_report("ours", 9, shift=0.1)]
    table = summary(reports, resamples=500).set_index(["method", "metric"])
    row = table.loc[("sum", "recall@10")]
    means = [report.mean("recall@10") for report in reports[:3]]
    assert row["mean"] == pytest.approx(np.mean(means))
    assert row["spread"] == pytest.approx(np.std(means, ddof=1))
    assert (row["seeds"], row["queries"], table.loc[("sum", "ac@10")]["queries"]) == (3, 200, 100)
    assert row["low"] < row["mean"] < row["high"]
    assert np.isnan(table.loc[("ours", "recall@10")]["spread"])
    assert table.loc[("ours", "median_rank")]["mean"] == np.median(reports[3].ranks)
    assert list(summary(reports, ["median_rank"], resamples=50)["method"]) == ["sum", "ours"]


def test_summary_of_a_metric_that_is_never_defined():
    report = make_report()
    report = replace(report, per_query={"ac@10": np.full(200, np.nan)})
    row = summary([report], ["ac@10"]).iloc[0]
    assert np.isnan(row["mean"])
    assert row["queries"] == 0
