"""Exact search on a GPU: one scan that writes upper bounds of groups, exact scores for the best groups, and a proof for each query.

Scan        Rows are rounded to fp16 (bf16 stays) or to 8 bits, and a group's maximum is an upper bound: what rounding can cost a row, by
            Cauchy-Schwarz, is added before the maximum, and what it can cost a query afterwards.
Candidates  The best k + k / 2 + 16 groups of a query, by their bounds. Their rows are bounded one by one, and as many of the best rows are
            scored exactly, in float64.
Proof       If the k-th exact score passes the bound of the best group and of the best row left out, nothing outside the candidates reaches
            it: the list is that of `reference.top_k`, ties included. A query without proof gets four times as many, then the reference.
8 bits      Rows and queries are rotated at random and the gallery's mean is taken off, so that one step size serves all entries. With
            `statistical`, errors count as eight typical ones instead of the worst, and `certified` says for which queries a proof held too.
Memory      The scan's rows (2 or 1 bytes an entry, none if the gallery has them already), q * g / 8 bytes of bounds for a block of queries.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Num

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision
from cirlib.kernels.reference import _rows, top_k
from cirlib.kernels.search import Found
from cirlib.kernels.triton_scan import STRIDE, Tile, accumulation_error, capability_of, choose_tile, group_maxima, group_rows, pair_products
from cirlib.types import InputError

KINDS = ("half", "int8")
SCAN_UNIT = 2.0**-26  # fixed-point rows times this have lengths of at most 1.25: no fp16 overflows, and no scale is too small
_SPARE = 16  # groups and rows examined beyond k + k / 2: what rounding blurs at the edge of the list
_WIDEN = 4  # times as many for queries without proof
_BOUNDS = 1 << 29  # bounds of a block of queries: 2 GiB
_AREA = 1 << 26  # float64 numbers gathered at once: 512 MiB
_CHUNK = 1 << 16  # gallery rows converted at once
_SIGMAS = 8.0
_ROUND_UP = 1 + 2.0**-10  # lengths taken in fp32 are rounded up by far more than they can be off


@dataclass(frozen=True)
class ScanGallery:
    """A gallery made ready once for any number of searches. Do not change the gallery while this is in use.

    Attributes:
        exact: The gallery itself, for exact scores.
        rows: What is scanned, one row a vector: (g * m, d) in fp16, bf16 or int8, in units of `step`.
        radius: How far each vector is from its scanned row, fp32, rounded up.
        step: Size of one unit.
        longest: Length of the longest scanned row plus its radius.
        rotation: Of the 8-bit codes, float64; None for "half".
        mean: Rotated mean of the gallery, taken off before coding; None for "half".
    """

    exact: FixedPoint
    rows: Num[torch.Tensor, "n d"]
    radius: Float[torch.Tensor, " n"]
    step: float
    longest: float
    rotation: Float[torch.Tensor, "d d"] | None = None
    mean: Float[torch.Tensor, " d"] | None = None

    @property
    def vectors(self) -> int:
        """Vectors a picture."""
        return self.exact.rows.shape[1] if self.exact.rows.ndim == 3 else 1

    @functools.cached_property
    def widest(self) -> float:
        """Largest radius, rounded up."""
        return float(self.radius.max()) * _ROUND_UP

    def check(self, gallery: torch.Tensor) -> None:
        """Raise InputError unless this was made of that very tensor."""
        if self.exact.rows.data_ptr() != gallery.data_ptr() or self.exact.rows.shape != gallery.shape:
            raise InputError("the index was made of another gallery; make it with triton_search.prepare(gallery)")


@dataclass(frozen=True)
class ScanQuery:
    """Queries as they are scanned. A score is unit * product + offset, off by at most loss + length * radius.

    Attributes:
        rows: (q, d), in the dtype of the gallery's.
        unit: Of a product, float64.
        offset: What the gallery's mean adds, float64.
        length: Of the rounded query.
        loss: What rounding the query and adding in fp32 can cost.
        typical: Standard deviation of all errors of a product if they are random.
    """

    rows: Num[torch.Tensor, "q d"]
    unit: Float[torch.Tensor, " q"]
    offset: Float[torch.Tensor, " q"]
    length: Float[torch.Tensor, " q"]
    loss: Float[torch.Tensor, " q"]
    typical: Float[torch.Tensor, " q"]


def prepare(gallery: Float[torch.Tensor, "g *m d"], kind: str = "half") -> ScanGallery:
    """Make what a search scans, in two passes over the gallery.

    Args:
        gallery: (g, d), or (g, m, d) with m vectors a picture; in any float precision, on the device of the searches.
        kind: "half" scans 16 bits an entry; "int8" scans 8 and leaves more candidates: for large galleries.

    Raises:
        InputError: If the gallery is empty, has another shape, or holds a number that is not finite; or for an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} of scan given; choose one of {', '.join(KINDS)}")
    if gallery.ndim not in (2, 3) or 0 in gallery.shape:
        raise InputError(f"a gallery of shape {tuple(gallery.shape)} given; a scan takes (g, d) or (g, m, d) with at least one row")
    exact = fixed_point(gallery, "gallery", gallery.device)
    width = gallery.shape[:-1].numel()
    dtype = gallery.dtype if gallery.dtype == torch.bfloat16 else torch.float16
    ready = kind == "half" and gallery.dtype == dtype and exact.scale * SCAN_UNIT == 1 and gallery.is_contiguous()
    rows = gallery.detach().flatten(0, -2) if ready else gallery.new_empty(width, gallery.shape[-1], dtype=dtype)
    if kind == "int8":
        return _eight_bit(exact, gallery.new_empty(width, gallery.shape[-1], dtype=torch.int8))
    radius, longest = gallery.new_empty(width, dtype=torch.float32), 0.0
    for part, chunk in _chunks(exact):
        if not ready:
            rows[part] = chunk.to(dtype)
        radius[part] = (chunk - rows[part].float()).norm(dim=1) * _ROUND_UP
        longest = max(longest, float(rows[part].float().norm(dim=1).max()))
    return ScanGallery(exact, rows, radius, 1.0, longest * _ROUND_UP + float(radius.max()))


def encode_query(index: ScanGallery, query: Float[torch.Tensor, "q d"]) -> ScanQuery:
    """Queries for the scan of a gallery, given as `FixedPoint.take` gives them."""
    whole = query.double() * SCAN_UNIT
    if index.rotation is None:
        rows, step, offset = whole.to(index.rows.dtype), whole.new_ones(len(whole)), whole.new_zeros(len(whole))
    else:
        whole = whole @ index.rotation
        step, offset = (whole.abs().amax(dim=1) / 127).clamp_min(2.0**-60), whole @ index.mean
        rows = (whole / step[:, None]).round_().to(torch.int8)
    coded = rows.double() * step[:, None]
    length, error = coded.norm(dim=1), (whole - coded).norm(dim=1)
    rounding = accumulation_error(whole.shape[1]) * length * index.longest
    typical = torch.hypot(length * index.widest, error * index.longest) / whole.shape[1] ** 0.5
    return ScanQuery(rows, step * index.step, offset, length, error * index.longest + rounding, typical)


def search(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    k: int,
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    index: ScanGallery | None = None,
    statistical: bool = False,
) -> Found:
    """The k best gallery rows of each query, as `reference.top_k` gives them, bit for bit.

    Args:
        query: Composed query embeddings on a CUDA device, finite.
        gallery: (g, d), or (g, m, d) of which the best vector counts; on the same device.
        k: How many, in [1, g].
        exclude: Gallery rows left out, (q,) or (q, e); -1 pads.
        index: `prepare(gallery)`; made here without it, which takes longer than one search.
        statistical: Accept lists that hold unless an error exceeds eight typical ones. Only of use with 8 bits.

    Returns:
        `Found`; details tell "kind", "groups" (share of all that a query's first try examines), "escalated" and "reference" (shares of
        queries that needed a second and a third try).

    Raises:
        InputError: As `reference.top_k`; or if the index is of another gallery, or the device is no GPU.
    """
    index = index or prepare(gallery)
    index.check(gallery)
    if query.ndim != 2 or query.shape[-1] != gallery.shape[-1] or not 1 <= k <= len(gallery):
        raise InputError(f"top {k} for queries {tuple(query.shape)} in a gallery {tuple(gallery.shape)} asked for; they do not fit")
    left = fixed_point(query, "query", query.device)
    none = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    excluded = none if exclude is None else _rows("exclude", exclude, left, index.exact)
    tile = choose_tile(max(1, len(query)), index.rows.element_size(), capability=capability_of(query))
    groups = STRIDE * -(-len(index.rows) // tile.gallery)
    width = (k + k // 2 + _SPARE + excluded.shape[1]) * min(8, index.vectors)  # a picture's vectors lie in up to 8 groups
    rows, scores = torch.full((len(query), k), -1, device=query.device), torch.full((len(query), k), -torch.inf, device=query.device)
    proven = torch.zeros(len(query), dtype=torch.bool, device=query.device)
    lines, left_over = torch.arange(len(query), device=query.device), []
    with full_precision(query.device):
        for tried in (width, _WIDEN * width):
            reached = torch.zeros_like(lines, dtype=torch.bool)
            for part in torch.arange(len(lines), device=lines.device).tensor_split(-(-len(lines) // max(128, _BOUNDS // groups)) or 1):
                those = lines[part]
                if len(those):
                    rows[those], scores[those], reached[part], proven[those] = _best(
                        left, index, those, k, excluded[those], tried, tile, statistical
                    )
            lines = lines[~reached]
            left_over.append(len(lines) / max(1, len(query)))
    if len(lines):
        longest = torch.linalg.vector_norm(query.float(), dim=1).argmax(keepdim=True)
        some = torch.cat([longest, lines])  # the longest query sets the fixed point of all, so it comes along
        found = top_k(query[some], gallery, k, excluded[some] if excluded.shape[1] else None, chunk_size=_CHUNK)
        rows[lines], scores[lines] = (part[1:] for part in found)
        proven[lines] = True
    details = {"why": "Triton was asked for or the queries are on a GPU", "kind": str(index.rows.dtype).removeprefix("torch.")}
    details |= {"groups": min(1.0, width / groups), "escalated": left_over[0], "reference": left_over[1]}
    return Found(rows, scores, proven, "triton", details)


def exact_table(
    query: FixedPoint, gallery: FixedPoint, lines: Int[torch.Tensor, " n"], rows: Int[torch.Tensor, "n c"]
) -> Float[torch.Tensor, "n c"]:
    """Exact integer scores of listed rows of each query, -inf for -1: `exact.pair_scores` with more pairs at once."""
    scores = torch.full(rows.shape, -torch.inf, dtype=torch.float64, device=rows.device)
    each = gallery.rows.shape[1] if gallery.rows.ndim == 3 else 1
    step = max(1, _AREA // max(1, rows.shape[1] * each * gallery.rows.shape[-1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        vectors = gallery.take(rows[part].clamp_min(0).flatten()).double()
        vectors = vectors.view(len(rows[part]), rows.shape[1] * each, vectors.shape[-1])
        products = vectors @ query.take(lines[part]).double()[:, :, None]
        scores[part] = products.view(*rows[part].shape, each).amax(dim=-1)
    return scores.masked_fill_(rows < 0, -torch.inf)


def _best(
    left: FixedPoint,
    index: ScanGallery,
    lines: Int[torch.Tensor, " n"],
    k: int,
    excluded: Int[torch.Tensor, "n e"],
    width: int,
    tile: Tile,
    statistical: bool,
) -> tuple[Int[torch.Tensor, "n k"], Float[torch.Tensor, "n k"], Bool[torch.Tensor, " n"], Bool[torch.Tensor, " n"]]:
    """Rows, scores, whether the list is accepted, and whether it is proven."""
    query = encode_query(index, left.take(lines))
    slack = (query.length * _ROUND_UP / query.unit).clamp_min(2.0**-100).float()
    radius = None if statistical else index.radius
    bounds = group_maxima(query.rows, index.rows, slack, radius, tile=tile)
    best, chosen = bounds.topk(min(width, bounds.shape[1]), dim=1)
    beyond = best[:, -1] if width < bounds.shape[1] else best.new_full((len(lines),), -torch.inf)  # no group left out is above that
    vectors = group_rows(chosen, len(index.rows), tile).flatten(1)
    for column in excluded.unbind(dim=1):
        vectors.masked_fill_((vectors.div(index.vectors, rounding_mode="floor") == column[:, None]) & (vectors >= 0), -1)
    bounds = pair_products(query.rows, index.rows, vectors)
    if not statistical:
        bounds += slack[:, None] * index.radius[vectors.clamp_min(0)]
    best, chosen = bounds.topk(min(width, bounds.shape[1]), dim=1)
    beyond = torch.maximum(beyond, best[:, -1]) if best.shape[1] < bounds.shape[1] else beyond
    vectors = vectors.gather(1, chosen).masked_fill_(best == -torch.inf, -1)
    rows = _once(vectors.div(index.vectors, rounding_mode="floor"))  # in the order of rows, so that a stable sort orders ties
    scores, place = exact_table(left, index.exact, lines, rows).sort(dim=1, descending=True, stable=True)
    rows, scores = _at_least(rows.gather(1, place), k, -1), _at_least(scores, k, -torch.inf)
    last, above = scores[:, k - 1] * SCAN_UNIT**2, beyond.double() * query.unit + query.offset
    worst = query.loss + (query.length * index.widest if statistical else 0)
    allowed = torch.minimum(worst, _SIGMAS * query.typical) if statistical else worst
    reached, proven = ((beyond == -torch.inf) | (last > above + loss) for loss in (allowed, worst))
    return rows[:, :k], (scores[:, :k] / (left.scale * index.exact.scale)).float(), reached, proven


def _once(rows: Int[torch.Tensor, "n c"]) -> Int[torch.Tensor, "n c"]:
    """Sorted, each row once a query; repeats become -1 where they stand."""
    rows = rows.sort(dim=1).values
    repeated = torch.zeros_like(rows, dtype=torch.bool)
    repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    return rows.masked_fill_(repeated, -1)


def _eight_bit(exact: FixedPoint, rows: torch.Tensor) -> ScanGallery:
    """Codes of the rotated and centred gallery, with one step for all, so that the largest entry becomes 127."""
    dim, device = rows.shape[1], rows.device
    generator = torch.Generator().manual_seed(0)  # changes time, never a certified result
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0].to(device)
    mean = sum(chunk.sum(dim=0, dtype=torch.float64) for _, chunk in _chunks(exact)) @ rotation / len(rows)
    peak = max(float((chunk.double() @ rotation - mean).abs().max()) for _, chunk in _chunks(exact))
    step, radius, longest = max(peak / 127, 2.0**-60), torch.empty(len(rows), device=device), 0.0
    for part, chunk in _chunks(exact):
        centred = chunk.double() @ rotation - mean
        rows[part] = (centred / step).round_().to(torch.int8)
        radius[part] = ((centred - rows[part] * step).norm(dim=1) * _ROUND_UP).float()
        longest = max(longest, float(centred.norm(dim=1).max()))
    return ScanGallery(exact, rows, radius, step, longest * _ROUND_UP + float(radius.max()), rotation, mean)


def _chunks(exact: FixedPoint) -> Iterator[tuple[slice, Float[torch.Tensor, "k d"]]]:
    """The vectors of a gallery, converted some at a time, in units in which they are at most 1.25 long."""
    each = exact.rows.shape[1] if exact.rows.ndim == 3 else 1
    step = max(1, _CHUNK // each)
    for start in range(0, len(exact), step):
        chunk = exact.take(slice(start, start + step)).mul_(SCAN_UNIT).flatten(0, -2)
        yield slice(start * each, start * each + len(chunk)), chunk


def _at_least(table: torch.Tensor, width: int, fill: float) -> torch.Tensor:
    """A table padded to so many columns."""
    return torch.nn.functional.pad(table, (0, max(0, width - table.shape[1])), value=fill)
