"""Methods beside methods: seeds pooled, differences paired by query, wins and losses, and what many intervals at once mean."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from cirlib.evaluation.intervals import Interval, mean_intervals
from cirlib.evaluation.report import check_comparable
from cirlib.types import InputError, Report


def group_by_method(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """Reports by name of method, in the order in which names first occur; several reports of one method are its seeds."""
    groups: dict[str, list[Report]] = {}
    for report in reports:
        groups.setdefault(report.method, []).append(report)
    return groups


def pooled(group: Sequence[Report], metric: str) -> Float[np.ndarray, " q"]:
    """One metric per query, averaged over the seeds of a method; NaN where no seed has a value.

    Raises:
        InputError: If a report lacks the metric.
    """
    for report in group:
        if metric not in report.per_query:
            raise InputError(f"metric {metric!r} is not in the report of {report.method!r}; it holds {', '.join(sorted(report.per_query))}")
    table = np.stack([np.asarray(report.per_query[metric], dtype=np.float64) for report in group])  # (s, q)
    defined = np.isfinite(table)
    weight = defined.sum(axis=0)
    return np.divide(np.where(defined, table, 0.0).sum(axis=0), weight, out=np.full(table.shape[1], np.nan), where=weight > 0)


def differences(
    groups: Mapping[str, Sequence[Report]],
    metric: str,
    against: str,
    *,
    skip: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every method minus one of them, paired by query, with an interval and a verdict.

    The resamples are shared by all rows, and each row equals `intervals.paired_interval` with the same seed.

    Args:
        groups: From `group_by_method`.
        metric: A metric that every report holds, higher is better.
        against: Method that is subtracted.
        skip: Methods without a row.
        level: Coverage of each interval taken alone. For a coverage of all m rows together give 1 - (1 - level) / m (Bonferroni).
        resamples: As in `intervals.mean_interval`, and so is `seed`.

    Returns:
        Columns method, against, metric, mean, low, high, verdict, in the order of `groups`; fractions. The verdict is "higher" or "lower"
        where the interval excludes zero and "inconclusive" where it does not.

    Raises:
        InputError: If `against` is unknown, or reports differ in protocol or queries.
    """
    if against not in groups:
        raise InputError(f"no report of {against!r} to compare with; there are {', '.join(groups)}")
    check_comparable([report for group in groups.values() for report in group])
    base = pooled(groups[against], metric)
    values = {name: pooled(group, metric) - base for name, group in groups.items() if name != against and name not in skip}
    found = mean_intervals(values, level=level, resamples=resamples, seed=seed)
    rows = [(name, against, metric, gap.mean, gap.low, gap.high, verdict(gap)) for name, gap in found.items()]
    return pd.DataFrame(rows, columns=["method", "against", "metric", "mean", "low", "high", "verdict"])


def verdict(difference: Interval) -> str:
    """What an interval of a difference allows to say: "higher", "lower", or "inconclusive" where it holds zero.

    Example:
        >>> verdict(Interval(0.02, 0.01, 0.03)), verdict(Interval(0.02, -0.01, 0.05))
        ('higher', 'inconclusive')
    """
    if not difference.excludes_zero:
        return "inconclusive"
    return "higher" if difference.low > 0 else "lower"


def head_to_head(first: Sequence[Report], second: Sequence[Report]) -> dict[str, Float[np.ndarray, " q"]]:
    """On which queries does a method place the target higher than another? By rank, so a tie is the very same rank.

    Args:
        first: Reports of one method, one per seed.
        second: Reports of the other, over the same queries.

    Returns:
        "win", "tie" and "loss" of the first per query: the share of pairs of seeds, in [0, 1]; they sum to 1. A target that is not ranked
        loses against any rank and ties with another that is not ranked.

    Raises:
        InputError: If the reports differ in protocol or queries.
    """
    check_comparable([*first, *second])
    left, right = (np.stack([_ranks(report) for report in group]) for group in (first, second))
    left, right = left[:, None], right[None]  # (s, 1, q), (1, t, q)
    return {"win": (left < right).mean((0, 1)), "tie": (left == right).mean((0, 1)), "loss": (left > right).mean((0, 1))}


def independent_difference(first: Interval, second: Interval) -> Interval:
    """Interval of first - second for estimates from *different* queries, such as two splits, which no pairing can help.

    The distances to the ends are added in squares: sqrt((m1 - l1)^2 + (h2 - m2)^2) below and the mirror image above (Newcombe's method for
    two proportions; Zou and Donner, 2008, for any estimate). It is wider than a paired interval, as it should be.

    Example:
        >>> gap = independent_difference(Interval(0.5, 0.47, 0.53), Interval(0.4, 0.36, 0.44))
        >>> round(gap.mean, 3), round(gap.low, 3), round(gap.high, 3)
        (0.1, 0.05, 0.15)
    """
    if first.level != second.level:
        raise InputError(f"intervals of levels {first.level} and {second.level}; compare intervals of one level")
    mean = first.mean - second.mean
    below = np.hypot(first.mean - first.low, second.high - second.mean)
    above = np.hypot(first.high - first.mean, second.mean - second.low)
    return Interval(mean, float(mean - below), float(mean + above), first.level)


def _ranks(report: Report) -> Float[np.ndarray, " q"]:
    return np.where(report.ranks >= 1, report.ranks.astype(np.float64), np.inf)


def mean_of_independent(parts: Sequence[Interval]) -> Interval:
    """Interval of the mean of estimates from different queries, such as FashionIQ's three categories, each counted the same.

    The distances to the ends are added in squares, as in `independent_difference`, and divided by the number of parts.

    Example:
        >>> both = mean_of_independent([Interval(0.2, 0.17, 0.23), Interval(0.4, 0.36, 0.44)])
        >>> round(both.mean, 3), round(both.low, 3), round(both.high, 3)
        (0.3, 0.275, 0.325)
    """
    if not parts or len({part.level for part in parts}) > 1:
        raise InputError(f"{len(parts)} intervals of levels {sorted({part.level for part in parts})}; give one or more of one level")
    mean = float(np.mean([part.mean for part in parts]))
    below = np.linalg.norm([part.mean - part.low for part in parts]) / len(parts)
    above = np.linalg.norm([part.high - part.mean for part in parts]) / len(parts)
    return Interval(mean, float(mean - below), float(mean + above), parts[0].level)


def most_different(first: Sequence[Report], second: Sequence[Report], count: int) -> Int[np.ndarray, " c"]:
    """Positions of the queries on which two methods differ most, half of them in favour of each where there are as many.

    The difference is between logarithms of ranks, averaged over seeds, so that ranks 1 and 10 are as far apart as 10 and 100. A target that
    is not ranked counts as one place behind the worst rank of both methods.

    Args:
        first: Reports of one method, one per seed.
        second: Reports of the other, over the same queries.
        count: How many; fewer where fewer queries differ.

    Returns:
        First those that the first method places higher, the largest difference first; then those of the second, likewise. Ties by position.

    Raises:
        InputError: If the reports differ in protocol or queries, or `count` is below 1.
    """
    if count < 1:
        raise InputError(f"{count} queries asked for; ask for 1 or more")
    check_comparable([*first, *second])
    ranks = [np.stack([_ranks(report) for report in group]) for group in (first, second)]
    behind = 1 + max(table[np.isfinite(table)].max(initial=0) for table in ranks)
    left, right = (np.log(np.where(np.isfinite(table), table, behind)).mean(axis=0) for table in ranks)
    gap = right - left  # above 0: the first method is ahead
    order = np.argsort(-np.abs(gap), kind="stable")
    ahead, later = order[gap[order] > 0], order[gap[order] < 0]
    mine = min(len(ahead), max(count - count // 2, count - len(later)))
    return np.concatenate([ahead[:mine], later[: count - mine]])
