"""The contrastive loss of queries against a whole gallery, tile by tile, with its gradients. The (q, g) scores are never held.

Formula    loss = mean_i [ log sum_j exp(s <q_i, g_j>) - s <q_i, g_t(i)> ],   p_ij = exp(s <q_i, g_j>) / sum_k exp(s <q_i, g_k>)
           d/dq_i = s (sum_j p_ij g_j - g_t(i)) / n;   d/dg_j = s sum_i (p_ij - [j = t(i)]) q_i / n
           d/ds = mean_i <q_i, sum_j p_ij g_j - g_t(i)>: it needs no pass of its own
Traffic    8 q g d operations with both gradients, 6 q g d without a gradient for the gallery; the plain way takes 6 and 4, and writes and
           reads the scores, their softmax and its gradient. Here a tile of scores stays in cache while it is worked on.
Memory     One tile of scores, at most `tile_mib`, and the gradients themselves.
Precision  Scores, sums and gradients are fp32 (float64 for float64 rows). On a GPU half precision rows are multiplied as such and summed in
           fp32; scores are never stored in half precision.
Limits     No second derivative. Batches of a few thousand in-batch negatives need none of this: their scores take some tens of MiB.
Reference  cirlib.kernels.reference.contrastive_loss
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int

from cirlib.types import InputError

_TILE_MIB = {"cpu": 8, "cuda": 256}  # on a CPU the tile stays in cache; a GPU wants large products
_QUERIES = {"cpu": 1024, "cuda": 16_384}  # of a tile


def contrastive_loss(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g d"],
    target: Int[torch.Tensor, " q"],
    scale: Float[torch.Tensor, ""] | float = 1.0,
    *,
    tile_mib: int | None = None,
) -> Float[torch.Tensor, ""]:
    """Mean cross entropy of each query's target among all gallery rows, differentiable in query, gallery and scale.

    Args:
        query: Composed queries; unit rows if cosines are meant.
        gallery: Candidates, all of them negatives but the target. A bank without gradient saves a product.
        target: Gallery row of each query's target.
        scale: What scores are multiplied by, the inverse temperature; a tensor of one number may be learnt.
        tile_mib: Largest tile of scores, in MiB; by default 8 on a CPU and 256 on a GPU. Changes memory and the last bits, nothing else.

    Returns:
        The loss: a scalar in fp32, or float64 for float64 rows. Gradients have the precision of their inputs.

    Raises:
        InputError: If shapes or precisions do not fit, there is no query, a target lies outside, or `tile_mib` is below 1.

    Example:
        >>> rows = torch.eye(2)
        >>> round(float(contrastive_loss(rows, rows, torch.tensor([0, 1]), 2.0)), 4)  # log(1 + exp(-2))
        0.1269
    """
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1] or not len(query):
        raise InputError(f"queries {tuple(query.shape)} and gallery {tuple(gallery.shape)} do not fit; give (q, d) and (g, d) with q > 0")
    if query.dtype != gallery.dtype or not query.is_floating_point():
        raise InputError(f"queries are {query.dtype} and the gallery is {gallery.dtype}; give both in one floating point precision")
    if target.shape != (len(query),) or target.is_floating_point():
        raise InputError(f"target is {target.dtype} {tuple(target.shape)}; give one whole number for each of {len(query)} queries")
    if int(target.min()) < 0 or int(target.max()) >= len(gallery):
        raise InputError(f"targets from {int(target.min())} to {int(target.max())} given; gallery rows lie in [0, {len(gallery)})")
    if tile_mib is not None and tile_mib < 1:
        raise InputError(f"tile of {tile_mib} MiB given; it is at least 1")
    wide, kind = _wide(query), "cuda" if query.is_cuda else "cpu"
    scale = scale.to(query.device, wide) if isinstance(scale, torch.Tensor) else torch.tensor(scale, dtype=wide, device=query.device)
    height = min(len(query), _QUERIES[kind])
    width = max(1, (tile_mib or _TILE_MIB[kind]) * 2**20 // (height * wide.itemsize))
    return _Contrastive.apply(query, gallery, target.to(query.device, torch.int64), scale.reshape(()), (height, width))


class _Contrastive(torch.autograd.Function):
    """Keeps one number a query between forward and backward; the scores are computed again."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, gallery: torch.Tensor, target: torch.Tensor, scale: torch.Tensor, tile: tuple[int, int]
    ) -> torch.Tensor:
        with torch.autocast(query.device.type, enabled=False):
            total = torch.full((len(query),), -torch.inf, dtype=_wide(query), device=query.device)  # log of the sum so far
            for lines, _, scores in _tiles(query, gallery, scale, tile):
                peak = scores.amax(dim=1)
                total[lines] = torch.logaddexp(total[lines], scores.sub_(peak[:, None]).exp_().sum(dim=1).log_().add_(peak))
            own = scale * (query.to(total.dtype) * gallery[target].to(total.dtype)).sum(dim=1)
        ctx.save_for_backward(query, gallery, target, scale, total)
        ctx.tile = tile
        return (total - own).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, gallery, target, scale, total = ctx.saved_tensors
        mean = torch.zeros(query.shape, dtype=total.dtype, device=query.device)  # sum_j p_ij g_j
        d_gallery = torch.zeros(gallery.shape, dtype=total.dtype, device=query.device) if ctx.needs_input_grad[1] else None
        with torch.autocast(query.device.type, enabled=False):
            for lines, rows, scores in _tiles(query, gallery, scale, ctx.tile):
                share = scores.sub_(total[lines, None]).exp_()
                _add_product(mean[lines], share, gallery[rows])
                if d_gallery is not None:
                    _add_product(d_gallery[rows], share.T, query[lines])
            mean -= gallery[target].to(total.dtype)
            d_scale = upstream * (query.to(total.dtype) * mean).sum(dim=1).mean() if ctx.needs_input_grad[3] else None
            factor = upstream * scale / len(query)
            if d_gallery is not None:
                d_gallery = d_gallery.index_add_(0, target, query.to(total.dtype), alpha=-1).mul_(factor).to(gallery.dtype)
        return mean.mul_(factor).to(query.dtype), d_gallery, None, d_scale, None


def _tiles(
    query: torch.Tensor, gallery: torch.Tensor, scale: torch.Tensor, tile: tuple[int, int]
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Queries, gallery rows and scaled scores of every tile. The scores may be overwritten: their memory is used again."""
    height, width = min(tile[0], len(query)), min(tile[1], len(gallery))
    held = torch.empty(height * width, dtype=_wide(query), device=query.device)
    for start in range(0, len(gallery), width):
        rows = slice(start, min(start + width, len(gallery)))
        for first in range(0, len(query), height):
            lines = slice(first, min(first + height, len(query)))
            scores = held[: (lines.stop - first) * (rows.stop - start)].view(lines.stop - first, rows.stop - start)
            yield lines, rows, _product(query[lines], gallery[rows].T, scores).mul_(scale)


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """A matrix product whose sums and whose result are wide."""
    if left.dtype == out.dtype:
        return torch.mm(left, right, out=out)
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=out.dtype, out=out)
    return torch.mm(left.to(out.dtype), right.to(out.dtype), out=out)  # half precision products on a CPU are slow, or round their result


def _add_product(total: torch.Tensor, share: torch.Tensor, rows: torch.Tensor) -> None:
    """Add a product to some rows, in place; the shares are rounded to the precision of the rows where a GPU multiplies those."""
    if rows.is_cuda and rows.dtype != total.dtype:
        total += torch.mm(share.to(rows.dtype), rows, out_dtype=total.dtype)
    else:
        total.addmm_(share, rows.to(total.dtype))


def _wide(rows: torch.Tensor) -> torch.dtype:
    return torch.float64 if rows.dtype == torch.float64 else torch.float32
