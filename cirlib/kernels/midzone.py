"""Relevance of a pool to each query, block by block, and the priorities by which negatives are drawn from it, in plain chunked torch.

Formula    c(q, x) = max over m of <q, v_m(x)>;  priority(x) = hash(seed, round, query, x), and the n smallest priorities are the draw
Traffic    2 q p m d operations; the gallery is read once per block of queries, and the max over m is taken while its tile is in cache.
Memory     O(query_block * (p + chunk_size)): the scores of one block of queries, and one tile of products. Never q * p * m.
Precision  Scores are exact inner products of rows in fixed point (see `cirlib.kernels.exact`), rounded to fp32 once, and compared as such:
           no block size, thread count or device can move a candidate over a bound, and copies of a picture stand at the same gap. The
           float64 product behind it takes about twice the time of an fp32 one.
Draws      32-bit hashes of whole numbers: the n candidates of smallest priority are a uniform sample without replacement, whatever the
           order in which candidates are seen, and the same on every device.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision, tile_scores
from cirlib.types import InputError

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0x21F0AAAD, 0xD35A2D97)  # with shifts of 16, 15 and 15: a published 32-bit mixer of little bias
_GOLDEN = 0x9E3779B9


def relevance_blocks(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    query_rows: Int[torch.Tensor, " r"] | None = None,
    pool: Int[torch.Tensor, " p"] | None = None,
    *,
    query_block: int = 512,
    chunk_size: int = 2048,
) -> Iterator[tuple[Int[torch.Tensor, " b"], Float[torch.Tensor, "b p"]]]:
    """Scores of every query against a pool of pictures, in blocks of queries.

    Args:
        query: Composed query embeddings; unit rows if cosine relevance is meant.
        gallery: (g, d), or (g, m, d) with m vectors a picture, the best of which counts. On any device and in any float precision.
        query_rows: Which queries, in which order; all of them without it.
        pool: Gallery rows of the candidates, in the order of the columns; the whole gallery without it.
        query_block: Queries that are yielded together.
        chunk_size: Gallery vectors multiplied at once. Neither size changes a score.

    Yields:
        Rows of the queries in a block, and their fp32 scores against the pool, on the device of the queries.

    Raises:
        InputError: If shapes do not fit, a size is below 1, a row lies outside, or an embedding is not finite.

    Example:
        >>> gallery = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]])
        >>> [(rows.tolist(), scores.tolist()) for rows, scores in relevance_blocks(torch.tensor([[1.0, 0.0]]), gallery)]
        [([0], [[1.0, 0.6000000238418579]])]
    """
    if query.ndim != 2 or gallery.ndim not in (2, 3) or query.shape[-1] != gallery.shape[-1]:
        raise InputError(f"queries {tuple(query.shape)} and gallery {tuple(gallery.shape)} do not fit; give (q, d) and (g, d) or (g, m, d)")
    if query_block < 1 or chunk_size < 1:
        raise InputError(f"query block {query_block} and chunk size {chunk_size} given; both are at least 1")
    left, right = (rows.detach() for rows in (query, gallery))
    left, right = fixed_point(left, "query", query.device), fixed_point(right, "gallery", query.device)
    rows = _rows("query rows", query_rows, len(left), query.device)
    columns = _rows("pool", pool, len(right), query.device)
    return ((part, _block(left, right, part, columns, chunk_size)) for part in rows.split(query_block) if len(part))


def priorities(words: Sequence[int | Int[torch.Tensor, "*n"]]) -> Int[torch.Tensor, "*n"]:
    """A 32-bit hash of several whole numbers, elementwise; the n members of smallest priority are a uniform draw without replacement.

    Args:
        words: Numbers and tensors in [0, 2^32) that broadcast together, at least one a tensor, for example (seed, round, query, member).
            Their order counts.

    Returns:
        int64 in [0, 2^32), shaped like the broadcast words. Two members share a priority with probability 2^-32; break that tie by member.

    Example:
        >>> first, again = (priorities((7, 0, 3, torch.arange(4))) for _ in range(2))
        >>> torch.equal(first, again), len(set(first.tolist()))
        (True, 4)
    """
    state: int | torch.Tensor = 0
    for word in words:
        state = _mix((state ^ word) + _GOLDEN & _WORD)
    return state


def _mix(x: int | torch.Tensor) -> int | torch.Tensor:
    """Scramble 32 bits, reversibly. Products are taken in halves: 2^32 * 2^32 would leave int64."""
    for shift, multiplier in zip((16, 15), _MULTIPLIERS, strict=True):
        x = x ^ x >> shift
        x = ((x >> 16) * multiplier << 16 & _WORD) + (x & 0xFFFF) * multiplier & _WORD
    return x ^ x >> 15


def _block(
    query: FixedPoint, gallery: FixedPoint, rows: Int[torch.Tensor, " b"], pool: Int[torch.Tensor, " p"], chunk_size: int
) -> Float[torch.Tensor, "b p"]:
    """Scores of one block, its tiles written side by side."""
    step = max(1, chunk_size // (gallery.rows.shape[1] if gallery.rows.ndim == 3 else 1))
    scores = torch.empty(len(rows), len(pool), device=query.device)
    unit = 1 / (query.scale * gallery.scale)  # a power of two: it rounds nothing
    with full_precision(query.device):
        block = query.take(rows).double()
        for start in range(0, len(pool), step):
            chunk = gallery.take(pool[start : start + step]).double()
            scores[:, start : start + step] = tile_scores(block, chunk).mul_(unit)
    return scores


def _rows(what: str, rows: torch.Tensor | None, size: int, device: torch.device) -> Int[torch.Tensor, " n"]:
    if rows is None:
        return torch.arange(size, device=device)
    if rows.ndim != 1 or rows.is_floating_point():
        raise InputError(f"{what} are {rows.dtype} {tuple(rows.shape)}; give a list of whole numbers")
    if len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < size):
        raise InputError(f"{what} from {int(rows.min())} to {int(rows.max())} given; rows lie in [0, {size})")
    return rows.to(device, torch.int64)
