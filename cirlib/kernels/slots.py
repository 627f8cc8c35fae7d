"""Signed, weighted, keyed constraints against the slots of pictures, in chunks; the best of a picture's tokens is one constraint of it.

Formula    score(q, x) = sum over c of coefficient(q, c) * max over matching slots s of <query(q, c), slot(x, s)>
           The sign cannot move into the vector, as max(-x) is not -max(x): both sign and weight apply after the maximum.
Traffic    2 q c g s d operations; slots are read once. Products of all pairs, 4 q c g s bytes, are never held: the maximum over a picture's
           slots is taken while its tile is in cache, along the constraints, where it costs 5 % of the product.
Keys       A constraint with a key is multiplied with the slots of that key alone.
Precision  "fp32": products and sums in fp32. "bf16": both sides rounded to 8 bits of mantissa, products in fp32 and rounded to bf16 again:
           off by up to 2^-7 of the lengths, twice as fast on a CPU with AVX512_BF16. "fp16": for GPUs only, off by up to 2^-10.
Exactness  None: chunks of other sizes may round otherwise. Where order must not depend on rounding (ranks, mining, top lists) the scores
           are those of `cirlib.kernels.exact`.
Reference  cirlib.kernels.reference.slot_scores
"""

import torch
from jaxtyping import Bool, Float, Int

from cirlib.kernels.exact import full_precision
from cirlib.types import InputError

BACKENDS = ("auto", "reference", "torch", "triton")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LINES = 512  # constraints multiplied at once
_TILE = 1 << 20  # products of a tile: 4 MiB of fp32


def slot_scores(
    query: Float[torch.Tensor, "q c d"],
    slots: Float[torch.Tensor, "g s d"],
    coefficient: Float[torch.Tensor, "q c"] | None = None,
    query_key: Int[torch.Tensor, "q c"] | None = None,
    slot_key: Int[torch.Tensor, "g s"] | None = None,
    *,
    precision: str = "fp32",
    backend: str = "auto",
) -> Float[torch.Tensor, "q g"]:
    """Score every picture for every query.

    Args:
        query: One vector per constraint. One constraint and one coefficient of 1 give the best of a picture's vectors.
        slots: Vectors of each picture, in any float precision; on the CPU they may be a memory map.
        coefficient: Sign times weight of each constraint; 0 for padding, which costs nothing. 1 without it.
        query_key: A constraint matches the slots of its key, and any slot that is not empty if its key is negative.
        slot_key: Key of each slot; -1 marks an empty one. Without keys every constraint matches every slot.
        precision: "fp32", "bf16" or "fp16" (GPU only); see above.
        backend: "reference" (float64), "torch", "triton" (a GPU, 16 bits), or "auto": see `choose`.

    Returns:
        fp32 scores on the device of the queries. A constraint that no slot of a picture matches adds 0, whatever its sign.

    Raises:
        InputError: If shapes do not fit, keys of one side are missing, a number is not finite, or the backend cannot do it here.

    Example:
        >>> slots = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.0, 0.0]]])
        >>> wants, avoids = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
        >>> slot_scores(torch.stack([wants, avoids])[None], slots, torch.tensor([[1.0, -0.5]])).tolist()
        [[0.5, 0.5]]
    """
    coefficient = torch.ones(query.shape[:2], device=query.device) if coefficient is None else coefficient
    check_slots(query, slots, coefficient, query_key, slot_key)
    chosen = choose(query.device, precision) if backend == "auto" else backend
    if chosen not in BACKENDS or precision not in PRECISIONS:
        raise InputError(f"backend {backend!r} and precision {precision!r} given; use one of {BACKENDS} and one of {tuple(PRECISIONS)}")
    if chosen == "reference":
        from cirlib.kernels import reference

        return reference.slot_scores(query, slots, coefficient, query_key, slot_key)
    if chosen == "triton":
        from cirlib.kernels import triton_slots

        if precision == "fp32":
            raise InputError("the triton kernel multiplies in 16 bits; ask for fp16 or bf16, or for the torch backend")
        slots = slots.to(torch.bfloat16) if precision == "bf16" else slots
        return triton_slots.slot_scores(query, slots.to(query.device), coefficient, query_key, slot_key)
    if precision == "fp16" and query.device.type == "cpu":
        raise InputError("fp16 products are slow on a CPU; ask for fp32 or bf16")
    with full_precision(query.device):
        return _chunked(query, slots, coefficient.to(query.device), query_key, slot_key, PRECISIONS[precision])


def choose(device: torch.device, precision: str) -> str:
    """The backend that "auto" takes: "triton" for 16 bits on a GPU, "torch" otherwise."""
    return "triton" if device.type == "cuda" and precision in ("fp16", "bf16") else "torch"


def lookup_maxima(table: Float[torch.Tensor, "c v"], columns: Int[torch.Tensor, "g s"]) -> Float[torch.Tensor, "c g"]:
    """Slots that are drawn from a few distinct vectors: the best of each picture's columns of a table of products; 0 where it has none.

    Equal to `slot_scores` with one constraint per row, without multiplying a vector twice. Memory O(c g), however many slots there are.

    Args:
        table: Products of each constraint with each distinct vector.
        columns: Which of them a picture has; -1 pads.

    Example:
        >>> lookup_maxima(torch.tensor([[0.1, 0.9, -0.5]]), torch.tensor([[0, 1], [2, -1], [-1, -1]])).tolist()
        [[0.8999999761581421, -0.5, 0.0]]
    """
    best = table.new_full((len(table), len(columns)), -torch.inf)
    if table.shape[1]:
        for column in columns.T:
            found = table[:, column.clamp_min(0)].masked_fill_(column < 0, -torch.inf)
            best = torch.maximum(best, found, out=best)
    return best.masked_fill_(best == -torch.inf, 0.0)


def check_slots(
    query: torch.Tensor, slots: torch.Tensor, coefficient: torch.Tensor, query_key: torch.Tensor | None, slot_key: torch.Tensor | None
) -> None:
    """Raise InputError unless constraints, slots, coefficients and keys fit together."""
    if query.ndim != 3 or slots.ndim != 3 or query.shape[2] != slots.shape[2] or coefficient.shape != query.shape[:2]:
        shapes = ", ".join(str(tuple(given.shape)) for given in (query, slots, coefficient))
        raise InputError(f"constraints, slots and coefficients of shapes {shapes} do not fit; give (q, c, d), (g, s, d) and (q, c)")
    if (query_key is None) != (slot_key is None):
        raise InputError("keys of one side only given; give keys of constraints and of slots, or none")
    if query_key is not None and (query_key.shape != query.shape[:2] or slot_key.shape != slots.shape[:2]):
        raise InputError(
            f"keys of shapes {tuple(query_key.shape)} and {tuple(slot_key.shape)} do not fit; give one per constraint and slot"
        )
    for what, rows in (("constraints", query), ("coefficients", coefficient)):
        if not rows.isfinite().all():
            raise InputError(f"a number of the {what} is not finite; give finite numbers")


def _chunked(
    query: torch.Tensor, slots: torch.Tensor, coefficient: torch.Tensor, query_key: torch.Tensor | None, slot_key: torch.Tensor | None,
    dtype: torch.dtype,
) -> Float[torch.Tensor, "q g"]:  # fmt: skip
    """The torch backend: slots outside, so that each chunk is converted once; blocks of whole queries inside."""
    block = max(1, _LINES // max(1, query.shape[1]))
    width = min(block, len(query)) * query.shape[1]  # constraints of a block
    step = max(1, _TILE // max(1, width if slot_key is not None else width * slots.shape[1]))
    scores = torch.zeros(len(slots), len(query), device=query.device)  # a row a picture, as the tiles come
    if not width or not slots.numel():
        return scores.T
    lines = query.to(dtype).split(block)
    products = torch.empty(step * slots.shape[1] * width, dtype=dtype, device=query.device) if slot_key is None else None
    for start in range(0, len(slots), step):
        part = slice(start, start + step)
        chunk = slots[part]
        if not chunk.sum().isfinite() and not chunk.isfinite().all():  # a sum of finite numbers may overflow: look again
            raise InputError(f"a number in the slots of pictures {start} to {start + len(chunk) - 1} is not finite; give finite numbers")
        chunk = chunk.to(query.device, dtype)  # (k, s, d)
        keys = None if slot_key is None else slot_key[part].to(query.device)
        for number, asked in enumerate(lines):
            those = slice(number * block, number * block + len(asked))
            weight = coefficient[those].flatten()  # (q * c,)
            if keys is None:
                best = _best_of_all(asked.flatten(0, 1), chunk, products)
            else:
                best = _best_of_keys(asked.flatten(0, 1), chunk, query_key[those].flatten().to(keys.device), keys, weight != 0)
            scores[part, those] = best.mul_(weight).view(len(chunk), *asked.shape[:2]).sum(dim=2)
    return scores.T


def _best_of_all(
    lines: Float[torch.Tensor, "r d"], chunk: Float[torch.Tensor, "k s d"], products: torch.Tensor
) -> Float[torch.Tensor, "k r"]:
    """The best product of each constraint with the slots of each picture. `products` is memory for all of them."""
    k, s = chunk.shape[:2]
    tile = torch.mm(chunk.flatten(0, 1), lines.T, out=products[: k * s * len(lines)].view(k * s, len(lines)))
    return tile.view(k, s, len(lines)).amax(dim=1).float()


def _best_of_keys(
    lines: Float[torch.Tensor, "r d"],
    chunk: Float[torch.Tensor, "k s d"],
    line_key: Int[torch.Tensor, " r"],
    keys: Int[torch.Tensor, "k s"],
    counts: Bool[torch.Tensor, " r"],
) -> Float[torch.Tensor, "k r"]:
    """The same among slots of the right key, 0 without any. The first matching slot of every picture, then the second, and so on."""
    best = torch.zeros(len(chunk), len(lines), device=lines.device)
    for key in line_key[counts].clamp_min(-1).unique().tolist():
        rows = ((line_key.clamp_min(-1) == key) & counts).nonzero()[:, 0]
        match = keys >= 0 if key < 0 else keys == key
        place = match.cumsum(dim=1)  # 1 at a picture's first match
        found = torch.full((len(chunk), len(rows)), -torch.inf, device=lines.device)
        for turn in range(1, int(place[:, -1].max()) + 1):
            picture, slot = (match & (place == turn)).nonzero(as_tuple=True)
            product = (chunk[picture, slot] @ lines[rows].T).float()
            found[picture] = torch.maximum(found[picture], product)
        best[:, rows] = found.masked_fill_(found == -torch.inf, 0.0)
    return best
