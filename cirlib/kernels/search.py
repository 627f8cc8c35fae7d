"""The k best rows of a gallery, exactly and in a defined order: one function, several ways to get there.

reference    fp32 tiles and exact scores of what they leave open (`cirlib.kernels.reference.top_k`): any gallery, any device.
certified    A scan in 8 bits, for galleries that are searched often (`cirlib.kernels.eight_bit`): the candidates that a proven bound leaves
             are scored exactly, and each query says whether its list is proven. A list that is not is made again by the reference.
statistical  The same with a bound of eight typical errors, which leaves fewer candidates and proves nothing by itself.
triton       On a GPU (`cirlib.kernels.triton_search`).

Every way gives the rows, scores and ties of the reference, bit for bit; the statistical one unless an error exceeds eight typical ones.

Traffic      reference: 4 * g * d bytes and 2 * q * g * d fp32 operations. 8 bits: g * d bytes and the same operations on int8, of which a
             processor with VNNI does four in the time of one; then 4 * d bytes for each of some hundred candidates a query.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int

from cirlib.kernels._scan import Candidates, scan
from cirlib.kernels.eight_bit import EightBitGallery, int8_speed, statistical_bound
from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision, margin
from cirlib.kernels.reference import top_k
from cirlib.types import InputError

BACKENDS = ("auto", "reference", "certified", "statistical", "triton")
_QUERY_BLOCK = 1024  # queries scanned at once: 4,096 rows of the gallery then fill the block of scores
_FAST = 1.5  # the least that int8 products must gain over fp32 ones for a scan to pay
_LARGE_K = 64  # "auto" scans where the gallery holds at least so many times the rows asked for
_LARGE_GALLERY = 1 << 17  # rows from which "auto" takes Triton; below, the reference takes milliseconds on a GPU
_QUOTA = 2048, 64  # candidates of a query: that many, and that many times k; with more the reference is as fast


@dataclass(frozen=True)
class Found:
    """Result of a search.

    Attributes:
        rows: Gallery rows, best first; -1 where exclusion leaves fewer than k.
        scores: Their inner products, fp32; -inf there.
        certified: Whether a query's list is proven to be the reference's. Always, unless the backend is "statistical".
        backend: What was used: one of `BACKENDS` but "auto".
        details: Why it was chosen, and what it did: "why"; of a scan also "candidates" (rows scored exactly, mean per query), "escalated"
            (share of queries that the reference had to answer), and "mib" (memory of the codes).
    """

    rows: Int[torch.Tensor, "q k"]
    scores: Float[torch.Tensor, "q k"]
    certified: Bool[torch.Tensor, " q"]
    backend: str
    details: dict[str, Any]


def search(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    k: int,
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    backend: str = "auto",
    index: Any = None,
    chunk_size: int = 2048,
) -> Found:
    """The k best gallery rows of each query, best first, ties by gallery row: the order of `reference.top_k`.

    "auto" takes "triton" where queries and a gallery of at least 131,072 rows lie on one CUDA device and Triton is installed. On the CPU it
    takes "certified" if an `index` is given, the gallery has at least 64 times as many rows as are asked for, and int8 products are at
    least 1.5 times as fast as fp32 ones here; otherwise "reference". Codes are never made unasked: that takes as long as thousands of
    queries.

    Args:
        query: Composed query embeddings, finite.
        gallery: (g, d), or (g, m, d) with m vectors a picture, of which the best one counts; finite. Scans take (g, d).
        k: How many, in [1, g].
        exclude: Gallery rows left out, (q,) or (q, e); -1 pads.
        backend: One of `BACKENDS`.
        index: `eight_bit.quantise_gallery(gallery)`, needed by "certified" and "statistical"; or `triton_search.prepare(gallery)`, which
            "triton" otherwise makes anew.
        chunk_size: As in `reference.top_k`; scans ignore it. Never changes the result.

    Raises:
        InputError: As `reference.top_k`; also for an unknown backend, or one that cannot be used with this gallery, index or device.

    Example:
        >>> gallery = torch.eye(3)
        >>> found = search(torch.tensor([[0.1, 0.9, 0.3]]), gallery, 2)
        >>> found.rows.tolist(), found.backend
        ([[1, 2]], 'reference')
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} given; choose one of {', '.join(BACKENDS)}")
    codes = index if isinstance(index, EightBitGallery) else None
    if codes is not None and not codes.belongs_to(gallery):
        raise InputError("the index was made of another gallery, or the gallery has changed since; make it with quantise_gallery(gallery)")
    asked = k + (exclude.shape[1] if exclude is not None and exclude.ndim == 2 else int(exclude is not None))
    why = "asked for"
    if backend == "auto":
        backend, why = _choose(query, gallery, asked, codes)
    if backend == "triton":
        from cirlib.kernels import triton_search

        return triton_search.search(query, gallery, k, exclude, index=None if codes is not None else index)
    if backend == "reference":
        rows, scores = top_k(query, gallery, k, exclude, chunk_size=chunk_size)
        return Found(rows, scores, torch.ones(len(rows), dtype=torch.bool, device=rows.device), backend, {"why": why})
    if codes is None or query.device.type != "cpu":
        raise InputError(f"backend {backend!r} scans 8-bit codes on the CPU; give index=quantise_gallery(gallery) and queries on the CPU")
    rows, scores, certified, details = _scan_all(query, codes, k, _checked(query, codes, k, exclude), backend == "certified")
    return Found(rows, scores, certified, backend, {"why": why, **details, "mib": round(codes.mib, 1)})


def _choose(query: torch.Tensor, gallery: torch.Tensor, asked: int, index: EightBitGallery | None) -> tuple[str, str]:
    """What "auto" takes, and why."""
    if query.is_cuda and gallery.device == query.device and len(gallery) >= _LARGE_GALLERY and importlib.util.find_spec("triton"):
        return "triton", f"queries and {len(gallery)} rows are on a GPU"
    if index is None:
        return "reference", "no 8-bit index was given"
    if len(gallery) < _LARGE_K * asked:
        return "reference", f"{asked} of {len(gallery)} rows are too many for a scan to pay"
    if int8_speed() < _FAST:
        return "reference", f"int8 products are {int8_speed():.1f} times as fast as fp32 ones here"
    return "certified", f"int8 products are {int8_speed():.1f} times as fast as fp32 ones here"


def _checked(query: torch.Tensor, index: EightBitGallery, k: int, exclude: torch.Tensor | None) -> Int[torch.Tensor, "q e"]:
    """Excluded rows as a (q, e) table; raises InputError for what the reference would refuse."""
    if query.ndim != 2 or query.shape[1] != index.codes.shape[1]:
        raise InputError(f"queries {tuple(query.shape)} given and rows of the gallery have {index.codes.shape[1]} entries; give (q, d)")
    if not 1 <= k <= len(index):
        raise InputError(f"top {k} of a gallery of {len(index)} asked for; k lies between 1 and the size of the gallery")
    if exclude is None:
        return torch.empty(len(query), 0, dtype=torch.int64)
    if exclude.ndim not in (1, 2) or len(exclude) != len(query) or exclude.is_floating_point():
        raise InputError(
            f"exclude is {exclude.dtype} {tuple(exclude.shape)}; give whole numbers, one line for each of {len(query)} queries"
        )
    exclude = exclude.to(query.device, torch.int64)
    exclude = exclude[:, None] if exclude.ndim == 1 else exclude
    if ((exclude < -1) | (exclude >= len(index))).any():
        raise InputError(f"exclude holds rows outside the gallery; rows lie in [0, {len(index)}), -1 pads")
    return exclude


def _scan_all(
    query: torch.Tensor, index: EightBitGallery, k: int, exclude: Int[torch.Tensor, "q e"], certified: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Rows, scores, proofs and details of a search by scan, escalated where the scan left a query open."""
    left = fixed_point(query, "query", query.device)
    rows, scores = torch.full((len(query), k), -1), torch.full((len(query), k), -torch.inf)
    reached, proven = (torch.zeros(len(query), dtype=torch.bool) for _ in range(2))
    scored, wanted = 0, k + exclude.shape[1]  # excluded rows may be among the best
    with full_precision(query.device):
        for start in range(0, len(query), _QUERY_BLOCK):
            part = slice(start, start + _QUERY_BLOCK)
            whole = left.take(part)
            codes = index.quantise_query(whole)
            bound = codes.bound if certified else statistical_bound(codes)
            found = scan(index, codes, bound, wanted, _QUOTA[0] + _QUOTA[1] * wanted)
            line, row = _without(found, exclude[part], len(index))
            rows[part], best = _best(whole, index.gallery, line, row, k, margin(left, index.gallery))
            scores[part] = (best / (left.scale * index.gallery.scale)).float()
            reached[part] = best[:, -1] >= found.threshold
            proven[part] = best[:, -1] >= found.threshold + (codes.bound - bound).amax(dim=1)
            scored += len(row)
    if not reached.all():
        again = (~reached).nonzero()[:, 0]
        rows[again], scores[again] = _by_reference(query, index.gallery.rows, k, exclude, again)
    details = {"candidates": scored / max(1, len(query)), "escalated": float((~reached).sum()) / max(1, len(query))}
    return rows, scores, proven | ~reached, details


def _without(found: Candidates, exclude: Int[torch.Tensor, "q e"], rows: int) -> tuple[Int[torch.Tensor, " n"], Int[torch.Tensor, " n"]]:
    """Query and gallery row of the candidates that are not excluded."""
    line, column = (exclude >= 0).nonzero(as_tuple=True)
    keep = ~torch.isin(found.line * rows + found.row, line * rows + exclude[line, column])
    return found.line[keep], found.row[keep]


def _best(
    query: Float[torch.Tensor, "q d"],
    gallery: FixedPoint,
    line: Int[torch.Tensor, " n"],
    row: Int[torch.Tensor, " n"],
    k: int,
    rounding: float,
) -> tuple[Int[torch.Tensor, "q k"], Float[torch.Tensor, "q k"]]:
    """The k best candidates of each query by exact score, ties by gallery row: rows and integer scores, -1 and -inf where there are fewer.

    A query's candidates are fetched together. An fp32 product settles which can be among the k best; `rounding` is what it can be off by.
    """
    wide, slack = query.double(), 2 * rounding / gallery.scale
    counts = torch.bincount(line, minlength=len(query))
    width = max(k, int(counts.max()))
    rows, scores = torch.full((len(query), width), -1), torch.full((len(query), width), -torch.inf, dtype=torch.float64)
    for number, own in enumerate(row.split(counts.tolist())):
        if len(own) > k and gallery.filters_plain:
            rough = gallery.plain(own) @ query[number]
            near = (rough >= rough.topk(k, sorted=False).values.min() - slack).nonzero()[:, 0]
            own = own.index_select(0, near)
        rows[number, : len(own)] = own
        scores[number, : len(own)] = gallery.take(own).double() @ wide[number]
    scores, place = scores.sort(dim=1, descending=True, stable=True)  # candidates stand in the order of gallery rows, so ties do too
    return rows.gather(1, place[:, :k]), scores[:, :k]


def _by_reference(
    query: torch.Tensor, gallery: torch.Tensor, k: int, exclude: torch.Tensor, lines: Int[torch.Tensor, " n"]
) -> tuple[Int[torch.Tensor, "n k"], Float[torch.Tensor, "n k"]]:
    """Some queries, answered by the reference in the fixed point of all: the longest query sets that, so it comes along."""
    longest = torch.linalg.vector_norm(query.float(), dim=1).argmax(keepdim=True)
    lines = torch.cat([longest, lines])
    rows, scores = top_k(query[lines], gallery, k, exclude[lines])
    return rows[1:], scores[1:]
