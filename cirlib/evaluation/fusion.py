"""Several systems on the same queries, combined: by the places or by the scores that each of them gives to every picture.

    reciprocal ranks   f(i) = sum_m w_m / (c + rank_m(i)),   c = 60                       Cormack, Clarke and Buettcher, SIGIR 2009
    scores             f(i) = sum_m w_m z_m(i),   z_m = (s_m - mean) / deviation          over the candidates of a query; our choice

Weights are not negative and sum to 1. Whole rankings are fused, not their heads, so that no picture is out of reach. Systems come in before
any rerank: a rerank for diversity trades relevance away, and fusion is about relevance.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cirlib.evaluation.lookup import lookup
from cirlib.evaluation.metrics import recall_at_k
from cirlib.evaluation.ranking import ranks_from_scores
from cirlib.kernels.exact import fixed_point, full_precision, tile_scores
from cirlib.types import Benchmark, Embeddings, InputError, Method

SMOOTHING = 60.0  # c above, as its authors set it
_TILE = 128  # gallery rows scored at once


@dataclass(frozen=True)
class TunedFusion:
    """Outcome of a search over weights.

    Attributes:
        weights: Of the systems by name, with the highest score; the most even of equals.
        score: What they reach, as a fraction.
        tried: Every combination of weights, in the order of the names, to its score.
    """

    weights: Mapping[str, float]
    score: float
    tried: Mapping[tuple[float, ...], float]


def method_scores(method: Method, benchmark: Benchmark) -> Float[np.ndarray, "q g"]:
    """Similarity of every query that can be scored with every gallery picture, in float64 and exact, whatever the device.

    Args:
        method: Its `rerank`, if any, is not asked.
        benchmark: Every query needs its pictures.
    """
    queries = lookup(benchmark).queries
    return embedding_scores(method.compose(queries, benchmark.references), method.encode_gallery(benchmark.gallery))


def embedding_scores(query: Embeddings, gallery: Embeddings) -> Float[np.ndarray, "q g"]:
    """Inner products of all queries with all pictures, the best of a picture's vectors; equal vectors get equal scores."""
    left, right = (fixed_point(part.rows, name, query.rows.device) for part, name in ((query, "query"), (gallery, "gallery")))
    scores = np.empty((len(left), len(right)))
    with full_precision(left.device):
        rows = left.take(slice(None)).double()
        for start in range(0, len(right), _TILE):
            chunk = right.take(slice(start, start + _TILE)).double()
            scores[:, start : start + _TILE] = (tile_scores(rows, chunk) / (left.scale * right.scale)).cpu().numpy()
    return scores


def reciprocal_ranks(
    scores: Float[np.ndarray, "q g"], exclude: Int[np.ndarray, " q"] | None = None, smoothing: float = SMOOTHING
) -> Float[np.ndarray, "q g"]:
    """What each picture gets for its place: 1 / (smoothing + rank), ranks from 1, ties by gallery row.

    Args:
        scores: Higher is better.
        exclude: Gallery row that is no candidate of a query, -1 for none; it takes no place and gets 0.
        smoothing: 0 lets the first place weigh twice the second; the larger, the more even.

    Raises:
        InputError: If `smoothing` is negative.

    Example:
        >>> reciprocal_ranks(np.array([[0.2, 0.9, 0.2]]), smoothing=1).round(3)
        array([[0.333, 0.5  , 0.25 ]])
    """
    if smoothing < 0:
        raise InputError(f"smoothing {smoothing} given; it is 0 or more, {SMOOTHING:g} is usual")
    order = np.argsort(-_masked(scores, exclude), axis=1, kind="stable")  # the excluded row comes last
    gained = np.empty(scores.shape)
    np.put_along_axis(gained, order, np.broadcast_to(1 / (smoothing + 1 + np.arange(scores.shape[1])), scores.shape), axis=1)
    return _fill(gained, exclude, 0.0)


def standard_scores(scores: Float[np.ndarray, "q g"], exclude: Int[np.ndarray, " q"] | None = None) -> Float[np.ndarray, "q g"]:
    """Each query's scores with mean 0 and deviation 1 over its candidates, so that systems of different spread can be added.

    Args:
        scores: Higher is better.
        exclude: As in `reciprocal_ranks`; that row gets 0. A query whose scores are all equal gets zeros.

    Example:
        >>> standard_scores(np.array([[1.0, 3.0], [2.0, 2.0]]))
        array([[-1.,  1.],
               [ 0.,  0.]])
    """
    kept = _fill(np.array(scores, dtype=np.float64), exclude, np.nan)
    spread = np.nanstd(kept, axis=1, keepdims=True)
    centred = kept - np.nanmean(kept, axis=1, keepdims=True)
    return np.nan_to_num(np.divide(centred, spread, out=np.zeros_like(kept), where=spread > 1e-12))


def fuse(parts: Sequence[Float[np.ndarray, "q g"]], weights: Sequence[float]) -> Float[np.ndarray, "q g"]:
    """Weighted sum of what the systems give, in their order.

    Raises:
        InputError: If there is not one weight for each part, one is negative, or shapes differ.
    """
    if not parts or len(parts) != len(weights) or min(weights) < 0 or len({part.shape for part in parts}) > 1:
        shapes = [part.shape for part in parts]
        raise InputError(f"{len(weights)} weights {tuple(weights)} for parts of shapes {shapes}; give one weight of 0 or more per part")
    return sum(weight * part for weight, part in zip(weights, parts, strict=True))


def weight_grid(systems: int, steps: int = 10) -> list[tuple[float, ...]]:
    """Every combination of weights in multiples of 1 / steps that sums to 1, the most even first.

    Example:
        >>> weight_grid(2, 2)
        [(0.5, 0.5), (0.0, 1.0), (1.0, 0.0)]
    """
    if systems < 1 or steps < 1:
        raise InputError(f"{systems} systems in {steps} steps given; use 1 or more of both")
    whole = [part for part in itertools.product(range(steps + 1), repeat=systems) if sum(part) == steps]
    return [tuple(value / steps for value in part) for part in sorted(whole, key=lambda part: (sum(value**2 for value in part), part))]


def tune_fusion(
    parts: Mapping[str, Float[np.ndarray, "q g"]],
    target: Int[np.ndarray, " q"],
    exclude: Int[np.ndarray, " q"] | None = None,
    *,
    k: int = 10,
    steps: int = 10,
) -> TunedFusion:
    """Weights with the highest Recall@K, by trying all of `weight_grid`. Give it val, never what is reported.

    Args:
        parts: System to what it gives every picture, from `reciprocal_ranks` or `standard_scores`.
        target: Gallery row of each query's target.
        exclude: As in `reciprocal_ranks`.
        k: Cut-off.
        steps: Of the grid.
    """
    tried = {}
    for weights in weight_grid(len(parts), steps):
        tried[weights] = float(recall_at_k(ranks_from_scores(fuse(list(parts.values()), weights), target, exclude), k).mean())
    best = max(tried, key=tried.get)
    return TunedFusion(dict(zip(parts, best, strict=True)), tried[best], tried)


def target_rows(benchmark: Benchmark) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, " q"]]:
    """Gallery rows of each query's target and of the reference that its protocol excludes (-1 for none)."""
    table = lookup(benchmark)
    return table.positives[:, 0].numpy(), table.exclude[:, 0].numpy()


def _masked(scores: np.ndarray, exclude: np.ndarray | None) -> np.ndarray:
    return _fill(np.array(scores, dtype=np.float64), exclude, -np.inf)


def _fill(table: np.ndarray, exclude: np.ndarray | None, value: float) -> np.ndarray:
    """Put a value at each query's excluded row, in place."""
    if exclude is not None:
        lines = np.flatnonzero(np.asarray(exclude) >= 0)
        table[lines, np.asarray(exclude)[lines]] = value
    return table
