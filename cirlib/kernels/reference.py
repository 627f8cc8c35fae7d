"""Ranking by counting, in plain chunked torch: the reference that every faster kernel is tested against, and what runs without one.

Formula    rank = 1 + #(score > score of the positive) + #(score equal and gallery row smaller), over the gallery minus excluded rows
Traffic    sorting moves q * g scores about log(g) times and keeps q * g indices; counting reads a score while its tile is in cache.
Memory     O((q + g_chunk) * d): one tile of scores at a time. Never O(q * g).
Precision  Scores are exact (see `cirlib.kernels.exact`). An fp32 tile settles every comparison outside the margin of its own rounding, and
           the few pairs inside are compared exactly. Chunk size, threads and device cannot change a rank, and identical rows tie.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int

from cirlib.kernels.counting import OutrankCount, outranks
from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision, margin, pair_scores, tile_scores
from cirlib.types import InputError

_QUERY_BLOCK = 512  # with 2,048 gallery rows a tile is 4 MiB of fp32: it stays in cache between the product and the count
_SPARE = 16  # candidates kept beyond k, so that rounding at the edge of the list almost never matters


def target_ranks(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    target: Int[torch.Tensor, "q *p"],
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    chunk_size: int = 2048,
) -> Int[torch.Tensor, "q *p"]:
    """Rank each query's positives within the gallery (1 = best).

    Scores are inner products, so rows must have unit length if cosine similarity is meant; with m vectors a picture the best one counts.
    Positives compete with each other like any other row.

    Args:
        query: Composed query embeddings.
        gallery: (g, d), or (g, m, d) with m vectors a picture; on any device and in any float precision, as chunks are moved and widened.
        target: Gallery rows of the positives, (q,) or (q, p); -1 pads.
        exclude: Gallery rows taken out of a query's ranking, (q,) or (q, e); -1 pads, repeated rows count once.
        chunk_size: Gallery rows scored at once. Changes time and memory, never the result.

    Returns:
        int64 ranks in [1, g], shaped like `target`; 0 where `target` is -1. Equal scores are ordered by gallery row, whatever the target,
        so that a collapsed model lands near chance.

    Raises:
        InputError: If shapes do not fit, a row lies outside the gallery, an embedding is not finite, or a query excludes its own positive.

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> target_ranks(gallery[:1], gallery, torch.tensor([[2, 0]]))
        tensor([[2, 1]])
        >>> target_ranks(gallery[:1], gallery, torch.tensor([2]), exclude=torch.tensor([0]))
        tensor([1])
    """
    left, right = _prepare(query, gallery, chunk_size)
    positives = _rows("target", target, left, right)
    excluded = _unique_rows(_rows("exclude", exclude, left, right)) if exclude is not None else positives[:, :0]
    clash = (positives[:, :, None] == excluded[:, None, :]) & (positives[:, :, None] >= 0)
    if clash.any():
        raise InputError(f"query row {int(clash.nonzero()[0, 0])} excludes its own positive; a positive must stay in the ranking")
    positives, order = positives.sort(dim=1, descending=True)  # padding goes last, so that column j concerns few queries
    with full_precision(left.device):
        scores = _scores_of_rows(left, right, positives)
        outranking = _count_outranking(left, right, positives, scores, chunk_size)
        outranking -= _wins(_scores_of_rows(left, right, excluded), excluded, scores, positives)
    ranks = torch.where(positives >= 0, outranking + 1, 0)
    return torch.empty_like(ranks).scatter_(1, order, ranks).view(target.shape)


def candidate_ranks(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    target: Int[torch.Tensor, " q"],
    candidates: Int[torch.Tensor, "q c"],
) -> Int[torch.Tensor, " q"]:
    """Rank each query's target among its own candidate rows only (CIRR's subset, GeneCIS's gallery).

    Args:
        query: Composed query embeddings.
        gallery: As in `target_ranks`.
        target: Gallery row of the target; -1 where it has none. It counts as a candidate whether listed or not.
        candidates: Gallery rows that it competes with; -1 pads, repeated rows count once.

    Returns:
        int64 ranks in [1, c + 1], ties by gallery row; 0 where `target` is -1.
    """
    left, right = _prepare(query, gallery)
    rows = _rows("target", target, left, right)
    others = _unique_rows(_rows("candidates", candidates, left, right))
    with full_precision(left.device):
        wins = _wins(_scores_of_rows(left, right, others), others, _scores_of_rows(left, right, rows), rows)
    return torch.where(rows >= 0, wins + 1, 0)[:, 0]


def order_candidates(
    query: Float[torch.Tensor, "q d"], gallery: Float[torch.Tensor, "g *m d"], candidates: Int[torch.Tensor, "q c"]
) -> tuple[Int[torch.Tensor, "q c"], Float[torch.Tensor, "q c"]]:
    """Each query's own candidate rows, best first (ties by gallery row, -1 last), with their fp32 scores (-inf for padding)."""
    left, right = _prepare(query, gallery)
    rows = _unique_rows(_rows("candidates", candidates, left, right))
    with full_precision(left.device):
        return _ordered(left, right, rows)


def top_k(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    k: int,
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    chunk_size: int = 2048,
) -> tuple[Int[torch.Tensor, "q k"], Float[torch.Tensor, "q k"]]:
    """The k best gallery rows of each query, best first, in the very order that `target_ranks` counts.

    The gallery is streamed: k + 16 candidates a query are kept by fp32 score and then put in order by exact score. Queries for which
    rounding could have pushed a candidate off that list (many equal pictures) are streamed again in float64.

    Args:
        query: Composed query embeddings.
        gallery: As in `target_ranks`.
        k: How many, in [1, g].
        exclude: Gallery rows left out, as in `target_ranks`.
        chunk_size: Gallery rows scored at once. Changes time and memory, never the result.

    Returns:
        Rows (q, k) int64 and their fp32 scores; -1 and -inf where exclusion leaves fewer than k rows.
    """
    left, right = _prepare(query, gallery, chunk_size)
    if not 1 <= k <= len(right):
        raise InputError(f"top {k} of a gallery of {len(right)} asked for; k lies between 1 and the size of the gallery")
    excluded = _rows("exclude", exclude, left, right) if exclude is not None else None
    with full_precision(left.device):
        everyone = torch.arange(len(left), device=left.device)
        rows, worst = _stream_best(left, right, everyone, min(k + _SPARE, len(right)), excluded, chunk_size, torch.float32)
        rows, scores = _ordered(left, right, rows)
        unsure = scores[:, k - 1].double() * left.scale * right.scale <= worst.double() + 2 * margin(left, right)
        if k + _SPARE < len(right) and unsure.any():
            again = unsure.nonzero()[:, 0]
            exact, _ = _stream_best(left, right, again, k, excluded, chunk_size, torch.float64)
            rows[again, :k] = exact
            scores[again, :k] = _real(_scores_of_rows(left, right, exact, again), left, right)
    return rows[:, :k].contiguous(), scores[:, :k].contiguous()


def _prepare(query: torch.Tensor, gallery: torch.Tensor, chunk_size: int = 1) -> tuple[FixedPoint, FixedPoint]:
    if query.ndim != 2 or gallery.ndim not in (2, 3) or query.shape[-1] != gallery.shape[-1]:
        raise InputError(f"queries {tuple(query.shape)} and gallery {tuple(gallery.shape)} do not fit; give (q, d) and (g, d) or (g, m, d)")
    if not len(gallery):
        raise InputError("the gallery is empty; give at least one picture")
    if chunk_size < 1:
        raise InputError(f"chunk size {chunk_size} given; it is at least 1")
    return fixed_point(query, "query", query.device), fixed_point(gallery, "gallery", query.device)


def _rows(what: str, rows: torch.Tensor, query: FixedPoint, gallery: FixedPoint) -> Int[torch.Tensor, "q p"]:
    """Gallery rows as a checked (q, p) table on the device of the queries."""
    if rows.ndim not in (1, 2) or len(rows) != len(query) or rows.is_floating_point():
        raise InputError(f"{what} is {rows.dtype} {tuple(rows.shape)}; give whole numbers, one line for each of {len(query)} queries")
    rows = rows.to(query.device, torch.int64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    wrong = (rows < -1) | (rows >= len(gallery))
    if wrong.any():
        line, column = wrong.nonzero()[0].tolist()
        raise InputError(f"{what} of query row {line} is gallery row {int(rows[line, column])}; rows lie in [0, {len(gallery)}), -1 pads")
    return rows


def _unique_rows(rows: Int[torch.Tensor, "q c"]) -> Int[torch.Tensor, "q c"]:
    """Each row once per query; repeats become padding."""
    rows = rows.sort(dim=1).values
    repeated = torch.zeros_like(rows, dtype=torch.bool)
    repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    return rows.masked_fill(repeated, -1)


def _scores_of_rows(
    query: FixedPoint, gallery: FixedPoint, rows: torch.Tensor, lines: torch.Tensor | None = None
) -> Float[torch.Tensor, "q c"]:
    """Exact scores of listed gallery rows, -inf for padding. `lines` are the query rows if `rows` does not list all queries."""
    scores = torch.full(rows.shape, -torch.inf, dtype=torch.float64, device=query.device)
    line, column = (rows >= 0).nonzero(as_tuple=True)
    scores[line, column] = pair_scores(query, gallery, line if lines is None else lines[line], rows[line, column])
    return scores


def _wins(score: torch.Tensor, row: torch.Tensor, other_score: torch.Tensor, other_row: torch.Tensor) -> Int[torch.Tensor, "q p"]:
    """How many of the listed rows (q, c) outrank each of the positives (q, p). Padding outranks nothing."""
    better = outranks(score[:, None, :], row[:, None, :], other_score[:, :, None], other_row[:, :, None])
    return (better & (row >= 0)[:, None, :]).sum(dim=-1)


def _tiles(
    query: FixedPoint, gallery: FixedPoint, lines: torch.Tensor, chunk_size: int, plain: bool = False
) -> Iterator[tuple[int, slice, torch.Tensor, torch.Tensor]]:
    """First query, gallery rows and both parts of every tile, gallery outside, so that each chunk is converted once. All are integers but
    for the chunk where it is wanted plain."""
    step = max(1, chunk_size // (gallery.rows.shape[1] if gallery.rows.ndim == 3 else 1))
    blocks = query.take(lines).split(_QUERY_BLOCK)
    for start in range(0, len(gallery), step):
        rows = slice(start, min(start + step, len(gallery)))
        chunk = gallery.plain(rows) if plain else gallery.take(rows)
        for number, block in enumerate(blocks):
            yield number * _QUERY_BLOCK, rows, block, chunk


def _count_outranking(
    query: FixedPoint, gallery: FixedPoint, positives: Int[torch.Tensor, "q p"], scores: Float[torch.Tensor, "q p"], chunk_size: int
) -> Int[torch.Tensor, "q p"]:
    """How many gallery rows outrank each positive. Column j of a query is skipped where it is padding."""
    lines = scores[:, 0].argsort() if scores.shape[1] else torch.arange(len(scores), device=scores.device)
    lines = lines[(positives >= 0).sum(dim=1)[lines].argsort(descending=True, stable=True)]  # many positives first: column j is a prefix
    sizes = (positives >= 0).sum(dim=0).tolist()
    count = OutrankCount(query, gallery, lines, positives[lines], scores[lines])
    for first, rows, block, chunk in _tiles(query, gallery, lines, chunk_size, gallery.filters_plain):
        tile = tile_scores(block, chunk, count.products(chunk, block))
        for column, size in enumerate(min(size - first, len(block)) for size in sizes):
            if size > 0:
                count.add(tile[:size], slice(first, first + size), column, rows, block)
    return torch.empty_like(positives).index_copy_(0, lines, count.finish())


def _stream_best(
    query: FixedPoint, gallery: FixedPoint, lines: torch.Tensor, k: int, excluded: torch.Tensor | None, chunk_size: int, dtype: torch.dtype
) -> tuple[Int[torch.Tensor, "q k"], Float[torch.Tensor, " q"]]:
    """The k best rows of some queries by score in `dtype`, and the score of the last one; in float64 exact, best first and ties by row."""
    rows = torch.full((len(lines), k), -1, dtype=torch.int64, device=query.device)
    best = torch.full((len(lines), k), -torch.inf, dtype=dtype, device=query.device)
    for first, where, block, chunk in _tiles(query, gallery, lines, chunk_size):
        part = slice(first, first + len(block))
        tile = tile_scores(block.to(dtype), chunk.to(dtype))
        if excluded is not None:
            _mask_excluded(tile, excluded[lines[part]], where.start)
        merged = torch.cat([best[part], tile], dim=1)  # kept rows are smaller than the tile's: a stable sort keeps ties in row order
        if dtype == torch.float64:
            kept, place = merged.sort(dim=1, descending=True, stable=True)
            kept, place = kept[:, :k], place[:, :k]
        else:
            kept, place = merged.topk(k, dim=1)
        columns = torch.arange(where.start, where.stop, device=query.device).expand(len(block), -1)
        rows[part] = torch.cat([rows[part], columns], dim=1).gather(1, place)
        best[part] = kept
    return rows.masked_fill(best == -torch.inf, -1), best[:, -1]


def _mask_excluded(tile: torch.Tensor, excluded: Int[torch.Tensor, "q e"], first_row: int) -> None:
    """Set the excluded rows of a tile to -inf, in place."""
    line, column = ((excluded >= first_row) & (excluded < first_row + tile.shape[1])).nonzero(as_tuple=True)
    tile[line, excluded[line, column] - first_row] = -torch.inf


def _ordered(query: FixedPoint, gallery: FixedPoint, rows: Int[torch.Tensor, "q c"]) -> tuple[torch.Tensor, torch.Tensor]:
    """Listed rows by exact score, ties by row, padding last, with their scores."""
    rows = rows.sort(dim=1).values
    scores, place = _scores_of_rows(query, gallery, rows).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, place), _real(scores, query, gallery)


def _real(scores: Float[torch.Tensor, "q c"], query: FixedPoint, gallery: FixedPoint) -> Float[torch.Tensor, "q c"]:
    """Integer scores as the inner products that they stand for."""
    return (scores / (query.scale * gallery.scale)).float()


def contrastive_loss(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g d"],
    target: Int[torch.Tensor, " q"],
    scale: Float[torch.Tensor, ""] | float = 1.0,
) -> Float[torch.Tensor, ""]:
    """Mean cross entropy of each query's target among all gallery rows, plainly: all (q, g) scores at once, in the rows' precision."""
    return torch.nn.functional.cross_entropy(scale * (query @ gallery.T), target)


def slot_scores(
    query: Float[torch.Tensor, "q c d"],
    slots: Float[torch.Tensor, "g s d"],
    coefficient: Float[torch.Tensor, "q c"],
    query_key: Int[torch.Tensor, "q c"] | None = None,
    slot_key: Int[torch.Tensor, "g s"] | None = None,
    *,
    chunk_size: int = 256,
) -> Float[torch.Tensor, "q g"]:
    """Signed, weighted, keyed constraints against slots as `kernels.slots` defines it: in float64, rounded to fp32 at the end."""
    parts = []
    for start in range(0, len(slots), chunk_size):
        chunk = slots[start : start + chunk_size].to(query.device).double()
        products = torch.einsum("qcd,gsd->qcgs", query.double(), chunk)
        if slot_key is not None:
            keys = slot_key[start : start + chunk_size].to(query.device)
            asked = query_key[:, :, None, None].to(query.device)
            products = products.masked_fill(~((keys >= 0) & ((asked < 0) | (asked == keys))), -torch.inf)
        best = products.amax(dim=-1) if slots.shape[1] else products.new_full(products.shape[:3], -torch.inf)
        best = best.masked_fill(best == -torch.inf, 0.0)  # no slot matches: the constraint adds nothing
        parts.append(torch.einsum("qc,qcg->qg", coefficient.to(query.device).double(), best).float())
    return torch.cat(parts, dim=1) if parts else torch.zeros(len(query), 0, device=query.device)
