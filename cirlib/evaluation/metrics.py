"""Retrieval metrics from ranks. Ranks in, one fraction per query out; nothing here sorts, scores or averages over queries.

A rank is an integer from 1 (best). Rank 0 means *not ranked*: the picture is missing, or a ranking file stops before it. It is never a hit.
Arrays of positive ranks are (q, p), padded with 0, so a short ranking file and a full ranking go through the same functions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from cirlib.types import InputError


def recall_at_k(ranks: Int[np.ndarray, " q"], k: int) -> Float[np.ndarray, " q"]:
    """1 where the target is among the first k, else 0. With ranks inside a query's subset it is R_subset@K.

    Args:
        ranks: Rank of the designated target, from 1; 0 (not ranked) is a miss.
        k: Cut-off, at least 1.

    Example:
        >>> recall_at_k(np.array([1, 11, 0, 10]), 10)
        array([1., 0., 0., 1.])
    """
    ranks = np.asarray(ranks)
    return ((ranks >= 1) & (ranks <= _cutoff(k))).astype(np.float64)


def average_precision_at_k(positive_ranks: Int[np.ndarray, "q p"], n_positives: Int[np.ndarray, " q"], k: int) -> Float[np.ndarray, " q"]:
    """Average precision at K with the divisor min(positives, K), as CIRCO defines it; its mean over queries is mAP@K.

    AP@K = 1 / min(P, K) * sum over positives with rank r <= K of (positives ranked at or before r) / r

    Args:
        positive_ranks: Rank of every positive, in any order, 0 where not ranked or padding. Nonzero ranks of a query are distinct.
        n_positives: How many positives each query has, those that are not ranked included.
        k: Cut-off, at least 1.

    Returns:
        Fractions in [0, 1]; NaN for a query without positives.

    Example:
        >>> average_precision_at_k(np.array([[1, 3, 0]]), np.array([3]), 5).round(4)  # (1/1 + 2/3) / 3
        array([0.5556])
    """
    ranks = _sorted_ranks(positive_ranks)
    hits = ranks <= _cutoff(k)
    precision = np.arange(1, ranks.shape[1] + 1) / ranks  # the i-th best positive has i positives at or before it
    return _divide(np.where(hits, precision, 0.0).sum(axis=1), np.minimum(n_positives, k))


def ndcg_at_k(positive_ranks: Int[np.ndarray, "q p"], n_positives: Int[np.ndarray, " q"], k: int) -> Float[np.ndarray, " q"]:
    """Normalised discounted cumulative gain at K with binary relevance: gain 1 / log2(1 + rank), ideal = all positives first.

    Arguments and NaN as in `average_precision_at_k`.

    Example:
        >>> ndcg_at_k(np.array([[1, 2], [3, 0]]), np.array([2, 1]), 5)
        array([1. , 0.5])
    """
    ranks = _sorted_ranks(positive_ranks)
    gained = np.where(ranks <= _cutoff(k), 1.0 / np.log2(1.0 + ranks), 0.0).sum(axis=1)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(1.0 + np.arange(1, k + 1)))])
    return _divide(gained, ideal[np.minimum(n_positives, k)])


def median_rank(ranks: Int[np.ndarray, " q"]) -> float:
    """Median rank of the designated target, in ranks. Targets that are not ranked count as worse than any: the median may be inf.

    Example:
        >>> median_rank(np.array([1, 7, 0])), median_rank(np.array([1, 4]))
        (7.0, 2.5)
    """
    ranks = np.asarray(ranks)
    if not ranks.size:
        raise InputError("median rank of no queries; give at least one rank")
    return float(np.median(np.where(ranks >= 1, ranks.astype(np.float64), np.inf)))


def ranks_in_lists(rankings: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> Int[np.ndarray, "q p"]:
    """Positions of target names in ranked lists of names, for rankings that come from a file.

    Args:
        rankings: Per query, names best first. A name that occurs twice counts at its first position.
        targets: Per query, the names that are looked for.

    Returns:
        (q, p) ranks from 1 in the order of `targets`, with p the most targets of any query; 0 where not listed or padding.

    Example:
        >>> ranks_in_lists([["a", "b", "c"], ["c", "a"]], [["b"], ["b", "c"]])
        array([[2, 0],
               [0, 1]])
    """
    if len(rankings) != len(targets):
        raise InputError(f"{len(rankings)} rankings for {len(targets)} queries; give one ranking per query")
    ranks = np.zeros((len(targets), max((len(names) for names in targets), default=0)), dtype=np.int64)
    for row, (ranking, names) in enumerate(zip(rankings, targets, strict=True)):
        position: dict[str, int] = {}
        for place, name in enumerate(ranking, start=1):
            position.setdefault(name, place)
        ranks[row, : len(names)] = [position.get(name, 0) for name in names]
    return ranks


def composition_gain(composed: Float[np.ndarray, " q"], single: Mapping[str, Float[np.ndarray, " q"]]) -> Float[np.ndarray, " q"]:
    """What composing adds over the best single modality, per query: composed minus the single run whose *mean* is best.

    One single run is chosen for all queries (an oracle that picks the better one per query would be no system), so the mean of the result
    is mean(composed) - max over runs of mean(run), and the paired interval of `intervals` applies to it. Our choice; other work divides by
    the single score instead, which blows up near zero. NaN in either leaves NaN.

    Args:
        composed: One metric of the composed query, per query.
        single: The same metric and queries for each single modality, such as {"image": ..., "text": ...}.

    Example:
        >>> composition_gain(np.array([1.0, 0.0]), {"image": np.array([0.0, 0.0]), "text": np.array([0.0, 1.0])})
        array([ 1., -1.])
    """
    if not single:
        raise InputError("no single-modality run to compare with; give at least one, such as image only or text only")
    for name, values in single.items():
        if len(values) != len(composed):
            raise InputError(
                f"run {name!r} has {len(values)} queries and the composed run {len(composed)}; evaluate both on the same queries"
            )
    best = max(single.values(), key=lambda values: np.nanmean(values))
    return np.asarray(composed, dtype=np.float64) - best


def _cutoff(k: int) -> int:
    if k < 1:
        raise InputError(f"cut-off {k} given; a cut-off is at least 1")
    return k


def _sorted_ranks(positive_ranks: Int[np.ndarray, "q p"]) -> Float[np.ndarray, "q p"]:
    """Ranks in ascending order, with inf where not ranked."""
    ranks = np.asarray(positive_ranks, dtype=np.float64)
    return np.sort(np.where(ranks >= 1, ranks, np.inf), axis=1)


def _divide(total: Float[np.ndarray, " q"], divisor: np.ndarray) -> Float[np.ndarray, " q"]:
    """total / divisor, NaN where the divisor is 0."""
    return np.divide(total, divisor, out=np.full(len(total), np.nan), where=np.asarray(divisor) > 0)
