"""Negative sets of many queries, held as one list of gallery rows."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class NegativeSets:
    """One set of gallery rows per query; where a set is nearly all of the query's pool, what is left out of it is listed instead.

    Attributes:
        offsets: What is listed for query i is `rows[offsets[i]:offsets[i + 1]]`.
        rows: Gallery rows, sorted within a query.
        pool: Number of the pool of each query; reads from `pools`.
        pools: Sorted gallery rows of each pool if `rows` are left out of it; empty if `rows` are the sets themselves.

    Example:
        >>> offsets, rows = torch.tensor([0, 2, 3]), torch.tensor([1, 4, 2])
        >>> NegativeSets(offsets, rows, torch.tensor([0, 0])).of(0).tolist()
        [1, 4]
        >>> NegativeSets(offsets, rows, torch.tensor([0, 0]), (torch.arange(5),)).of(0).tolist()
        [0, 2, 3]
    """

    offsets: Int[Tensor, " q1"]
    rows: Int[Tensor, " n"]
    pool: Int[Tensor, " q"]
    pools: tuple[Int[Tensor, " p"], ...] = ()

    def __len__(self) -> int:
        return len(self.pool)

    def of(self, query: int) -> Int[Tensor, " n"]:
        """Sorted gallery rows of one query's set, int64."""
        listed = self.rows[self.offsets[query] : self.offsets[query + 1]].long()
        if not self.pools:
            return listed
        candidates = self.pools[int(self.pool[query])]
        return candidates[~torch.isin(candidates, listed)]

    @property
    def sizes(self) -> Int[Tensor, " q"]:
        """Members of each set."""
        listed = self.offsets.diff()
        return torch.tensor([len(candidates) for candidates in self.pools])[self.pool] - listed if self.pools else listed

    def state_dict(self) -> dict[str, Tensor | list[Tensor]]:
        """The sets as tensors."""
        return {"offsets": self.offsets, "rows": self.rows, "pool": self.pool, "pools": list(self.pools)}

    @classmethod
    def from_state_dict(cls, state: dict) -> "NegativeSets":
        """Read them back, onto the CPU."""
        return cls(state["offsets"].cpu(), state["rows"].cpu(), state["pool"].cpu(), tuple(rows.cpu() for rows in state["pools"]))
