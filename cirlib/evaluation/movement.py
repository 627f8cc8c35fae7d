"""Where queries stand in a space: how far they move from their reference image, how near they come to what, and how far clouds lie apart.

Similarities are inner products of unit vectors, so cosines; where a picture has several vectors, the best of them counts, as in the
evaluation. The gap between clouds is that of Liang et al. (2022); the measures of movement are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.evaluation.neighbourhoods import ranks_of
from cirlib.kernels.reference import target_ranks
from cirlib.types import Benchmark, Embeddings, InputError

GROUPS = ("target", "other positives", "look-alikes", "random")
_RANDOM = 5  # pictures drawn a query


@dataclass(frozen=True)
class Movement:
    """Where a query stands, seen from its reference image.

    Attributes:
        turn: (q,) angle between the query and its reference image, in degrees; the nearest of the reference's vectors counts.
        reference: (q,) rank that the reference image would have if it were not excluded, from 1.
        before: (q,) rank of the target when the reference image itself is the query.
        after: (q,) rank of the target for the query.
    """

    turn: np.ndarray
    reference: np.ndarray
    before: np.ndarray
    after: np.ndarray


def movement(query: Embeddings, gallery: Embeddings, benchmark: Benchmark, similarity: Float[Tensor, "g g"]) -> Movement:
    """How far each query moves from its reference image, in degrees and in ranks. The reference is left out of both ranks of the target.

    Args:
        query: Composed queries of the benchmark, in order.
        gallery: Of the same method, in order.
        benchmark: Its reference images must be in the gallery.
        similarity: `picture_similarity` of the gallery's rows.

    Raises:
        InputError: If a reference image or a target is not in the gallery.
    """
    reference, target = (_rows(benchmark, [getattr(q, side) for q in benchmark.queries]) for side in ("reference", "target"))
    own = relevance_of(query.rows, gallery.rows[reference])
    after = target_ranks(query.rows, gallery.rows, target, reference)
    asked = similarity[reference].clone()  # (q, g)
    asked.scatter_(1, reference[:, None], -torch.inf)
    before = ranks_of(asked, target[:, None].numpy())[:, 0]
    ranked = target_ranks(query.rows, gallery.rows, reference)
    turn = torch.rad2deg(torch.acos(own.double().clamp(-1, 1)))
    return Movement(*(np.asarray(values) for values in (turn.cpu(), ranked.cpu(), before, after.cpu())))


def relevance(query: Float[Tensor, "q d"], gallery: Float[Tensor, "g *m d"]) -> Float[Tensor, "q g"]:
    """Similarity of queries and pictures as the evaluation scores it: the best of a picture's vectors. For measures, not for ranks."""
    if gallery.ndim == 2:
        return query @ gallery.T
    return torch.stack([query @ vectors.T for vectors in gallery.unbind(1)]).amax(0)


def relevance_of(query: Float[Tensor, "q d"], pictures: Float[Tensor, "q *m d"]) -> Float[Tensor, " q"]:
    """Similarity of each query with its own picture, row by row."""
    if pictures.ndim == 2:
        return (query * pictures).sum(1)
    return torch.einsum("qd,qmd->qm", query, pictures).amax(1)


def cloud_gap(first: Float[Tensor, "n *m d"], second: Float[Tensor, "k *l d"]) -> float:
    """Distance between the mean vectors of two clouds of unit vectors, in [0, 2]: the modality gap of Liang et al. (2022).

    Example:
        >>> cloud_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        1.4142135623730951
    """
    means = [rows.double().reshape(-1, rows.shape[-1]).mean(0) for rows in (first, second)]
    return float(torch.linalg.vector_norm(means[0] - means[1]))


def similarity_groups(query: Embeddings, gallery: Embeddings, benchmark: Benchmark, seed: int = 0) -> dict[str, Float[np.ndarray, "q w"]]:
    """Similarities of every query with its target, its other positives, its look-alikes, and five random pictures.

    Args:
        query: Composed queries of the benchmark, in order.
        gallery: Of the same method, in order.
        benchmark: Look-alikes are the members of a query's subset that are no positives.
        seed: Of the random pictures, which are neither positives nor look-alikes nor the reference image.

    Returns:
        Group to (q, w) similarities, NaN where a query has fewer than w.
    """
    rows, scores, rng = benchmark.gallery.rows, relevance(query.rows, gallery.rows).cpu().double().numpy(), np.random.default_rng(seed)
    found: dict[str, list[list[int]]] = {name: [] for name in GROUPS}
    for asked in benchmark.queries:
        right = [rows[name] for name in asked.positives if name in rows]
        near = [rows[name] for name in asked.subset if name in rows and rows[name] not in right]
        taken = {*right, *near, rows.get(asked.reference, -1)}
        drawn = [int(row) for row in rng.permutation(len(rows))[: len(taken) + _RANDOM] if row not in taken][:_RANDOM]
        for name, chosen in zip(GROUPS, (right[:1], right[1:], near, drawn), strict=True):
            found[name].append(chosen)
    return {name: _gather(scores, lists) for name, lists in found.items()}


def _gather(scores: np.ndarray, lists: Sequence[Sequence[int]]) -> np.ndarray:
    values = np.full((len(lists), max(1, *map(len, lists))), np.nan)
    for row, chosen in enumerate(lists):
        values[row, : len(chosen)] = scores[row, list(chosen)]
    return values


def _rows(benchmark: Benchmark, ids: Sequence[str]) -> Int[Tensor, " q"]:
    absent = [image_id for image_id in ids if image_id not in benchmark.gallery]
    if absent:
        raise InputError(
            f"{len(absent)} reference images or targets (such as {absent[0]!r}) are not in the gallery; movement needs all of them"
        )
    return torch.tensor([benchmark.gallery.rows[image_id] for image_id in ids])
