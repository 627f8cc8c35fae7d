"""A gallery in 8 bits with error bounds: what a scan reads in place of fp32 rows when it looks for candidates.

Codes      Rows are centred on their mean and rotated at random, which spreads outlying dimensions over all entries. Sorted by their largest
           entry they are cut into blocks of 2,048; a block shares one step, so that no entry is clipped and no row wastes its range.
Bound      With y a centred row and step * c its code, q a rotated query and step_q * c_q its code:
           |<q, y> - step_q * step * <c_q, c>| <= |q| * |y - step * c| + |q - step_q * c_q| * |step * c|  (Cauchy-Schwarz, our choice).
           A block keeps the largest of both norms. <c_q, c> is a sum of integers below 2^31, so it has no error of its own.
Chance     The rotation is random, so errors behave like independent ones: their size is the root of the sum of squares over sqrt(d). 8 such
           units are the statistical bound, which is about a third of the proven one at d = 512. It is an argument, and no proof.
Order      Blocks lie in random order, so that a scan meets good and bad rows evenly whatever the order of the gallery.
Memory     d + 4 bytes a row beside the gallery, and 8 d^2 for the rotation. The gallery itself is kept by reference and not copied.
"""

import functools
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int8

from cirlib.kernels.exact import FixedPoint, fixed_point, full_precision
from cirlib.types import InputError

BLOCK = 2048  # rows that share a step; also the least that a scan multiplies at once
_CHUNK = 8192  # rows converted at once while the bounds are built
_LARGEST = 127
_SIGMAS = 8.0
_ROUNDING = 1e-10  # of the norms; float64 sums of up to 600,000 terms lose less
_EXACT_FP32 = 1024  # 127 * 127 * 1,024 < 2^24: fp32 adds that many products of codes exactly


@dataclass(frozen=True)
class EightBitQuery:
    """Queries as codes of one gallery's rotation.

    Attributes:
        codes: Rotated queries in units of `step`.
        step: Size of one unit, in the gallery's scores.
        offset: Score of the gallery's mean, which every row shares.
        bound: Largest error of a score from codes, per query and block.
        typical: Expected size of that error.
    """

    codes: Int8[torch.Tensor, "q d"]
    step: Float[torch.Tensor, " q"]
    offset: Float[torch.Tensor, " q"]
    bound: Float[torch.Tensor, "q b"]
    typical: Float[torch.Tensor, "q b"]


@dataclass(frozen=True)
class EightBitGallery:
    """A gallery and its codes. Made by `quantise_gallery`; belongs to the very tensor that it was made of.

    Attributes:
        gallery: The rows as given, for exact scores.
        version: Of the rows when the codes were made: torch counts changes in place.
        rotation: Orthogonal, float64.
        mean: Of the rows, rotated, in integer units of `gallery`.
        order: Gallery row of each code.
        codes: Centred and rotated rows in units of their block's step; zeros fill the last block.
        step: Size of one unit, per block.
        residual: Largest distance of a row of the block from its code.
        length: Largest length of a code of the block.
    """

    gallery: FixedPoint
    version: int
    rotation: Float[torch.Tensor, "d d"]
    mean: Float[torch.Tensor, " d"]
    order: Int[torch.Tensor, " g"]
    codes: Int8[torch.Tensor, "2048*b d"]
    step: Float[torch.Tensor, " b"]
    residual: Float[torch.Tensor, " b"]
    length: Float[torch.Tensor, " b"]

    def __len__(self) -> int:
        return len(self.order)

    @property
    def mib(self) -> float:
        """Memory beside the gallery, in MiB."""
        parts = (self.rotation, self.mean, self.order, self.codes, self.step, self.residual, self.length)
        return sum(part.numel() * part.element_size() for part in parts) / 2**20

    def belongs_to(self, gallery: Float[torch.Tensor, "g d"]) -> bool:
        """Whether this was made of that tensor, unchanged since. Changes through torch are seen, writes from outside are not."""
        mine, same = self.gallery.rows, ("dtype", "device", "shape")
        if any(getattr(mine, name) != getattr(gallery, name) for name in same):
            return False
        return mine.data_ptr() == gallery.data_ptr() and mine.stride() == gallery.stride() and self.version == gallery._version

    def quantise_query(self, query: Float[torch.Tensor, "q d"]) -> EightBitQuery:
        """Codes of queries, given as `FixedPoint.take` gives them, with the error of every block's scores."""
        rotated = query.double() @ self.rotation
        codes, step, error, length = _quantise(rotated, rotated.abs().amax(dim=1, keepdim=True))
        lost, coded = length[:, None] * self.residual, error[:, None] * self.length  # by the gallery's codes, by the query's
        rounding = _ROUNDING * length[:, None] * (self.length + self.residual + self.mean.norm())
        typical = (lost.square() + coded.square()).sqrt() / rotated.shape[1] ** 0.5
        return EightBitQuery(codes, step[:, 0], rotated @ self.mean, lost + coded + rounding, typical)


def statistical_bound(query: EightBitQuery) -> Float[torch.Tensor, "q b"]:
    """Eight times the expected error, and never more than the proven bound."""
    return torch.minimum(_SIGMAS * query.typical, query.bound)


def quantise_gallery(gallery: Float[torch.Tensor, "g d"], *, seed: int = 0) -> EightBitGallery:
    """Make the 8-bit codes of a gallery, once, for any number of searches.

    Takes two passes over the gallery and about 4 * g * d^2 operations, half of them in float64 so that rounding does not count.

    Args:
        gallery: On the CPU, in any float precision. It is kept by reference: do not change it while the codes are in use.
        seed: Of the rotation and of the order of blocks. Changes time, never a certified result.

    Raises:
        InputError: If the gallery is empty, has several vectors a picture, lies on another device, or holds a number that is not finite.

    Example:
        >>> index = quantise_gallery(torch.eye(4))
        >>> len(index), index.codes.dtype
        (4, torch.int8)
    """
    if gallery.ndim != 2 or 0 in gallery.shape:
        raise InputError(f"a gallery of shape {tuple(gallery.shape)} given; 8-bit codes are made of (g, d) with at least one row")
    if gallery.device.type != "cpu":
        raise InputError(f"a gallery on {gallery.device} given; 8-bit codes are made and scanned on the CPU")
    generator = torch.Generator().manual_seed(seed)
    rows, dim = fixed_point(gallery, "gallery", gallery.device), gallery.shape[1]
    with full_precision(gallery.device):
        rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]
        total = sum(rows.plain(slice(start, start + _CHUNK)).sum(dim=0, dtype=torch.float64) for start in range(0, len(rows), _CHUNK))
        mean = total * rows.scale @ rotation / len(rows)
        order = _order(rows, rotation.float(), mean.float(), generator)
        codes = torch.zeros(-(-len(rows) // BLOCK) * BLOCK, dim, dtype=torch.int8)
        parts = []
        for start in range(0, len(rows), BLOCK):
            centred = (rows.take(order[start : start + BLOCK]).double() @ rotation).sub_(mean)
            codes[start : start + len(centred)], *numbers = _quantise(centred, centred.abs().amax())
            parts.append([number.max() for number in numbers])
    step, residual, length = torch.tensor(parts, dtype=torch.float64).T
    length = length + residual  # of the code: at most the row's and its distance from it
    return EightBitGallery(rows, gallery._version, rotation, mean, order.int(), codes, step.clone(), residual.clone(), length)


def _order(rows: FixedPoint, rotation: torch.Tensor, mean: torch.Tensor, generator: torch.Generator) -> Int[torch.Tensor, " g"]:
    """Rows by their largest entry, in blocks, whole blocks in random order; what does not fill a block comes last."""
    peak = torch.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        peak[part] = torch.addmm(mean, rows.plain(part), rotation, beta=-1, alpha=rows.scale).abs_().amax(dim=1)
    order, whole = peak.argsort(), len(rows) // BLOCK
    blocks = order[: whole * BLOCK].view(whole, BLOCK)[torch.randperm(whole, generator=generator)]
    return torch.cat([blocks.flatten(), order[whole * BLOCK :]])


def _quantise(rows: Float[torch.Tensor, "n d"], peak: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Codes, step, distance of each row from its code, and length of each row. The largest entry becomes 127."""
    step = (peak / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny)  # rows of zeros have codes of zeros
    codes = (rows / step).round_().clamp_(-_LARGEST, _LARGEST)
    return codes.to(torch.int8), step, (rows - codes * step).norm(dim=1), rows.norm(dim=1)


def int8_product(left: Int8[torch.Tensor, "n d"], right: Int8[torch.Tensor, "k d"], out: Int[torch.Tensor, "n k"]) -> None:
    """Exact inner products of codes, written to int32 `out`. Where torch has no int8 product: fp32, in slices that it adds exactly."""
    if (product := _int_mm()) is not None and left.shape[1] > 1:  # torch 2.13 leaves `out` unwritten for rows of one entry
        product(left, right.T, out=out)
        return
    out.zero_()
    for start in range(0, left.shape[1], _EXACT_FP32):
        part = slice(start, start + _EXACT_FP32)
        out += (left[:, part].float() @ right[:, part].float().T).int()


@functools.cache
def int8_speed() -> float:
    """How many times as fast as fp32 this machine multiplies 8-bit integers, measured once in some ms; 0 where it cannot.

    About 4 with VNNI or AMX instructions, and below 1 where torch multiplies them one by one.
    """
    if _int_mm() is None:
        return 0.0
    left, right = torch.ones(64, 256, dtype=torch.int8), torch.ones(4096, 256, dtype=torch.int8)
    wide, narrow = torch.empty(64, 4096), torch.empty(64, 4096, dtype=torch.int32)
    floats = left.float(), right.float()

    def shortest(function: functools.partial[object]) -> float:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    exact = shortest(functools.partial(torch.mm, floats[0], floats[1].T, out=wide))
    return exact / shortest(functools.partial(int8_product, left, right, narrow))


@functools.cache
def _int_mm() -> object | None:
    """torch's int8 product if this version has it and it is right on a case that would overflow narrower sums; it is no public function."""
    product = getattr(torch, "_int_mm", None)
    row = torch.full((1, 64), -_LARGEST, dtype=torch.int8)
    try:
        return product if product is not None and int(product(row, row.T)) == 64 * _LARGEST**2 else None
    except (RuntimeError, TypeError, NotImplementedError):
        return None
