"""Our numbers on the public benchmarks beside published ones: one table per benchmark, with the source and the split of every row."""

from collections.abc import Mapping, Sequence

import pandas as pd

from cirlib.data.published import PublishedTable
from cirlib.evaluation.comparisons import group_by_method, mean_of_independent, pooled
from cirlib.evaluation.intervals import Interval, mean_interval
from cirlib.types import Report
from cirlib.viz.results import metric_name

METRICS: Mapping[str, Sequence[str]] = {
    "fashioniq": ("recall@10", "recall@50"),
    "cirr": ("recall@1", "recall@5", "recall@10", "recall@50", "recall_subset@1"),
    "circo": ("map@5", "map@10", "map@25", "map@50"),
}
"""What papers report on each benchmark."""


def public_estimates(
    rankings: Mapping[str, Sequence[Report]], benchmark: str, *, resamples: int = 10_000, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Our estimates on one benchmark: method to metric to interval, seeds pooled.

    Args:
        rankings: Benchmark key to reports, from `cirlib.results.load_rankings`.
        benchmark: "fashioniq", "cirr" or "circo".
        resamples: As in `intervals.mean_interval`, and so is `seed`.

    Returns:
        FashionIQ's categories as "dress/recall@10" and their mean, each category counted the same, as "recall@10"; only of methods that
        were evaluated on every part. Empty where nothing was evaluated.
    """
    parts = {key: group_by_method(reports) for key, reports in rankings.items() if reports[0].fingerprint["benchmark"] == benchmark}
    found: dict[str, dict[str, Interval]] = {}
    for method in next(iter(parts.values()), {}):
        if not all(method in groups for groups in parts.values()):
            continue
        found[method] = {}
        for metric in METRICS[benchmark]:
            each = {key: mean_interval(pooled(groups[method], metric), resamples=resamples, seed=seed) for key, groups in parts.items()}
            names = {key: groups[method][0].fingerprint.get("part", "") for key, groups in parts.items()}
            found[method] |= {f"{names[key]}/{metric}": interval for key, interval in each.items() if names[key]}
            found[method][metric] = mean_of_independent(list(each.values()))
    return found


def public_table(published: PublishedTable, ours: Mapping[str, Mapping[str, Interval]], split: str) -> pd.DataFrame:
    """Published rows first, ours after them, as texts in percent; ours with intervals.

    Args:
        published: From `cirlib.data.published.load_published`.
        ours: From `public_estimates`.
        split: That ours were measured on; where it is not the published one, the column "split" shows that rows cannot be compared.

    Returns:
        Columns method, who, setting, backbone, split, one per metric, source. A number that nobody gave is a dash.
    """
    known = [*(name for row in published.rows for name in row.values), *(name for values in ours.values() for name in values)]
    columns = [name for name in dict.fromkeys(known) if name.partition("/")[2] in METRICS[published.benchmark]]
    columns += list(METRICS[published.benchmark])
    rows = []
    for row in published.rows:
        cells = {_named(name): f"{100 * row.values[name]:.2f}" if name in row.values else "-" for name in columns}
        facts = {"method": row.method, "who": "published", "setting": row.setting, "backbone": row.backbone, "split": published.split}
        rows.append({**facts, **cells, "source": f"{row.source} ({row.read})"})
    for method, values in ours.items():
        cells = {_named(name): _with_ends(values[name]) if name in values else "-" for name in columns}
        facts = {"method": method, "who": "this repository", "setting": "see the main table", "backbone": "of the profile", "split": split}
        rows.append({**facts, **cells, "source": "this run"})
    return pd.DataFrame(rows)


def _named(name: str) -> str:
    part, _, metric = name.rpartition("/")
    return f"{part} {metric_name(metric)} (%)".strip()


def _with_ends(interval: Interval) -> str:
    return f"{100 * interval.mean:.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
