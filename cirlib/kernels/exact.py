"""Exact inner products: rows in fixed point, so that a score does not depend on how, where or in which order it was added up.

Why        A matrix product rounds differently from one tile shape, thread count or device to the next. A score would then depend on the
           chunk size, identical pictures would not tie, and a positive scored by another route could outrank itself.
How        Every entry is rounded to a multiple of 2^-26 of the longest row. Entries are then integers below 2^27 that fp32 holds exactly,
           products are integers, and no partial sum of a score reaches 2^53: float64 adds them without any rounding, in any order.
Precision  An entry moves by at most 2^-27 of the longest row, which for unit rows is less than an fp32 matrix product loses anyway.
Filter     An fp32 product of the same integers is off by at most `margin`, whatever its order. It settles all but a handful of comparisons.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from cirlib.types import InputError

_BITS = 26  # products of two such rows: 2 * 26 = 52 bits, one short of float64's 53
_LONGEST = 1.25  # longest row in units of 2^26; its square stays below 2, so that sums stay below 2^53
_PAIR_ELEMENTS = 1 << 20  # float64 numbers gathered at once when pairs are scored one by one
_NORM_ROWS = 8192  # rows whose lengths are taken at once


@dataclass(frozen=True)
class FixedPoint:
    """Rows as integers held in fp32. The gallery is converted chunk by chunk and never copied whole.

    Attributes:
        rows: The rows as given, (n, d) or (n, m, d), in any float dtype.
        scale: Power of two that turns an entry into its integer.
        longest: Length of the longest row, in integer units.
        device: Where the integers are wanted.
    """

    rows: Float[torch.Tensor, "n *m d"]
    scale: float
    longest: float
    device: torch.device

    def __len__(self) -> int:
        return self.rows.shape[0]

    def take(self, index: slice | Int[torch.Tensor, " k"]) -> Float[torch.Tensor, "k *m d"]:
        """Some rows as integers in fp32."""
        return self.plain(index).mul(self.scale).round_()

    def plain(self, index: slice | Int[torch.Tensor, " k"]) -> Float[torch.Tensor, "k *m d"]:
        """Some rows in fp32 as they were given, neither scaled nor rounded: no pass over a gallery of fp32, for the filter."""
        rows = self.rows.index_select(0, index.to(self.rows.device)) if isinstance(index, torch.Tensor) else self.rows[index]
        return rows.to(self.device, torch.float32)

    @property
    def filters_plain(self) -> bool:
        """Whether fp32 products of plain rows with integer rows stay far from overflow and underflow; unit rows do."""
        return 2.0**-40 < self.longest / self.scale < 2.0**40


def fixed_point(rows: Float[torch.Tensor, "n *m d"], what: str, device: torch.device) -> FixedPoint:
    """Prepare rows for exact scores.

    Args:
        rows: Floats of any precision; half precision is widened to fp32 first.
        what: "query" or "gallery", for the error message.
        device: Where scores are computed.

    Raises:
        InputError: If a row holds a number that is not finite; the message names the row.
    """
    if not rows.is_floating_point():
        raise InputError(f"{what} rows are {rows.dtype}; give floating point embeddings")
    longest = 0.0
    for start in range(0, rows.shape[0], _NORM_ROWS):
        lengths = torch.linalg.vector_norm(rows[start : start + _NORM_ROWS].float(), dim=-1)
        lengths = lengths.amax(dim=-1) if lengths.ndim == 2 else lengths
        if not bool(lengths.isfinite().all()):
            row = start + int(lengths.isfinite().logical_not().nonzero()[0])
            raise InputError(f"{what} row {row} has a score that is not a number; its embedding must be finite")
        longest = max(longest, float(lengths.max()))
    exponent = max(math.frexp(longest / _LONGEST)[1], -60) if longest > 0 else 0  # below that the scale itself would leave fp32
    scale = 2.0 ** (_BITS - exponent)
    return FixedPoint(rows.detach(), scale, longest * scale + math.sqrt(rows.shape[-1]), device)


def margin(query: FixedPoint, gallery: FixedPoint) -> float:
    """How far an fp32 product of fixed-point rows can be from the exact score, in integer units.

    The bound of any summation order is d * u * |q| * |g| with u = 2^-24; four more units pay for rounding thresholds to fp32, and the
    factor for the terms in u^2 (d up to 600,000). Where the gallery's rows are taken plain, each entry is up to half a unit from its
    integer, which adds at most |q| sqrt(d) / 2: below 1 % of the rest from d = 64 on.
    """
    dim = query.rows.shape[-1]
    return 1.05 * (dim + 4) * 2.0**-24 * query.longest * gallery.longest + 0.5 * math.sqrt(dim) * query.longest


def tile_scores(
    query: Float[torch.Tensor, "q d"], chunk: Float[torch.Tensor, "k *m d"], out: Float[torch.Tensor, "n q"] | None = None
) -> Float[torch.Tensor, "q k"]:
    """Scores of one block of queries against one chunk of the gallery: the best of the m vectors of each picture.

    In float64 they are exact; in fp32 they are within `margin`. The product is taken with the gallery's rows on the left, which BLAS does
    up to a tenth faster, and a maximum over m then runs along the queries; what comes back is a transposed view.

    Args:
        query: Rows of the queries.
        chunk: Rows of the gallery.
        out: Where to keep the products, k * m rows: a fresh tile costs its page faults each time.
    """
    scores = torch.mm(chunk.flatten(0, -2), query.T, out=out)  # (k * m, q)
    return (scores if chunk.ndim == 2 else scores.view(len(chunk), chunk.shape[1], len(query)).amax(dim=1)).T


def pair_scores(
    query: FixedPoint, gallery: FixedPoint, query_rows: Int[torch.Tensor, " n"], gallery_rows: Int[torch.Tensor, " n"]
) -> Float[torch.Tensor, " n"]:
    """Exact scores of single pairs, float64 integers; equal to what `tile_scores` gives in float64, bit for bit."""
    scores = torch.empty(len(query_rows), dtype=torch.float64, device=query.device)
    step = max(1, _PAIR_ELEMENTS // math.prod(gallery.rows.shape[1:]))
    for start in range(0, len(query_rows), step):
        part = slice(start, start + step)
        left = query.take(query_rows[part]).double()  # (n, d)
        right = gallery.take(gallery_rows[part]).double()  # (n, d) or (n, m, d)
        if right.ndim == 3:
            scores[part] = (right @ left[:, :, None])[:, :, 0].amax(dim=-1)
        else:
            scores[part] = (left[:, None, :] @ right[:, :, None])[:, 0, 0]
    return scores


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in true fp32: no TF32 or bf16 shortcuts, no autocast, no gradients. The setting before is restored."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
