"""Diversity-aware reranking (MMR) of all queries at once, in plain chunked torch.

Formula    next = argmax over the unselected of (1 - lambda) R' + lambda min over the selected of d',   Pix2Key, Eq. 10-11
           R' = relevance, min-max normalised over the pool;  d' = (1 - cosine) / 2, so that both lie in [0, 1]
Traffic    One fp32 product of each pool with itself, 2 q p p d operations; a pick then reads one row of it, and the distance to the
           nearest selected item is kept as a running minimum.
Memory     O(chunk * p * (p + d)): the pools of one chunk of queries and their distances. Never all pools.
Precision  An fp32 cosine settles a pick unless rivals lie within its rounding; those are compared by exact cosines (see
           `cirlib.kernels.exact`), and a pool with many of them is done exactly as a whole. The rest is float64: the order is that of exact
           arithmetic, identical pictures tie, and chunking cannot change it.

What the paper leaves open is our choice: the first pick is the most relevant item, ties go by place in the pool, a pool of equal relevance
has R' = 1 everywhere, and the items after the selected ones follow in order of relevance.
"""

import torch
from jaxtyping import Bool, Float, Int

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision
from cirlib.types import InputError

_COSINE_ERROR = 2.1 * 2.0**-24  # of an fp32 cosine, for each dimension and eight more: the sum of products in any order, and both lengths
_RIVALS = 8  # candidates that fp32 cannot tell apart; a pool with more of them at one pick is done exactly


def mmr_order(
    scores: Float[torch.Tensor, "q p"],
    pool: Int[torch.Tensor, "q p"],
    gallery: Float[torch.Tensor, "g d"],
    diversity: float,
    select: int,
    *,
    chunk_size: int = 32,
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
    """Positions in the pool, in the order in which they are picked. fp32 cosines decide where they can; the rest is decided exactly."""
    normalised = _normalised(relevance)
    cosines = _cosines(rows, pool)
    error = 0.51 * diversity * _COSINE_ERROR * (rows.rows.shape[-1] + 8) + 1e-12  # of a value
    nearest = torch.full_like(normalised, torch.inf)  # distance of each candidate to the selected item that is nearest to it
    everyone = torch.arange(len(pool), device=pool.device)
    chosen = torch.empty(len(pool), select, dtype=torch.int64, device=pool.device)
    taken = torch.zeros_like(pool, dtype=torch.bool)
    crowded = torch.zeros(len(pool), dtype=torch.bool, device=pool.device)
    pick = normalised.argmax(dim=1)  # the first of equals; no distance counts yet, so this is exact
    for step in range(select):
        if step:
            value = ((1 - diversity) * normalised + diversity * nearest).masked_fill_(taken, -torch.inf)
            best, pick = value.max(dim=1)
            close = value >= (best - 2 * error)[:, None]
            rivals = close.sum(dim=1)
            crowded |= rivals > _RIVALS
            lines = ((rivals > 1) & ~crowded).nonzero()[:, 0]
            if len(lines):
                pick[lines] = _settle(rows, pool[lines], normalised[lines], diversity, chosen[lines, :step], close[lines])
        chosen[:, step] = pick
        taken[everyone, pick] = True
        nearest = torch.minimum(nearest, 0.5 - 0.5 * cosines[everyone, pick].double())
    if crowded.any():
        chosen[crowded] = _greedy_exact(rows, pool[crowded], normalised[crowded], diversity, select)
    return chosen


def _cosines(rows: FixedPoint, pool: Int[torch.Tensor, "q p"]) -> Float[torch.Tensor, "q p p"]:
    """fp32 cosines within each pool. Single products are twice as fast as one batched product on a CPU."""
    units = torch.nn.functional.normalize(rows.take(pool.flatten()), dim=-1).view(*pool.shape, -1)
    cosines = torch.empty(*pool.shape, pool.shape[1], device=pool.device)
    for own, out in zip(units, cosines, strict=True):
        torch.mm(own, own.T, out=out)
    return cosines


def _settle(
    rows: FixedPoint,
    pool: Int[torch.Tensor, "n p"],
    normalised: Float[torch.Tensor, "n p"],
    diversity: float,
    chosen: Int[torch.Tensor, "n k"],
    close: Bool[torch.Tensor, "n p"],
) -> Int[torch.Tensor, " n"]:
    """The best candidate of some queries among those that fp32 cannot tell apart, by exact distances; the first of equals."""
    rivals = close.long().argsort(dim=1, descending=True, stable=True)[:, :_RIVALS]  # (n, r): those that are close come first, in order
    left, right = (_exact_vectors(rows, pool.gather(1, places)) for places in (rivals, chosen))
    cosine = torch.bmm(left[0], right[0].mT) / (left[1][:, :, None] * right[1][:, None, :]).sqrt()  # (n, r, k)
    nearest = ((1 - cosine) / 2).amin(dim=-1)
    value = (1 - diversity) * normalised.gather(1, rivals) + diversity * nearest
    return rivals.gather(1, value.masked_fill(~close.gather(1, rivals), -torch.inf).argmax(dim=1, keepdim=True))[:, 0]


def _greedy_exact(
    rows: FixedPoint, pool: Int[torch.Tensor, "q p"], normalised: Float[torch.Tensor, "q p"], diversity: float, select: int
) -> Int[torch.Tensor, "q k"]:
    """The same with every cosine exact: for pools with many copies, where fp32 settles little. The pool is read once a step."""
    vectors, squares = _exact_vectors(rows, pool)
    nearest, value = torch.full_like(normalised, torch.inf), normalised
    everyone = torch.arange(len(pool), device=pool.device)
    chosen = torch.empty(len(pool), select, dtype=torch.int64, device=pool.device)
    taken = torch.zeros_like(pool, dtype=torch.bool)
    for step in range(select):
        pick = chosen[:, step] = value.argmax(dim=1)
        taken[everyone, pick] = True
        products = (vectors @ vectors[everyone, pick][:, :, None])[:, :, 0]
        cosine = products / (squares * squares[everyone, pick][:, None]).sqrt()  # exactly 1 between copies, as sqrt(n * n) is n
        nearest = torch.minimum(nearest, (1 - cosine) / 2)
        value = ((1 - diversity) * normalised + diversity * nearest).masked_fill_(taken, -torch.inf)
    return chosen


def _exact_vectors(rows: FixedPoint, places: Int[torch.Tensor, "q p"]) -> tuple[Float[torch.Tensor, "q p d"], Float[torch.Tensor, "q p"]]:
    """Rows as whole numbers in float64, and their squared lengths, at least 1."""
    vectors = rows.take(places.flatten()).double().view(*places.shape, -1)
    return vectors, vectors.square().sum(dim=-1).clamp_min(1)


def _normalised(relevance: Float[torch.Tensor, "q p"]) -> Float[torch.Tensor, "q p"]:
    """Relevance from 0 to 1 over each pool; 1 everywhere where all of it is equal."""
    low, high = relevance.aminmax(dim=1, keepdim=True)
    return torch.where(high > low, (relevance - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny), 1.0)


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
