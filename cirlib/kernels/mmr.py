"""Diversity-aware reranking (MMR) of all queries at once, in plain chunked torch.

Formula    next = argmax over the unselected of (1 - lambda) R' + lambda min over the selected of d',   Pix2Key, Eq. 10-11
           R' = relevance, min-max normalised over the pool;  d' = (1 - cosine) / 2, so that both lie in [0, 1]
Traffic    A step reads the pool's vectors once, q * p * d numbers; the distance to the nearest selected item is kept as a running minimum.
Memory     O(chunk * p * d): the pools of one chunk of queries. Never (p, p) distances, never all pools.
Precision  Cosines are exact (see `cirlib.kernels.exact`), the rest is float64: identical pictures tie, and chunking cannot change an order.

What the paper leaves open is our choice: the first pick is the most relevant item, ties go by place in the pool, a pool of equal relevance
has R' = 1 everywhere, and the items after the selected ones follow in order of relevance.
"""

import torch
from jaxtyping import Float, Int

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision
from cirlib.types import InputError


def mmr_order(
    scores: Float[torch.Tensor, "q p"],
    pool: Int[torch.Tensor, "q p"],
    gallery: Float[torch.Tensor, "g d"],
    diversity: float,
    select: int,
    *,
    chunk_size: int = 64,
) -> Int[torch.Tensor, "q p"]:
    """Greedy maximal marginal relevance over each query's pool of candidates.

    Args:
        scores: Relevance of each candidate; higher is better, any scale, usually best first.
        pool: Gallery rows of the candidates.
        gallery: Unit rows; the distance between candidates is taken between them.
        diversity: Lambda in [0, 1]. 0 is the order of relevance, exactly.
        select: How many are picked greedily, at least 1; beyond the pool it means the whole pool.
        chunk_size: Queries at once. Changes memory, never the result.

    Returns:
        int64 positions in the pool, best first: a permutation of 0..p-1 per query. The first is the most relevant whatever the diversity.

    Raises:
        InputError: If shapes do not fit, a number is out of range, a score is not finite, or a pool names no gallery row (padding).

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> scores, pool = torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[0, 1, 2]])
        >>> mmr_order(scores, pool, gallery, 0.0, 3), mmr_order(scores, pool, gallery, 0.7, 3)
        (tensor([[0, 1, 2]]), tensor([[0, 2, 1]]))
    """
    _check(scores, pool, gallery, diversity, select, chunk_size)
    relevance = scores.double()
    by_relevance = relevance.argsort(dim=1, descending=True, stable=True)
    if diversity == 0 or not pool.numel():
        return by_relevance
    rows = fixed_point(gallery, "gallery", pool.device)
    with full_precision(pool.device):
        parts = zip(relevance.split(chunk_size), pool.split(chunk_size), strict=True)
        chosen = torch.cat([_greedy(part, rows, candidates, diversity, min(select, pool.shape[1])) for part, candidates in parts])
    places = torch.arange(pool.shape[1], device=pool.device).expand_as(pool)
    place = torch.empty_like(pool).scatter_(1, by_relevance, places + pool.shape[1])  # the rest comes after all that is selected
    return place.scatter_(1, chosen, places[:, : chosen.shape[1]].contiguous()).argsort(dim=1)


def _greedy(
    relevance: Float[torch.Tensor, "q p"], rows: FixedPoint, pool: Int[torch.Tensor, "q p"], diversity: float, select: int
) -> Int[torch.Tensor, "q k"]:
    """Positions in the pool, in the order in which they are picked."""
    vectors = rows.take(pool.flatten()).double().view(*pool.shape, -1)  # (q, p, d), whole numbers
    squares = vectors.square().sum(dim=-1).clamp_min(1)
    low, high = relevance.aminmax(dim=1, keepdim=True)
    normalised = torch.where(high > low, (relevance - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny), 1.0)
    nearest = torch.full_like(normalised, torch.inf)  # distance of each candidate to the selected item that is nearest to it
    value = normalised
    everyone = torch.arange(len(pool), device=pool.device)
    chosen = torch.empty(len(pool), select, dtype=torch.int64, device=pool.device)
    taken = torch.zeros_like(pool, dtype=torch.bool)
    for step in range(select):
        pick = chosen[:, step] = value.argmax(dim=1)  # the first of equals
        taken[everyone, pick] = True
        products = (vectors @ vectors[everyone, pick][:, :, None])[:, :, 0]
        cosine = products / (squares * squares[everyone, pick][:, None]).sqrt()  # exactly 1 between copies, as sqrt(n * n) is n
        nearest = torch.minimum(nearest, (1 - cosine) / 2)
        value = ((1 - diversity) * normalised + diversity * nearest).masked_fill(taken, -torch.inf)
    return chosen


def _check(scores: torch.Tensor, pool: torch.Tensor, gallery: torch.Tensor, diversity: float, select: int, chunk_size: int) -> None:
    if scores.ndim != 2 or scores.shape != pool.shape or gallery.ndim != 2 or pool.is_floating_point():
        shapes = f"scores {tuple(scores.shape)}, pool {pool.dtype} {tuple(pool.shape)}, gallery {tuple(gallery.shape)}"
        raise InputError(f"{shapes} given; give scores (q, p), gallery rows (q, p) as whole numbers, and a gallery (g, d)")
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity {diversity} given; it lies between 0 (relevance alone) and 1")
    if select < 1 or chunk_size < 1:
        raise InputError(f"select {select} and chunk size {chunk_size} given; both are at least 1")
    if not scores.isfinite().all():
        raise InputError("a candidate's score is not a number or infinite; every candidate needs a finite score")
    if pool.numel() and not (int(pool.min()) >= 0 and int(pool.max()) < len(gallery)):
        raise InputError(f"pool rows from {int(pool.min())} to {int(pool.max())} given; rows lie in [0, {len(gallery)}), without padding")
