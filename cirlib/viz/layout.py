"""Spaces of many dimensions on two: principal axes, which keep distances as far as two axes can, and t-SNE, which keeps neighbours.

Both are deterministic: PCA by singular values with a fixed sign, t-SNE from the principal axes, with one thread and a seed. Queries are
laid on a finished map, as in openTSNE (Policar et al., 2019): every picture stays where it is, and a query settles among its neighbours.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cirlib.types import InputError

_PERPLEXITY_PLACED = 5.0  # neighbours that place a query: few, as in openTSNE, so that it stands among the nearest and not between heaps
_STEPS, _RATE = 250, 1.0  # of placing: plain gradient descent


@dataclass(frozen=True)
class Axes:
    """Principal axes of a cloud.

    Attributes:
        mean: (d,) of the cloud.
        directions: (2, d) unit vectors; of each the largest number is positive.
        shares: (2,) of the cloud's variance that each axis holds, in [0, 1].
    """

    mean: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def project(self, rows: Float[Tensor, "n *m d"]) -> Float[np.ndarray, "n 2"]:
        """Rows on the two axes; of a picture with several vectors, their mean."""
        return (_one_row(rows) - self.mean) @ self.directions.T


def principal_axes(rows: Float[Tensor, "n *m d"]) -> Axes:
    """The two directions in which a cloud varies most; of a picture with several vectors, their mean is taken.

    Raises:
        InputError: If there are fewer than three rows, or all are the same.

    Example:
        >>> axes = principal_axes(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> axes.directions.tolist(), axes.shares.round(2).tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [0.8, 0.2])
    """
    table = _one_row(rows)
    spread = table - table.mean(0)
    if len(table) < 3 or not (np.abs(spread) > 1e-9).any():
        raise InputError(f"{len(table)} rows given, or all of them the same; a map needs three rows that differ")
    _, sizes, directions = np.linalg.svd(spread, full_matrices=False)
    found = directions[:2]
    found *= np.sign(found[np.arange(len(found)), np.abs(found).argmax(1)])[:, None]
    return Axes(table.mean(0), found + 0.0, (sizes**2 / (sizes**2).sum())[:2])


def neighbour_map(
    similarity: Float[Tensor, "n n"], start: Float[np.ndarray, "n 2"], *, perplexity: float = 30.0, seed: int = 0
) -> Float[np.ndarray, "n 2"]:
    """Positions on a map that keeps neighbours: Barnes-Hut t-SNE on 1 - similarity.

    Distances between heaps and the sizes of heaps mean nothing on such a map; `cirlib.evaluation.neighbourhoods.map_quality` says how many
    neighbours it keeps. Same numbers give the same map on one machine; on another the heaps may lie otherwise.

    Args:
        similarity: Of the pictures; larger is nearer.
        start: Where they begin, such as their principal axes; it decides how heaps lie to each other.
        perplexity: About how many neighbours count; less than a third of the pictures.
        seed: Of t-SNE's own generator.

    Raises:
        InputError: If there are too few pictures for the perplexity.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not 1 <= perplexity < len(similarity) / 3:
        raise InputError(f"perplexity {perplexity} for {len(similarity)} pictures given; 1 or more, and below a third of their number")
    distance = (1 - similarity.cpu().numpy()).clip(min=0).astype(np.float32)
    np.fill_diagonal(distance, 0)
    begin = (1e-4 * start / max(float(start[:, 0].std()), 1e-12)).astype(np.float32)
    tsne = TSNE(metric="precomputed", init=begin, perplexity=perplexity, learning_rate="auto", random_state=seed, n_jobs=1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return tsne.fit_transform(distance).astype(np.float64)


def place_queries(similarity: Float[Tensor, "q n"], positions: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "q 2"]:
    """Where queries belong on a finished map of pictures: t-SNE's objective, minimised over the query alone.

    A query that lies far from all pictures, as texts do, stands among its nearest ones all the same: the map says which pictures it is near
    to, and not how near.

    Args:
        similarity: Of queries and pictures; larger is nearer.
        positions: Of the pictures.

    Raises:
        InputError: If there are fewer than sixteen pictures.
    """
    if len(positions) < 3 * _PERPLEXITY_PLACED + 1 or similarity.shape[1] != len(positions):
        raise InputError(f"{similarity.shape[1]} similarities a query and {len(positions)} positions given; as many of both, 16 or more")
    placed = torch.from_numpy(np.ascontiguousarray(positions)).double()  # (n, 2)
    pull = _attraction(similarity.cpu().double())  # (q, n)
    at = placed[pull.argmax(1)].clone()
    for _ in range(_STEPS):
        away = at[:, None] - placed  # (q, n, 2)
        kernel = 1 / (1 + away.square().sum(-1))
        push = kernel / kernel.sum(1, keepdim=True)
        at = at - _RATE * torch.einsum("qn,qnd->qd", (pull - push) * kernel, away)
    return at.numpy()


def _attraction(similarity: Float[Tensor, "q n"]) -> Float[Tensor, "q n"]:
    """Weights of the pictures for each query, with the entropy of five equal neighbours: a softmax whose width is found by halving."""
    gap = similarity.amax(1, keepdim=True) - similarity
    low, high = torch.zeros(len(gap), 1, dtype=gap.dtype), torch.full((len(gap), 1), 1e6, dtype=gap.dtype)
    for _ in range(80):
        middle = (low + high) / 2
        weights = (-middle * gap).softmax(1)
        wide = torch.special.entr(weights).sum(1, keepdim=True) > np.log(_PERPLEXITY_PLACED)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return (-(low + high) / 2 * gap).softmax(1)


def _one_row(rows: Tensor) -> np.ndarray:
    return (rows if rows.ndim == 2 else rows.mean(1)).detach().cpu().double().numpy()
