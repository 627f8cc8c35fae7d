"""Launchers of the kernels in `triton_kernels`: tensors in, tensors out.

Formula, traffic, layout, precision and limits stand there. Sizes are checked and tiles chosen here. What comes back is as rough as the
products are: `triton_search` and `triton_ranks` bound that with `accumulation_error` and settle by exact scores what the bound leaves open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Num

from cirlib.kernels.triton_kernels import load
from cirlib.types import InputError

STRIDE = 8  # groups per tile of the gallery; member i of group j is row 8 i + j of the tile
MOST_SLOTS = 32  # vectors a picture: eight pictures fill the widest tile
_INTERPRETED_PROGRAMS = 3  # so that in the interpreter, too, one program has several tiles and their number is no multiple of it
_PAIRS = 32  # listed rows of one program
_MOST_ROWS = 2**31 - 2**16  # row numbers are int32 within a kernel, byte offsets int64
_MOST_TILES = 2**31 - 1


@dataclass(frozen=True)
class Tile:
    """What one program multiplies at once.

    Attributes:
        query: Query rows, a power of two of at least 16.
        gallery: Gallery rows, a power of two of at least 64.
        dim: Entries of a row in one step, a power of two of at least 32.
        warps: Groups of 32 threads.
        stages: Steps in flight.
        swap: The gallery gives the rows of the product. For few queries: matrix units take 64 rows at a time, but as few as 8 columns.
    """

    query: int = 128
    gallery: int = 256
    dim: int = 64
    warps: int = 8
    stages: int = 3
    swap: bool = False


def choose_tile(queries: int, itemsize: int, epilogue: str = "groups", slots: int = 1, capability: int = 9) -> Tile:
    """Tile for a shape. Chosen by registers and shared memory (see `compile_gate`), not by the clock; `cirlib bench gpu` times others too.

    Args:
        queries: Query rows; constraints count as rows.
        itemsize: Bytes of an entry: 1, 2 or 4.
        epilogue: "groups", "slots", "keys" (slots with keys) or "counts".
        slots: Vectors a picture, for all but "groups".
        capability: Major compute capability; before 9 accumulators and operands share the registers.
    """
    dim = 128 // itemsize  # 128 bytes of a row in one step, one line of shared memory
    if itemsize == 4:
        return Tile(64, max(64, STRIDE * slots), dim, 8, 2)
    if epilogue == "groups" and queries <= 64:
        return Tile(max(16, 1 << (queries - 1).bit_length()), 128, 2 * dim, 4, 4 if queries <= 32 else 3, swap=True)
    if epilogue == "counts" and itemsize == 1:
        return Tile(64, 128 if slots <= 16 else 256, dim, 8, 3)
    if capability < 9 or epilogue in ("keys", "counts"):
        return Tile(128 if slots <= 16 else 64, 128 if slots <= 16 else 256, dim, 8, 4 if capability >= 9 else 3)
    return Tile(64 if queries <= 64 else 128, 256, dim, 8, 3)


def accumulation_error(dim: int) -> float:
    """How far a product of these kernels, or a bound made of it in fp32, can be from the exact sum, relative to both lengths.

    Matrix units cut off what does not fit into fp32, which loses up to 2^-23 for each of d terms; the bound is twice that.
    """
    return (dim + 8) * 2.0**-22


def group_maxima(
    query: Num[torch.Tensor, "q d"],
    gallery: Num[torch.Tensor, "g d"],
    slack: Float[torch.Tensor, " q"] | None = None,
    radius: Float[torch.Tensor, " g"] | None = None,
    *,
    tile: Tile | None = None,
    tma: bool | None = None,
) -> Float[torch.Tensor, "q n"]:
    """The largest bound of each group of gallery rows: max of <q, g> + slack(q) * radius(g).

    Args:
        query: fp32, fp16, bf16 or int8.
        gallery: The same dtype.
        slack: Positive; 1 without it.
        radius: 0 without it: the maxima are those of the products.
        tile: See `Tile`; `group_rows` must be given the same.
        tma: Bulk copies; by default wherever hardware and alignment allow.

    Returns:
        fp32, n = 8 * ceil(g / tile.gallery); -inf for groups without a row.

    Raises:
        InputError: If shapes or dtypes do not fit, there is nothing to scan, or the tensors are where no kernel can run.
    """
    tile = tile or choose_tile(len(query), query.element_size(), capability=capability_of(query))
    _check(query, gallery, tile)
    groups = STRIDE * -(-len(gallery) // tile.gallery)
    slack = query.new_ones(len(query), dtype=torch.float32) if slack is None else slack.float().contiguous()
    radius = query.new_zeros(len(gallery), dtype=torch.float32) if radius is None else radius.float().contiguous()
    best = torch.empty(len(query), groups, device=query.device)
    tma = can_bulk_copy(query, gallery) if tma is None else tma
    left, right = (_descriptor(query, tile.query, tile), _descriptor(gallery, tile.gallery, tile)) if tma else (query, gallery)
    _launch(
        load()["group_maxima"], tile, -(-len(query) // tile.query) * -(-len(gallery) // tile.gallery), query,
        left, right, radius, slack, best, len(query), len(gallery), query.shape[1], query.stride(0), gallery.stride(0), groups,
        SWAP=tile.swap, TMA=tma,
    )  # fmt: skip
    return best


def group_rows(groups: Int[torch.Tensor, "q n"], rows: int, tile: Tile) -> Int[torch.Tensor, "q n m"]:
    """Gallery rows of groups, m = tile.gallery / 8 of them each; -1 beyond the gallery of `rows` rows."""
    member = STRIDE * torch.arange(tile.gallery // STRIDE, device=groups.device)
    found = (groups // STRIDE * tile.gallery + groups % STRIDE)[..., None] + member
    return found.masked_fill_(found >= rows, -1)


def pair_products(
    query: Num[torch.Tensor, "q d"], gallery: Num[torch.Tensor, "g d"], rows: Int[torch.Tensor, "q n"]
) -> Float[torch.Tensor, "q n"]:
    """Products of each query with its own listed rows, fp32; -inf for -1."""
    _check(query, gallery, Tile())
    rows = rows.contiguous()
    products = torch.empty(rows.shape, device=query.device)
    if rows.numel():
        block = (
            _PAIRS if query.is_cuda else max(16, 1 << (rows.shape[1] - 1).bit_length())
        )  # interpreted, a program costs more than its work
        grid = (len(rows) * -(-rows.shape[1] // block),)
        sizes = (rows.shape[1], query.shape[1], query.stride(0), gallery.stride(0))
        load()["pair_products"][grid](query, gallery, rows, products, *sizes, BLOCK_C=block, BLOCK_D=128)
    return products


def slot_maxima(
    query: Num[torch.Tensor, "q c d"],
    slots: Num[torch.Tensor, "g s d"],
    coefficient: Float[torch.Tensor, "q c"],
    query_key: Int[torch.Tensor, "q c"] | None = None,
    slot_key: Int[torch.Tensor, "g s"] | None = None,
    *,
    tile: Tile | None = None,
) -> Float[torch.Tensor, "q g"]:
    """Signed, weighted and keyed constraints against the slots of pictures: sum over c of coefficient * max over matching s of <c, s>.

    Args:
        query: One vector per constraint, at most 16 constraints; c = 1 is the maximum over a picture's tokens.
        slots: Vectors of each picture, at most 32.
        coefficient: Sign times weight, applied after the maximum; 0 for padding.
        query_key: int8 or wider; a constraint matches slots of its own key, and any slot that is not empty if its key is negative.
        slot_key: -1 marks an empty slot. Without keys every constraint matches every slot.
        tile: See `Tile`; `swap` is not for this kernel.

    Returns:
        fp32 scores. A constraint that no slot of a picture matches adds 0.
    """
    (queries, parts), (pictures, count) = query.shape[:2], slots.shape[:2]
    padded, width = (1 << (number - 1).bit_length() for number in (parts, count))
    if not (1 <= parts <= 16 and 1 <= count <= MOST_SLOTS):
        raise InputError(f"{parts} constraints and {count} slots given; this kernel takes 1 to 16 constraints and 1 to {MOST_SLOTS} slots")
    if (query_key is None) != (slot_key is None):
        raise InputError("keys of one side only given; give keys of constraints and of slots, or none")
    epilogue = "slots" if query_key is None else "keys"
    tile = tile or choose_tile(queries * padded, query.element_size(), epilogue, width, capability_of(query))
    pad = (0, padded - parts)
    lines = torch.nn.functional.pad(query, (0, 0, *pad)).flatten(0, 1)
    _check(lines, slots, tile)
    coefficient = torch.nn.functional.pad(coefficient.float(), pad).contiguous()
    keys = query_key is not None
    wanted = torch.nn.functional.pad(query_key.int(), pad, value=-1).contiguous() if keys else coefficient
    score = torch.empty(queries, pictures, device=query.device)
    _launch(
        load()["slot_scores"], tile, -(-len(lines) // tile.query) * -(-pictures // (tile.gallery // width)), lines,
        lines, slots, coefficient, wanted, slot_key.int().contiguous() if keys else coefficient, score, len(lines), pictures, count,
        query.shape[2], lines.stride(0), slots.stride(0), slots.stride(1), SLOTS=width, PARTS=padded, KEYS=keys,
    )  # fmt: skip
    return score


def outrank_counts(
    query: Num[torch.Tensor, "q d"],
    gallery: Num[torch.Tensor, "g *s d"],
    low: Float[torch.Tensor, "q p"],
    high: Float[torch.Tensor, "q p"],
    capacity: int,
    *,
    tile: Tile | None = None,
    tma: bool | None = None,
) -> tuple[Int[torch.Tensor, "q p"], Int[torch.Tensor, "q p"], Int[torch.Tensor, "q p n"]]:
    """How many pictures score above `high`, and which score within [low, high]; the score is the best of a picture's vectors.

    Args:
        query: As in `group_maxima`.
        gallery: (g, d), or (g, s, d) with at most 32 vectors a picture.
        low: Lower bounds; +inf for padding.
        high: Upper bounds.
        capacity: Places n in each list.
        tile: See `Tile`; `swap` is not for this kernel.
        tma: As in `group_maxima`; only for (g, d).

    Returns:
        int32 counts above; int32 numbers of groups with a picture within the bounds; and the lists of those groups with one bit a picture,
        in no particular order, of which min(number, n) entries are filled: `listed_rows` reads them. A number beyond the capacity says how
        many places a second call needs.
    """
    count = gallery.shape[1] if gallery.ndim == 3 else 1
    width = 1 << (count - 1).bit_length()
    tile = tile or choose_tile(len(query), query.element_size(), "counts", width, capability_of(query))
    _check(query, gallery, tile)
    if not 1 <= count <= min(MOST_SLOTS, tile.gallery // STRIDE):
        raise InputError(f"{count} vectors a picture given; {tile} takes 1 to {min(MOST_SLOTS, tile.gallery // STRIDE)}")
    above, entries = (torch.zeros(low.shape, dtype=torch.int32, device=query.device) for _ in range(2))
    listed = torch.empty(*low.shape, capacity, 2, dtype=torch.int32, device=query.device)
    tma = gallery.ndim == 2 and (can_bulk_copy(query, gallery) if tma is None else tma)
    left, right = (_descriptor(query, tile.query, tile), _descriptor(gallery, tile.gallery, tile)) if tma else (query, gallery)
    _launch(
        load()["outrank_counts"], tile, -(-len(query) // tile.query) * -(-len(gallery) // (tile.gallery // width)), query,
        left, right, low.float().contiguous(), high.float().contiguous(), above, entries, listed, len(query), len(gallery), count,
        low.shape[1], capacity, query.shape[1], query.stride(0), gallery.stride(0), gallery.stride(1) if gallery.ndim == 3 else 0,
        SLOTS=width, TMA=tma,
    )  # fmt: skip
    return above, entries, listed


def listed_rows(
    entries: Int[torch.Tensor, "q p"], listed: Int[torch.Tensor, "q p n 2"], slots: int, tile: Tile
) -> tuple[Int[torch.Tensor, " k"], Int[torch.Tensor, " k"], Int[torch.Tensor, " k"]]:
    """Query, column and gallery row of all pictures in the lists of `outrank_counts`, which was given so many slots and this tile."""
    items = tile.gallery // (1 << (slots - 1).bit_length())
    line, number, place = (torch.arange(listed.shape[2], device=listed.device) < entries[..., None]).nonzero(as_tuple=True)
    group, bits = listed[line, number, place].long().unbind(-1)
    which, member = (bits[:, None] >> torch.arange(items // STRIDE, device=bits.device) & 1).nonzero(as_tuple=True)
    row = group[which] // STRIDE * items + STRIDE * member + group[which] % STRIDE
    return line[which], number[which], row


def can_bulk_copy(*tensors: torch.Tensor) -> bool:
    """Whether TMA can read these: compute capability 9, contiguous entries, and rows that begin at multiples of 16 bytes."""
    if capability_of(tensors[0]) < 9:
        return False
    return all(t.stride(-1) == 1 and t.stride(0) * t.element_size() % 16 == 0 and t.data_ptr() % 16 == 0 for t in tensors)


def _descriptor(rows: torch.Tensor, block: int, tile: Tile) -> Any:
    from triton.tools.tensor_descriptor import TensorDescriptor

    return TensorDescriptor.from_tensor(rows, [block, tile.dim])


def _launch(kernel: Callable[..., Any], tile: Tile, tiles: int, like: torch.Tensor, *args: Any, **constants: Any) -> None:
    """Run as many programs as fit at once; each takes tiles in turn."""
    if tiles > _MOST_TILES:
        raise InputError(f"{tiles} tiles in one call; give fewer queries at a time")
    kind = "integer" if like.dtype == torch.int8 else "float"
    blocks = {"BLOCK_Q": tile.query, "BLOCK_G": tile.gallery, "BLOCK_D": tile.dim}
    if not like.is_cuda:
        kernel[(min(tiles, _INTERPRETED_PROGRAMS),)](*args, **constants, **blocks, KIND="upcast" if like.dtype == torch.bfloat16 else kind)
        return
    shared = tile.stages * (tile.query + tile.gallery) * tile.dim * like.element_size()
    each = max(1, min(2048 // (32 * tile.warps), 220 * 2**10 // shared))  # programs that fit on one multiprocessor
    programs = min(tiles, each * torch.cuda.get_device_properties(like.device).multi_processor_count)
    with torch.cuda.device(like.device):
        kernel[(programs,)](*args, **constants, **blocks, KIND=kind, num_warps=tile.warps, num_stages=tile.stages)


def _check(query: torch.Tensor, gallery: torch.Tensor, tile: Tile) -> None:
    if query.dtype != gallery.dtype or query.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.int8):
        raise InputError(f"queries are {query.dtype} and the gallery is {gallery.dtype}; give both as fp32, fp16, bf16 or int8")
    if query.ndim != 2 or gallery.ndim not in (2, 3) or query.shape[-1] != gallery.shape[-1] or 0 in (*query.shape, *gallery.shape):
        raise InputError(f"queries {tuple(query.shape)} and gallery {tuple(gallery.shape)} do not fit, or one is empty")
    if query.stride(-1) != 1 or gallery.stride(-1) != 1:
        raise InputError("rows must be contiguous along their last dimension; call .contiguous()")
    if len(gallery) > _MOST_ROWS or min(tile.query, tile.gallery, tile.dim) < 16:
        raise InputError(f"a gallery of {len(gallery)} rows with {tile} given; at most {_MOST_ROWS} rows and tiles of at least 16")
    if query.device != gallery.device or not (query.is_cuda or _interpreted()):
        raise InputError(
            f"queries on {query.device}, gallery on {gallery.device}: kernels run on one CUDA device, elsewhere with TRITON_INTERPRET=1"
        )


def _interpreted() -> bool:
    return type(load()["products"]).__name__ == "InterpretedFunction"


def capability_of(like: torch.Tensor) -> int:
    """Major compute capability of the device of a tensor; in the interpreter 9."""
    return torch.cuda.get_device_capability(like.device)[0] if like.is_cuda else 9
