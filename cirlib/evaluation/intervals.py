"""Percentile bootstrap over queries: how far would a mean move if the benchmark had drawn other queries of the same kind?

A resample draws as many queries as there are, with replacement, and is kept as how often each query was drawn; a block of such counts times
the values gives the means of many resamples and metrics in one matrix product. Intervals speak about queries, not about seeds: with several
seeds, a query's seeds are averaged first and stay together (our choice), so report the spread over seeds beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cirlib.types import InputError

_BLOCK = 1 << 17  # counts per block: 1 MiB, in cache


@dataclass(frozen=True)
class Interval:
    """An estimate and its percentile interval, in the unit of the metric (fractions, or ranks)."""

    mean: float
    low: float
    high: float
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; for a difference: whether the gain stands at this level."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Float[np.ndarray, "*s q"], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Mean over queries with its interval.

    Args:
        values: One metric, (q,) or (s, q) with one line per seed over the same queries. NaN (undefined) is left out of every mean.
        level: Coverage, in (0, 1).
        resamples: Number of resamples.
        seed: Of a local generator; the same seed gives the same interval.

    Raises:
        InputError: If no query has a value, or `level` or `resamples` makes no sense.

    Example:
        >>> interval = mean_interval(np.array([0.0, 1.0, 1.0, 1.0]))
        >>> interval.mean, interval.low <= 0.75 <= interval.high
        (0.75, True)
    """
    return mean_intervals({"metric": values}, level=level, resamples=resamples, seed=seed)["metric"]


def mean_intervals(
    values: Mapping[str, Float[np.ndarray, "*s q"]], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of several metrics of the same queries, from the same resamples. Arguments as in `mean_interval`."""
    if not values:
        return {}
    table = np.stack([_per_query(name, value) for name, value in values.items()], axis=1)  # (q, metrics)
    defined = np.isfinite(table).astype(np.float64)
    filled = np.where(defined > 0, table, 0.0)
    means = []
    for counts in _counts(len(table), resamples, seed):
        total, weight = counts @ filled, counts @ defined
        means.append(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0))
    resampled = np.concatenate(means)
    quantile = np.nanquantile if np.isnan(resampled).any() else np.quantile  # the nan version is many times slower
    low, high = quantile(resampled, _tails(level), axis=0)
    center = filled.sum(axis=0) / defined.sum(axis=0)
    return {name: Interval(float(center[i]), float(low[i]), float(high[i]), level) for i, name in enumerate(values)}


def paired_interval(
    first: Float[np.ndarray, "*s q"], second: Float[np.ndarray, "*s q"], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Interval of the mean difference first - second, query by query; far narrower than two separate intervals suggest.

    Args:
        first: One metric of one method, (q,) or (s, q). Queries in the same order as `second`; `report.compare` checks their ids.
        second: The same metric of another method; its number of seeds may differ.
        level: As in `mean_interval`, and so are `resamples` and `seed`.

    Raises:
        InputError: If the numbers of queries differ.
    """
    left, right = _per_query("first", first), _per_query("second", second)
    if len(left) != len(right):
        raise InputError(f"{len(left)} queries beside {len(right)}; a paired interval needs the same queries in both")
    return mean_interval(left - right, level=level, resamples=resamples, seed=seed)


def median_rank_interval(ranks: Int[np.ndarray, "*s q"], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Median rank with its interval, in ranks (the field `mean` holds the median). Rank 0, not ranked, counts as inf.

    With (s, q) ranks the median is over all seeds and queries, and a query's seeds are drawn together. Arguments as in `mean_interval`.
    """
    ranks = np.atleast_2d(ranks)
    if not ranks.size:
        raise InputError("median rank of no queries; give at least one rank")
    values = np.where(ranks >= 1, ranks.astype(np.float64), np.inf).ravel()
    order = np.argsort(values, kind="stable")
    values, query = values[order], order % ranks.shape[1]
    middle = (len(values) - 1) // 2, len(values) // 2
    medians = []
    for counts in _counts(ranks.shape[1], resamples, seed):
        reached = np.cumsum(counts[:, query], axis=1)
        lower, upper = ((reached > place).argmax(axis=1) for place in middle)
        medians.append((values[lower] + values[upper]) / 2)
    low, high = np.quantile(np.concatenate(medians), _tails(level), method="inverted_cdf")
    return Interval(float((values[middle[0]] + values[middle[1]]) / 2), float(low), float(high), level)


def _per_query(name: str, values: np.ndarray) -> Float[np.ndarray, " q"]:
    """Average over seeds, NaN where no seed has a value."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    defined = np.isfinite(table)
    if table.ndim != 2 or not defined.any():
        raise InputError(f"{name} of shape {np.shape(values)} has no finite value; give (q,) or (s, q) values of at least one query")
    weight = defined.sum(axis=0)
    return np.divide(np.where(defined, table, 0.0).sum(axis=0), weight, out=np.full(table.shape[1], np.nan), where=weight > 0)


def _counts(n_queries: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "b q"]]:
    """How often each resample drew each query, in blocks."""
    if resamples < 1:
        raise InputError(f"{resamples} resamples asked for; at least 1 is needed, 10,000 is usual")
    generator = np.random.default_rng(seed)
    step = max(1, _BLOCK // n_queries)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, n_queries, (size, n_queries), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * n_queries
        yield np.bincount(drawn.ravel(), minlength=size * n_queries).reshape(size, n_queries).astype(np.float64)


def _tails(level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise InputError(f"level {level} given; a coverage lies between 0 and 1, such as 0.95")
    return (1 - level) / 2, (1 + level) / 2
