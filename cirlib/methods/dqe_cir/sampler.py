"""One negative per query and step, uniformly and without replacement until the query's set is used up; then it starts over.

The order in which a set is used up is that of hashed priorities (`cirlib.kernels.midzone.priorities`): a draw depends on the seed, the
number of the rebuild, the query and how often it was drawn since, and on nothing else, so that batches, devices and interruptions cannot
change it. A rebuild clears the history. QuRe draws in the same way, from a random state.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.kernels.midzone import priorities
from cirlib.methods.dqe_cir.sets import NegativeSets
from cirlib.types import InputError

_ROW_BITS = 31  # priority and gallery row in one int64: rows break ties of priorities


class NegativeSampler:
    """Draws from negative sets and remembers what is used up; the memory of a training (see `cirlib.methods.training`).

    Args:
        seed: Of all draws, in [0, 2^32).

    Example:
        >>> sampler = NegativeSampler(seed=0)
        >>> sampler.rebuild(NegativeSets(torch.tensor([0, 3]), torch.tensor([4, 6, 9]), torch.tensor([0])))
        >>> sorted(int(sampler.draw(torch.tensor([0]))) for _ in range(3))
        [4, 6, 9]
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**32:
            raise InputError(f"seed {seed} given; it lies in [0, 2^32)")
        self.seed = seed
        self.rebuilds = 0  # so far
        self.sets: NegativeSets | None = None
        self._drawn = torch.zeros(0, dtype=torch.int64)  # per query, since the last rebuild

    def rebuild(self, sets: NegativeSets) -> None:
        """Draw from new sets, with a cleared history; raises InputError if one is empty."""
        if len(sets) and int(sets.sizes.min()) < 1:
            raise InputError(f"query {int(sets.sizes.argmin())} has an empty negative set; every query needs a negative")
        self.sets, self.rebuilds, self._drawn = sets, self.rebuilds + 1, torch.zeros(len(sets), dtype=torch.int64)

    def draw(self, queries: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The next negative of each query, as gallery rows; a query that is listed twice gets two.

        Raises:
            InputError: Before the first rebuild, or for a query that has no set.
        """
        if self.sets is None:
            raise InputError("no negatives to draw from; rebuild the sampler with sets first")
        if len(queries) and not (int(queries.min()) >= 0 and int(queries.max()) < len(self.sets)):
            raise InputError(f"queries {int(queries.min())} to {int(queries.max())} drawn; sets belong to [0, {len(self.sets)})")
        sets = [self.sets.of(query) for query in queries.tolist()]
        laps, places = torch.tensor([self._count(*pair) for pair in zip(queries.tolist(), map(len, sets), strict=True)]).view(-1, 2).T
        sizes = torch.tensor([len(members) for members in sets], dtype=torch.int64)
        owner, members = torch.arange(len(sets)).repeat_interleave(sizes), torch.cat([sizes[:0], *sets])
        words = (self.seed, self.rebuilds, laps[owner], queries.cpu()[owner], members)
        order = (priorities(words) << _ROW_BITS | members).argsort()
        order = order[owner[order].argsort(stable=True)]  # sets one after the other, each in the order in which it is used up
        return members[order[sizes.cumsum(0) - sizes + places]].to(queries.device)

    def _count(self, query: int, size: int) -> tuple[int, int]:
        """How often the query's set was used up before, and the place of the next draw within it."""
        drawn = int(self._drawn[query])
        self._drawn[query] += 1
        return divmod(drawn, size)

    def state_dict(self) -> dict[str, Any]:
        """Seed, number of rebuilds, draws so far, and the sets."""
        sets = None if self.sets is None else self.sets.state_dict()
        return {"seed": self.seed, "rebuilds": self.rebuilds, "drawn": self._drawn.clone(), "sets": sets}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state; raises InputError if it has another seed."""
        if state["seed"] != self.seed:
            raise InputError(f"a state of seed {state['seed']} given to a sampler of seed {self.seed}; use the seed it was made with")
        self.rebuilds, self._drawn = state["rebuilds"], state["drawn"].cpu().clone()
        self.sets = None if state["sets"] is None else NegativeSets.from_state_dict(state["sets"])
