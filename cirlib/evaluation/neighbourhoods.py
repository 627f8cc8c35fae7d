"""What lies beside what: neighbourhoods of a space, what they have in common, and how much of them a map keeps.

A space is what a method's `encode_gallery` yields: one unit vector a picture, or m of them. Similarities are inner products of unit
vectors, so cosines. Trustworthiness and continuity are those of Venna and Kaski (2001); purity and its chance levels are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.types import InputError

_CHUNK = 128  # pictures compared with all others at once


@dataclass(frozen=True)
class MapQuality:
    """How much of the neighbourhoods of a space a map keeps, picture by picture.

    Attributes:
        kept: (n,) share of the k nearest of the space that are among the k nearest on the map, in [0, 1].
        trustworthiness: In [0, 1]; low where the map shows neighbours that are none. One value for the whole map.
        continuity: In [0, 1]; low where the map tears neighbours apart.
    """

    kept: np.ndarray
    trustworthiness: float
    continuity: float


def picture_similarity(rows: Float[Tensor, "n *m d"]) -> Float[Tensor, "n n"]:
    """Similarity of every two pictures, symmetric, in [-1, 1].

    One vector a picture: its cosine. Several: each vector of one picture takes the best of the other's, and both directions are averaged
    (our choice; methods with m vectors define the score of a query only).

    Example:
        >>> picture_similarity(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])).tolist()
        [[1.0, 0.75], [0.75, 1.0]]
    """
    rows = rows.float()
    if rows.ndim == 2:
        return rows @ rows.T
    n, m, _ = rows.shape
    best = torch.empty(n, n, device=rows.device)
    for start in range(0, n, _CHUNK):
        part = rows[start : start + _CHUNK]
        found = torch.full((part.shape[0], m, n), -torch.inf, device=rows.device)
        for other in rows.unbind(1):  # (n, d)
            found = torch.maximum(found, part @ other.T)  # (c, m, n)
        best[start : start + _CHUNK] = found.mean(1)
    return (best + best.T) / 2


def nearest(similarity: Float[Tensor, "n n"], k: int) -> Int[np.ndarray, "n k"]:
    """The k most similar others of each picture, most similar first; ties go by row.

    Raises:
        InputError: If k is not between 1 and the number of others.

    Example:
        >>> nearest(torch.tensor([[1.0, 0.2, 0.9], [0.2, 1.0, 0.2], [0.9, 0.2, 1.0]]), 1).ravel().tolist()
        [2, 0, 0]
    """
    if not 1 <= k < len(similarity):
        raise InputError(
            f"{k} nearest of {len(similarity) - 1} other pictures asked for; ask for 1 or more, and not for more than there are"
        )
    others = similarity.clone().fill_diagonal_(-torch.inf)
    return others.sort(dim=1, descending=True, stable=True).indices[:, :k].cpu().numpy()


def ranks_of(table: Float[Tensor, "n g"], columns: Int[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """Rank of some columns in each line of a table of similarities, from 1; larger is better, ties go by column.

    Example:
        >>> ranks_of(torch.tensor([[0.1, 0.9, 0.9]]), np.array([[0, 2]])).tolist()
        [[3, 2]]
    """
    order, found = torch.arange(table.shape[1], device=table.device), []
    for column in torch.from_numpy(columns).to(table.device).unbind(1):
        own = table.gather(1, column[:, None])
        ahead = (table > own) | ((table == own) & (order < column[:, None]))
        found.append(ahead.sum(1) + 1)
    return torch.stack(found, 1).cpu().numpy()


def map_quality(similarity: Float[Tensor, "n n"], positions: Float[np.ndarray, "n 2"], k: int = 10) -> MapQuality:
    """How much of the k nearest of a space a map keeps.

    Trustworthiness is 1 - 2 / (n k (2n - 3k - 1)) times the sum, over all that are among the k nearest on the map and not in the space, of
    how far beyond k they rank in the space; continuity is the same with map and space exchanged.

    Args:
        similarity: Of the pictures, in the space; larger is nearer.
        positions: Of the pictures, on the map.
        k: Neighbours; below half the number of pictures.

    Raises:
        InputError: If k is too large, or the numbers of pictures differ.
    """
    n = len(similarity)
    if len(positions) != n or not 1 <= k < n / 2:
        raise InputError(
            f"{n} pictures, {len(positions)} positions and k = {k} given; as many positions as pictures, and k below half of them"
        )
    placed = torch.from_numpy(np.ascontiguousarray(positions)).double()
    closeness = -torch.cdist(placed, placed, compute_mode="donot_use_mm_for_euclid_dist")
    tables = [table.cpu().double().clone().fill_diagonal_(-torch.inf) for table in (similarity, closeness)]
    seen = [nearest(table, k) for table in tables]
    kept = np.array([len(np.intersect1d(*pair)) for pair in zip(*seen, strict=True)]) / k
    scale = 2 / (n * k * (2 * n - 3 * k - 1))
    beyond = [np.maximum(ranks_of(table, found) - k, 0).sum() for table, found in zip(tables, reversed(seen), strict=True)]
    return MapQuality(kept, *(float(1 - scale * total) for total in beyond))


def purity(neighbours: Int[np.ndarray, "n k"], values: Sequence[str | None]) -> Float[np.ndarray, " n"]:
    """Share of a picture's neighbours that have its value of an attribute, among those that have the attribute.

    Args:
        neighbours: Rows of the neighbours of each picture.
        values: Value of each picture; None where the attribute does not apply.

    Returns:
        In [0, 1]; NaN where the attribute does not apply to the picture or to any of its neighbours.

    Example:
        >>> purity(np.array([[1, 2], [0, 2], [0, 1]]), ["red", "red", None]).tolist()
        [1.0, 1.0, nan]
    """
    codes = _codes(values)
    own, others = codes[:, None], codes[neighbours]
    counted = (others >= 0) & (own >= 0)
    return _share((others == own) & counted, counted)


def chance_purity(values: Sequence[str | None], groups: Sequence[int] | None = None) -> Float[np.ndarray, " n"]:
    """Purity of neighbours drawn at random from all other pictures, or from the others of a picture's own group.

    Args:
        values: As in `purity`.
        groups: Group of each picture, such as its family of look-alikes; None draws from all.

    Example:
        >>> chance_purity(["red", "red", "blue"]).tolist(), chance_purity(["red", "red", "blue"], [0, 0, 1]).tolist()
        ([0.5, 0.5, 0.0], [1.0, 1.0, nan])
    """
    codes = _codes(values)
    group = np.zeros(len(codes), np.int64) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    table = np.zeros((group.max(initial=0) + 1, codes.max(initial=0) + 1))
    np.add.at(table, (group[codes >= 0], codes[codes >= 0]), 1)
    others = np.where(codes >= 0, table[group].sum(1) - 1, 0)
    same = table[group, np.maximum(codes, 0)] - 1
    return np.divide(same, others, out=np.full(len(codes), np.nan), where=others > 0)


def _codes(values: Sequence[str | None]) -> Int[np.ndarray, " n"]:
    known = {value: code for code, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([-1 if value is None else known[value] for value in values], np.int64)


def _share(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, " n"]:
    count = whole.sum(1)
    return np.divide(part.sum(1), count, out=np.full(len(whole), np.nan), where=count > 0)
