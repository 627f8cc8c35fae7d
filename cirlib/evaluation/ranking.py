"""Ranks from scores that already exist: a similarity matrix of any system, in memory or memory-mapped. One pass, no sorting.

Embeddings go through `cirlib.kernels.reference.target_ranks` instead, which never builds the matrix. The order is the same: higher scores
first, equal scores by gallery row.
"""

import numpy as np
from jaxtyping import Float, Int

from cirlib.types import InputError

_BLOCK = 1 << 19  # scores compared at once: with their booleans they stay in cache


def ranks_from_scores(
    scores: Float[np.ndarray, "q g"], target: Int[np.ndarray, " q"], exclude: Int[np.ndarray, " q"] | None = None
) -> Int[np.ndarray, " q"]:
    """Rank each query's target by counting the scores above its own.

    Args:
        scores: One row per query, higher is better. -inf means *not a candidate* for pictures other than the target.
        target: Gallery row of each target; -1 where it has none.
        exclude: Gallery row taken out of each ranking; -1 for none.

    Returns:
        Ranks from 1; 0 where `target` is -1. Equal scores are ordered by gallery row.

    Raises:
        InputError: If a score is not a number, a row lies outside the gallery, or a query excludes its own target.

    Example:
        >>> scores = np.array([[0.9, 0.5, 0.9], [0.1, 0.2, 0.3]])
        >>> ranks_from_scores(scores, np.array([2, 0])), ranks_from_scores(scores, np.array([2, 0]), exclude=np.array([0, -1]))
        (array([2, 3]), array([1, 3]))
    """
    n_queries, n_gallery = scores.shape
    target = _checked("target", target, n_queries, n_gallery)
    exclude = np.full(n_queries, -1) if exclude is None else _checked("exclude", exclude, n_queries, n_gallery)
    clash = (target == exclude) & (target >= 0)
    if clash.any():
        raise InputError(f"query row {int(clash.argmax())} excludes its own target; a target must stay in the ranking")
    everyone = np.arange(n_queries)
    own = scores[everyone, target][:, None]
    above = np.empty(n_queries, dtype=np.int64)
    step = max(1, _BLOCK // max(1, n_gallery))
    for start in range(0, n_queries, step):
        block = slice(start, start + step)
        above[block] = _count_outranking(scores[block], own[block], target[block], start)
    other = scores[everyone, exclude][:, None]
    outranked = (other > own) | ((other == own) & (exclude < target)[:, None])
    return np.where(target >= 0, 1 + above - (outranked[:, 0] & (exclude >= 0)), 0)


def _count_outranking(scores: np.ndarray, own: np.ndarray, target: np.ndarray, first: int) -> np.ndarray:
    better = scores > own
    above = np.fromiter(map(np.count_nonzero, better), dtype=np.int64, count=len(scores))  # twice as fast as count_nonzero along an axis
    if above.sum() + np.count_nonzero(scores < own) + len(scores) == scores.size:
        return above  # every pair is settled but the targets with themselves: no ties, and nothing that is not a number
    for row in range(len(scores)):
        if np.isnan(scores[row]).any():
            raise InputError(f"query row {first + row} has a score that is not a number; scores must be finite")
        above[row] += np.count_nonzero(scores[row, : max(target[row], 0)] == own[row])
    return above


def _checked(what: str, rows: np.ndarray, n_queries: int, n_gallery: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.shape != (n_queries,) or rows.dtype.kind not in "iu":
        raise InputError(f"{what} is {rows.dtype} {rows.shape}; give one whole number for each of {n_queries} queries")
    wrong = (rows < -1) | (rows >= n_gallery)
    if wrong.any():
        line = int(wrong.argmax())
        raise InputError(f"{what} of query row {line} is gallery row {int(rows[line])}; rows lie in [0, {n_gallery}), -1 for none")
    return rows
