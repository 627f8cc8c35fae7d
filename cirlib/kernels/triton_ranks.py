"""Exact ranks on a GPU: one scan that counts, and exact scores for the pairs that rounding leaves open.

Formula     rank = 1 + #(score > score of the positive) + #(score equal and gallery row smaller), over the gallery minus excluded rows
Scan        In fp16 (bf16 stays). A product further from the positive's exact score than rounding can explain is counted at once, the others
            are listed, one bit a pair, and compared by exact scores: the counts are those of `reference.target_ranks`, bit for bit.
Cost        The product of all pairs, and one exact score for each listed pair: about 0.1 % of the gallery for each query whose positive
            stands high, and 0.7 % at the median of a random gallery. A query with more than fits (a collapsed model) goes to the reference.
Memory      A block of queries and its lists. Nothing of the size q * g.
"""

import torch
from jaxtyping import Float, Int

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision
from cirlib.kernels.reference import _rows, _unique_rows, _wins, target_ranks
from cirlib.kernels.triton_scan import MOST_SLOTS, capability_of, choose_tile, listed_rows, outrank_counts
from cirlib.kernels.triton_search import SCAN_UNIT, ScanGallery, encode_query, exact_table, prepare
from cirlib.types import InputError

_CAPACITY = 512  # groups with open pairs that a list takes at first
_LISTS = 1 << 28  # bytes of all lists of a block of queries
_CHUNK = 1 << 16


def ranks(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    target: Int[torch.Tensor, "q *p"],
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    index: ScanGallery | None = None,
) -> Int[torch.Tensor, "q *p"]:
    """Rank each query's positives within the gallery (1 = best), as `reference.target_ranks` does, bit for bit.

    Args:
        query: Composed query embeddings on a CUDA device, finite.
        gallery: (g, d), or (g, m, d) of which the best vector counts; on the same device. More than 32 vectors are left to the reference.
        target: Gallery rows of the positives, (q,) or (q, p); -1 pads.
        exclude: Gallery rows taken out of a query's ranking, (q,) or (q, e); -1 pads, repeated rows count once.
        index: `triton_search.prepare(gallery)`; made here without it.

    Returns:
        int64 ranks in [1, g], shaped like `target`; 0 where `target` is -1. Equal scores are ordered by gallery row.

    Raises:
        InputError: As `reference.target_ranks`; or if the index is of another gallery, or the device is no GPU.
    """
    if query.ndim != 2 or gallery.ndim not in (2, 3) or query.shape[-1] != gallery.shape[-1]:
        raise InputError(f"queries {tuple(query.shape)} and gallery {tuple(gallery.shape)} do not fit; give (q, d) and (g, d) or (g, m, d)")
    if gallery.ndim == 3 and gallery.shape[1] > MOST_SLOTS:
        return target_ranks(query, gallery, target, exclude, chunk_size=_CHUNK)
    index = index or prepare(gallery)
    index.check(gallery)
    left = fixed_point(query, "query", query.device)
    positives = _rows("target", target, left, index.exact)
    excluded = _unique_rows(_rows("exclude", exclude, left, index.exact)) if exclude is not None else positives[:, :0]
    clash = (positives[:, :, None] == excluded[:, None, :]) & (positives[:, :, None] >= 0)
    if clash.any():
        raise InputError(f"query row {int(clash.nonzero()[0, 0])} excludes its own positive; a positive must stay in the ranking")
    found = torch.zeros_like(positives)
    with full_precision(query.device):
        for lines in torch.arange(len(query), device=query.device).split(max(16, _LISTS // (8 * _CAPACITY * max(1, positives.shape[1])))):
            if positives.shape[1] and len(lines):
                found[lines] = _outranking(left, index, lines, positives[lines], excluded[lines])
    crowded = (found < 0).any(dim=1).nonzero()[:, 0]
    ranked = torch.where(positives >= 0, found + 1, 0)
    if len(crowded):
        ranked[crowded] = target_ranks(query[crowded], gallery, positives[crowded], excluded[crowded], chunk_size=_CHUNK)
    return ranked.view(target.shape)


def _outranking(
    left: FixedPoint, index: ScanGallery, lines: Int[torch.Tensor, " n"], positives: Int[torch.Tensor, "n p"], excluded: torch.Tensor
) -> Int[torch.Tensor, "n p"]:
    """How many rows outrank each positive of some queries; -1 throughout for queries with too many open pairs."""
    query = encode_query(index, left.take(lines))
    scores = exact_table(left, index.exact, lines, positives)
    error = (query.loss + query.length * index.widest)[:, None]
    low, high = (((scores * SCAN_UNIT**2 + sign * error - query.offset[:, None]) / query.unit[:, None]).float() for sign in (-1, 1))
    low, high = (bound.masked_fill(positives < 0, torch.inf) for bound in (low, high))
    gallery = index.rows.view(*index.exact.rows.shape)
    tile = choose_tile(len(lines), gallery.element_size(), "counts", index.vectors, capability_of(gallery))
    above, entries, listed = outrank_counts(query.rows, gallery, low, high, _CAPACITY, tile=tile)
    need = int(entries.max())
    if _CAPACITY < need <= _LISTS // (8 * entries.numel()):
        above, entries, listed = outrank_counts(query.rows, gallery, low, high, need, tile=tile)
    crowded = (entries > listed.shape[2]).any(dim=1)
    entries[crowded] = 0
    line, column, row = listed_rows(entries, listed, index.vectors, tile)
    target = positives[line, column]
    if int((row == target).sum()) != int((positives[~crowded] >= 0).sum()):
        raise RuntimeError("a positive fell outside the margin of its own score: the matrix product here is less precise than it should be")
    exact = exact_table(left, index.exact, lines[line], row[:, None])
    better = _wins(exact, row[:, None], scores[line, column][:, None], target[:, None])[:, 0]
    counts = above.long().index_put_((line, column), better, accumulate=True)
    counts -= _wins(exact_table(left, index.exact, lines, excluded), excluded, scores, positives)
    return counts.masked_fill_(crowded[:, None], -1)
