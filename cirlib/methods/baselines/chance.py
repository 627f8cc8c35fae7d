"""Chance: random directions. The floor that every table shows, with its own interval."""

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from cirlib.types import Embeddings, ImageSet, Query


class Chance:
    """Gallery and queries as random unit vectors that know neither picture nor text.

    Args:
        seed: Seed of the directions.
        dim: Their dimension.
    """

    name = "chance"

    def __init__(self, seed: int = 0, dim: int = 64) -> None:
        self.seed, self.dim = seed, dim

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Random unit rows (g, dim)."""
        return Embeddings(images.ids, self._directions(len(images), 0))

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Random unit rows (q, dim), independent of the gallery's."""
        return Embeddings(tuple(query.id for query in queries), self._directions(len(queries), 1))

    def _directions(self, count: int, stream: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(2 * self.seed + stream)
        return normalize(torch.randn(count, self.dim, generator=generator), dim=-1)


def expected_recall(k: int, candidates: int) -> float:
    """Recall@K of a random order with one target among `candidates`: K / candidates, at most 1.

    Example:
        >>> expected_recall(10, 1000)
        0.01
    """
    return min(1.0, k / candidates)
