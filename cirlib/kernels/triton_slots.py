"""Signed, weighted and keyed constraints against the slots of pictures on a GPU, in 16 bits with fp32 sums.

Formula    score(q, x) = sum over c of coefficient(q, c) * max over matching slots s of <query(q, c), slot(x, s)>; c = 1: the maximum
Precision  fp32 rows are rounded to fp16, after division by a power of two, so that none overflows; 16-bit rows stay as they are. A product
           is then off by at most 2^-10 (bf16: 2^-8) of both lengths, and a score by the sum of that over constraints and coefficients.
Memory     The scores, and a 16-bit copy of slots that are given in fp32: keep a gallery in fp16 if it is asked often.
"""

import math

import torch
from jaxtyping import Float, Int

from cirlib.kernels.triton_scan import MOST_SLOTS, slot_maxima
from cirlib.types import InputError

MOST_CONSTRAINTS = 16  # of one launch; more are added up over several


def slot_scores(
    query: Float[torch.Tensor, "q c d"],
    slots: Float[torch.Tensor, "g s d"],
    coefficient: Float[torch.Tensor, "q c"],
    query_key: Int[torch.Tensor, "q c"] | None = None,
    slot_key: Int[torch.Tensor, "g s"] | None = None,
) -> Float[torch.Tensor, "q g"]:
    """Score every picture for every query.

    Args:
        query: One vector per constraint, on a CUDA device, finite.
        slots: Vectors of each picture, at most 32; on the same device. 16-bit ones are not looked through for
            numbers that are not finite, which would take as long as the scores.
        coefficient: Sign times weight of each constraint, applied after the maximum; 0 for padding.
        query_key: A constraint matches the slots of its key, and any slot that is not empty if its key is negative.
        slot_key: Key of each slot; -1 marks an empty one. Without keys every constraint matches every slot.

    Returns:
        fp32 scores. A constraint that no slot of a picture matches adds 0, whatever its sign.

    Raises:
        InputError: If shapes do not fit, keys of one side are missing, a picture has more than 32 slots, or an fp32 row is not finite.
    """
    if query.ndim != 3 or slots.ndim != 3 or query.shape[2] != slots.shape[2] or coefficient.shape != query.shape[:2]:
        shapes = ", ".join(str(tuple(given.shape)) for given in (query, slots, coefficient))
        raise InputError(f"constraints, slots and coefficients of shapes {shapes} do not fit; give (q, c, d), (g, s, d) and (q, c)")
    if slots.shape[1] > MOST_SLOTS:
        raise InputError(f"{slots.shape[1]} slots a picture given; at most {MOST_SLOTS} fit into a tile, the plain reference takes more")
    total = torch.zeros(len(query), len(slots), device=query.device)
    if 0 in (*query.shape, *slots.shape):
        return total
    dtype = slots.dtype if slots.dtype in (torch.float16, torch.bfloat16) else torch.float16
    (asked, unit), (kept, size) = _half(query, dtype, "query"), _half(slots, dtype, "slot")
    for start in range(0, query.shape[1], MOST_CONSTRAINTS):
        part = slice(start, start + MOST_CONSTRAINTS)
        keys = () if query_key is None and slot_key is None else (None if query_key is None else query_key[:, part], slot_key)
        total += slot_maxima(asked[:, part], kept, coefficient[:, part], *keys)
    return total.mul_(unit * size)


def _half(rows: torch.Tensor, dtype: torch.dtype, what: str) -> tuple[torch.Tensor, float]:
    """Rows in 16 bits and the power of two that they were divided by, so that the largest entry lies in [1, 2); 16-bit rows as they are."""
    if rows.dtype == dtype:
        return rows.contiguous(), 1.0
    low, high = rows.aminmax()
    largest = float(torch.maximum(-low, high))
    if not math.isfinite(largest):
        raise InputError(f"a {what} row holds a number that is not finite")
    unit = 2.0 ** (math.frexp(largest)[1] - 1) if largest else 1.0
    return (rows.float() / unit).to(dtype), unit
