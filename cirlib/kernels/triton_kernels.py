"""One Triton loop over all pairs of query and gallery rows, with three epilogues: group maxima, slot scores, rank counts; and listed pairs.

Formula    groups   best(q, group) = max over rows g of the group of <q, g> + slack(q) * radius(g)
           slots    score(q, x) = sum over c of coefficient(q, c) * max over s of <query(q, c), slot(x, s)>
           counts   above(q, p) = #(score > high(q, p)), and which rows have low(q, p) <= score <= high(q, p); score = max over s
Traffic    The gallery is read once, tile by tile, and the queries stay in the L2 cache. A tile of products never leaves registers whole:
           1/32 of it is written as group maxima, 1/(c * s) as slot scores, next to nothing as counts. A matrix product that writes its
           scores moves at least 8 bytes a pair more.
Layout     A group is every eighth row of a tile of the gallery. On Hopper a thread has columns 8 i + 2 (t mod 4) + {0, 1} of a product, so
           that a maximum over i exchanges nothing between threads. The slots of a picture stand a multiple of eight columns apart alike.
Precision  fp16 and bf16 multiply exactly and add in fp32; int8 adds in int32, exactly; fp32 stays fp32 and does without matrix units. What
           the sums lose is at most `triton_scan.accumulation_error`.
Limits     Finite rows that are contiguous along d. Sizes of gallery and queries are run-time arguments: no gallery is compiled anew. Bulk
           copies (TMA) need compute capability 9 and rows of a multiple of 16 bytes; pointers do the same for all others.
Reference  `cirlib.kernels.reference`, by way of `triton_search`, `triton_ranks` and `triton_slots`, which make exact results of this.

The kernels are plain functions until `load` decorates them, because Triton is optional and slow to import.
"""

import functools
from types import SimpleNamespace
from typing import Any

from cirlib.types import InputError

tl: Any = SimpleNamespace(constexpr="constexpr")  # all that the signatures need of triton.language until `load` puts it here


@functools.cache
def load() -> dict[str, Any]:
    """Import Triton and decorate the kernels: name to kernel. Interpreted if TRITON_INTERPRET=1 was set before.

    Raises:
        InputError: If Triton is not installed.
    """
    try:
        import triton
        import triton.language
    except ImportError as error:
        raise InputError(
            "Triton is not installed; CUDA builds of torch bring it, elsewhere: pip install -r requirements-kernels.lock"
        ) from error
    here = globals()
    here["tl"] = triton.language
    names = ("_products", "_group_maxima", "_slot_scores", "_outrank_counts", "_pair_products")
    here |= {name: triton.jit(here[name]) for name in names}
    return {name.removeprefix("_"): here[name] for name in names}


def _products(
    query, query_at, query_ok, gallery, gallery_at, gallery_ok, dim, BLOCK_Q: tl.constexpr, BLOCK_G: tl.constexpr,
    BLOCK_D: tl.constexpr, TMA: tl.constexpr, SWAP: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """The main loop. `query_at` and `gallery_at` are first rows with TMA, offsets of every row without. (BLOCK_G, BLOCK_Q) with SWAP."""
    OUT: tl.constexpr = tl.int32 if KIND == "integer" else tl.float32
    acc = tl.zeros((BLOCK_G, BLOCK_Q) if SWAP else (BLOCK_Q, BLOCK_G), dtype=OUT)
    for step in range(tl.cdiv(dim, BLOCK_D)):
        if TMA:  # rows and entries beyond the end read as zeros
            left = query.load([query_at, step * BLOCK_D])
            right = gallery.load([gallery_at, step * BLOCK_D])
        else:
            place = step * BLOCK_D + tl.arange(0, BLOCK_D)
            left = tl.load(query + query_at[:, None] + place[None, :], mask=query_ok[:, None] & (place < dim)[None, :], other=0)
            right = tl.load(gallery + gallery_at[:, None] + place[None, :], mask=gallery_ok[:, None] & (place < dim)[None, :], other=0)
        if KIND == "upcast":  # the interpreter multiplies the bit patterns of bf16
            left, right = left.to(tl.float32), right.to(tl.float32)
        if SWAP:
            acc = tl.dot(right, left.T, acc, input_precision="ieee", out_dtype=OUT)
        else:
            acc = tl.dot(left, right.T, acc, input_precision="ieee", out_dtype=OUT)
    return acc


def _group_maxima(
    query, gallery, radius_ptr, slack_ptr, best_ptr, queries, rows, dim, query_stride, gallery_stride, groups, BLOCK_Q: tl.constexpr,
    BLOCK_G: tl.constexpr, BLOCK_D: tl.constexpr, TMA: tl.constexpr, SWAP: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Epilogue 1: the largest bound of every group. Programs take tiles in turn, all queries for one tile of the gallery first."""
    query_tiles = tl.cdiv(queries, BLOCK_Q)
    tiles = query_tiles * tl.cdiv(rows, BLOCK_G)
    for turn in tl.range(tl.cdiv(tiles - tl.program_id(0), tl.num_programs(0)), flatten=TMA):
        tile = tl.program_id(0) + turn * tl.num_programs(0)
        first, first_row = tile % query_tiles * BLOCK_Q, tile // query_tiles * BLOCK_G
        line, row = first + tl.arange(0, BLOCK_Q), first_row + tl.arange(0, BLOCK_G)
        query_at = first if TMA else line.to(tl.int64) * query_stride
        gallery_at = first_row if TMA else row.to(tl.int64) * gallery_stride
        acc = _products(
            query, query_at, line < queries, gallery, gallery_at, row < rows, dim, BLOCK_Q, BLOCK_G, BLOCK_D, TMA, SWAP, KIND
        )  # fmt: skip
        radius = tl.load(radius_ptr + row, mask=row < rows, other=float("-inf"))  # and so no row beyond the gallery is a maximum
        slack = tl.load(slack_ptr + line, mask=line < queries, other=1.0)
        column = tile // query_tiles * 8 + tl.arange(0, 8)
        if SWAP:
            bound = acc.to(tl.float32) + radius[:, None] * slack[None, :]
            best = tl.max(tl.reshape(bound, (BLOCK_G // 8, 8, BLOCK_Q)), axis=0)
            place = line[None, :].to(tl.int64) * groups + column[:, None]
            tl.store(best_ptr + place, best, mask=(line < queries)[None, :] & (column < groups)[:, None])
        else:
            bound = acc.to(tl.float32) + slack[:, None] * radius[None, :]
            best = tl.max(tl.reshape(bound, (BLOCK_Q, BLOCK_G // 8, 8)), axis=1)
            place = line[:, None].to(tl.int64) * groups + column[None, :]
            tl.store(best_ptr + place, best, mask=(line < queries)[:, None] & (column < groups)[None, :])


def _slot_scores(
    query, gallery, coefficient_ptr, query_key_ptr, slot_key_ptr, score_ptr, lines, pictures, slots, dim, query_stride, picture_stride,
    slot_stride, BLOCK_Q: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_D: tl.constexpr, SLOTS: tl.constexpr, PARTS: tl.constexpr,
    KEYS: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Epilogue 2: the best slot for each constraint, then the signed sum over a query's PARTS constraints, which are rows side by side."""
    ITEMS: tl.constexpr = BLOCK_G // SLOTS
    query_tiles = tl.cdiv(lines, BLOCK_Q)
    tiles = query_tiles * tl.cdiv(pictures, ITEMS)
    slot, item = tl.arange(0, BLOCK_G) // ITEMS, tl.arange(0, BLOCK_G) % ITEMS
    for turn in range(tl.cdiv(tiles - tl.program_id(0), tl.num_programs(0))):
        tile = tl.program_id(0) + turn * tl.num_programs(0)
        line, first = tile % query_tiles * BLOCK_Q + tl.arange(0, BLOCK_Q), tile // query_tiles * ITEMS
        picture = first + item
        ok = (picture < pictures) & (slot < slots)
        gallery_at = picture.to(tl.int64) * picture_stride + slot * slot_stride
        acc = _products(
            query, line.to(tl.int64) * query_stride, line < lines, gallery, gallery_at, ok, dim,
            BLOCK_Q, BLOCK_G, BLOCK_D, False, False, KIND,
        )  # fmt: skip
        if KEYS:
            wanted = tl.load(query_key_ptr + line, mask=line < lines, other=-1)
            key = tl.load(slot_key_ptr + picture.to(tl.int64) * slots + slot, mask=ok, other=-1)
            match = ((wanted[:, None] == key[None, :]) | (wanted < 0)[:, None]) & (key >= 0)[None, :]
            best = tl.max(tl.reshape(tl.where(match, acc, float("-inf")), (BLOCK_Q, SLOTS, ITEMS)), axis=1)
            best = tl.where(best == float("-inf"), 0.0, best)  # no slot of that key: nothing is known, whatever the sign
        else:
            best = tl.max(tl.reshape(tl.where((slot < slots)[None, :], acc, float("-inf")), (BLOCK_Q, SLOTS, ITEMS)), axis=1)
        best = best * tl.load(coefficient_ptr + line, mask=line < lines, other=0.0)[:, None]
        score = tl.sum(tl.reshape(best, (BLOCK_Q // PARTS, PARTS, ITEMS)), axis=1)
        asker = tile % query_tiles * (BLOCK_Q // PARTS) + tl.arange(0, BLOCK_Q // PARTS)
        column = first + tl.arange(0, ITEMS)
        place = asker[:, None].to(tl.int64) * pictures + column[None, :]
        tl.store(score_ptr + place, score, mask=(asker < lines // PARTS)[:, None] & (column < pictures)[None, :])


def _outrank_counts(
    query, gallery, low_ptr, high_ptr, above_ptr, entries_ptr, list_ptr, queries, pictures, slots, targets, capacity, dim, query_stride,
    picture_stride, slot_stride, BLOCK_Q: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_D: tl.constexpr, SLOTS: tl.constexpr,
    TMA: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Epilogue 3: count what is above, and list what lies between the bounds. Sums of integers are the same in any order."""
    ITEMS: tl.constexpr = BLOCK_G // SLOTS
    query_tiles = tl.cdiv(queries, BLOCK_Q)
    tiles = query_tiles * tl.cdiv(pictures, ITEMS)
    slot, item = tl.arange(0, BLOCK_G) // ITEMS, tl.arange(0, BLOCK_G) % ITEMS
    for turn in range(tl.cdiv(tiles - tl.program_id(0), tl.num_programs(0))):
        tile = tl.program_id(0) + turn * tl.num_programs(0)
        first, first_picture = tile % query_tiles * BLOCK_Q, tile // query_tiles * ITEMS
        line, picture = first + tl.arange(0, BLOCK_Q), first_picture + item
        ok = (picture < pictures) & (slot < slots)
        query_at = first if TMA else line.to(tl.int64) * query_stride
        gallery_at = first_picture if TMA else picture.to(tl.int64) * picture_stride + slot * slot_stride
        acc = _products(
            query, query_at, line < queries, gallery, gallery_at, ok, dim, BLOCK_Q, BLOCK_G, BLOCK_D, TMA, False, KIND
        )  # fmt: skip
        if SLOTS > 1:
            acc = tl.max(tl.reshape(tl.where((slot < slots)[None, :], acc, float("-inf")), (BLOCK_Q, SLOTS, ITEMS)), axis=1)
        ok = first_picture + tl.arange(0, ITEMS) < pictures
        bit = 1 << tl.arange(0, ITEMS) // 8
        group = tile // query_tiles * 8 + tl.arange(0, 8)
        for number in range(targets):
            place = line.to(tl.int64) * targets + number
            low = tl.load(low_ptr + place, mask=line < queries, other=float("inf"))
            high = tl.load(high_ptr + place, mask=line < queries, other=float("inf"))
            above = (acc > high[:, None]) & ok[None, :]
            count = tl.sum(above.to(tl.int32), axis=1)
            tl.atomic_add(above_ptr + place, count, mask=count > 0, sem="relaxed")
            unsure = (acc >= low[:, None]) & (acc <= high[:, None]) & ok[None, :]
            bits = tl.sum(tl.reshape(tl.where(unsure, bit[None, :], 0), (BLOCK_Q, ITEMS // 8, 8)), axis=1)  # one word a group
            at = place[:, None] + tl.zeros_like(bits)
            entry = tl.atomic_add(entries_ptr + at, 1, mask=bits != 0, sem="relaxed")
            at = 2 * (at * capacity + entry)
            tl.store(list_ptr + at, group[None, :], mask=(bits != 0) & (entry < capacity))
            tl.store(list_ptr + at + 1, bits, mask=(bits != 0) & (entry < capacity))


def _pair_products(
    query, gallery, row_ptr, product_ptr, columns, dim, query_stride, gallery_stride, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """Not a scan: products of listed rows only, read where they lie, so that candidates are never gathered into a copy."""
    blocks = tl.cdiv(columns, BLOCK_C)
    line, column = tl.program_id(0) // blocks, tl.program_id(0) % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    at = line.to(tl.int64) * columns + column
    row = tl.load(row_ptr + at, mask=column < columns, other=-1).to(tl.int64)
    acc = tl.zeros((BLOCK_C,), dtype=tl.float32)
    for step in range(tl.cdiv(dim, BLOCK_D)):
        place = step * BLOCK_D + tl.arange(0, BLOCK_D)
        left = tl.load(query + line.to(tl.int64) * query_stride + place, mask=place < dim, other=0).to(tl.float32)
        ok = (row >= 0)[:, None] & (place < dim)[None, :]
        right = tl.load(gallery + row[:, None] * gallery_stride + place[None, :], mask=ok, other=0).to(tl.float32)
        acc += tl.sum(left[None, :] * right, axis=1)
    tl.store(product_ptr + at, tl.where(row >= 0, acc, float("-inf")), mask=column < columns)
