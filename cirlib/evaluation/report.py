"""Reports on disk, and two reports beside each other. Everything is per query, so any two runs can be compared later and elsewhere."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.evaluation.intervals import Interval, mean_intervals, median_rank_interval, paired_interval
from cirlib.types import InputError, Report

_MUST_AGREE = ("benchmark", "split", "part", "version", "gallery_size", "protocol", "missing")
_FORMAT = 1


@dataclass(frozen=True)
class Comparison:
    """One metric of two methods on the same queries; `difference` is first minus second, paired by query."""

    metric: str
    methods: tuple[str, str]
    first: Interval
    second: Interval
    difference: Interval


def save_report(report: Report, path: str | Path) -> Path:
    """Write a report as PATH.npz, complete, and PATH.json, means and fingerprint for reading. Each appears whole or not at all.

    Args:
        report: What `evaluate` returned.
        path: Where; an ending .npz is optional, folders are made.

    Returns:
        Path of the .npz.
    """
    path = _npz(path)
    means = {name: _mean(values) for name, values in report.per_query.items()}
    head = {"format": _FORMAT, "method": report.method, "means": means, "fingerprint": dict(report.fingerprint)}
    text = json.dumps(head, indent=1, default=_plain)
    arrays = {f"per_query/{name}": np.asarray(values) for name, values in report.per_query.items()}
    buffer = io.BytesIO()
    ids = np.array(report.query_ids, dtype=np.str_)
    np.savez_compressed(buffer, head=np.array(text), query_ids=ids, ranks=report.ranks, top=report.top, **arrays)
    with atomic_path(path) as draft:
        draft.write_bytes(buffer.getvalue())
    atomic_write_text(path.with_suffix(".json"), text + "\n")
    return path


def load_report(path: str | Path) -> Report:
    """Read what `save_report` wrote; raises InputError if the file is missing, cut short, or something else."""
    path = _npz(path)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            per_query = {name.removeprefix("per_query/"): file[name] for name in file.files if name.startswith("per_query/")}
            ids = tuple(str(query_id) for query_id in file["query_ids"])
            return Report(head["method"], ids, file["ranks"], per_query, file["top"], head["fingerprint"])
    except FileNotFoundError:
        raise InputError(f"no report at {path}; evaluate first, or give the path of an existing .npz") from None
    except Exception as error:  # zip, json and numpy each have their own way to say that a file is not theirs
        raise InputError(f"{path} is not a report of cirlib ({error}); remake it with save_report") from error


def check_comparable(reports: Sequence[Report]) -> None:
    """Raise InputError unless all reports answer the same queries under the same protocol; the message names what differs."""
    for other in reports[1:]:
        first = reports[0]
        for key in _MUST_AGREE:
            left, right = (json.dumps(report.fingerprint.get(key), sort_keys=True, default=_plain) for report in (first, other))
            if left != right:
                raise InputError(f"{first.method!r} and {other.method!r} differ in {key}: {left} and {right}; compare runs of one protocol")
        if first.query_ids != other.query_ids:
            raise InputError(f"{first.method!r} and {other.method!r} hold different queries; evaluate both on the same benchmark")


def compare(first: Report, second: Report, metric: str, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Two methods on one metric, with a paired interval of first - second.

    Raises:
        InputError: If the reports differ in protocol or queries, or lack the metric.
    """
    check_comparable([first, second])
    values = [_values(report, metric) for report in (first, second)]
    options = {"level": level, "resamples": resamples, "seed": seed}
    both = mean_intervals({"first": values[0], "second": values[1]}, **options)
    difference = paired_interval(*values, **options)
    return Comparison(metric, (first.method, second.method), both["first"], both["second"], difference)


def summary(
    reports: Iterable[Report], metrics: Sequence[str] | None = None, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """One row per method and metric: mean and interval. Reports of one method are its seeds and are pooled.

    Args:
        reports: Of one benchmark and protocol.
        metrics: Which, in this order; all metrics and "median_rank" without it.
        level: As in `intervals.mean_interval`, and so are `resamples` and `seed`.

    Returns:
        Columns method, metric, mean, low, high, seeds, spread, queries. Fractions in [0, 1] (median_rank: ranks); `spread` is the standard
        deviation of the mean over seeds, NaN for one seed; `queries` counts those for which the metric is defined.
    """
    reports = list(reports)
    check_comparable(reports)
    groups: dict[str, list[Report]] = {}
    for report in reports:
        groups.setdefault(report.method, []).append(report)
    options = {"level": level, "resamples": resamples, "seed": seed}
    rows = [row for method, group in groups.items() for row in _summary_of(method, group, metrics, options)]
    return pd.DataFrame(rows, columns=["method", "metric", "mean", "low", "high", "seeds", "spread", "queries"])


def _summary_of(method: str, group: list[Report], metrics: Sequence[str] | None, options: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(metrics) if metrics is not None else [*group[0].per_query, "median_rank"]
    tables = {name: np.stack([_values(report, name) for report in group]) for name in names if name != "median_rank"}
    defined = {name: table for name, table in tables.items() if np.isfinite(table).any()}
    intervals = mean_intervals(defined, **options)
    rows = []
    for name in names:
        if name == "median_rank":
            table = np.stack([report.ranks for report in group])
            interval = median_rank_interval(table, **options)
            per_seed = [float(np.median(np.where(ranks >= 1, ranks, np.inf))) for ranks in table]
        else:
            table = tables[name]
            interval = intervals.get(name, Interval(np.nan, np.nan, np.nan, options["level"]))
            per_seed = [_mean(values) for values in table]
        spread = float(np.std(per_seed, ddof=1)) if len(group) > 1 and np.isfinite(per_seed).all() else float("nan")
        queries = int(np.isfinite(table).any(axis=0).sum())
        estimate = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        rows.append({"method": method, "metric": name, **estimate, "seeds": len(group), "spread": spread, "queries": queries})
    return rows


def _values(report: Report, metric: str) -> np.ndarray:
    if metric not in report.per_query:
        raise InputError(f"metric {metric!r} is not in the report of {report.method!r}; it holds {', '.join(sorted(report.per_query))}")
    return report.per_query[metric]


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values)[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _npz(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
