"""The negatives of a training over time: mined at intervals, drawn one per query and step, logged, and saved with the training's state."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.methods.dqe_cir.mining import mine
from cirlib.methods.dqe_cir.negatives import Random
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.dqe_cir.recipe import Recipe
from cirlib.methods.dqe_cir.sampler import NegativeSampler
from cirlib.methods.dqe_cir.sets import NegativeSets
from cirlib.methods.dqe_cir.training_set import TrainingSet


class NegativeMemory:
    """Defines negative sets anew at every interval with the weights of the moment, and draws from them.

    Args:
        recipe: Rule, interval and seed.
        data: Who may stand against whom.
        composer: Gives the scores.

    Attributes:
        logs: One entry per definition: that of `mine`; "epoch", counted from 0; "wrong_members", the mean share of a set that is in truth
            a positive of its query; "drawn", how many negatives were drawn from it so far, and "wrong_drawn", how many of them were
            positives. Truth is what the benchmark knows: only complete positives (atelier) make these two more than a lower bound.
    """

    def __init__(self, recipe: Recipe, data: TrainingSet, composer: ComposedQuery) -> None:
        self.recipe, self.data, self.composer = recipe, data, composer
        self.rule = recipe.negative_rule()
        self.sampler = NegativeSampler(recipe.seed)
        self.logs: list[dict[str, Any]] = []

    @property
    def warm(self) -> bool:
        """Whether the sets are those of the first interval, any picture of the pool (QuRe)."""
        return len(self.logs) == 1

    @property
    def margin(self) -> float:
        """The recipe's, or the upper bound that the rule read off the scores, mean over the pools; 0 before it did."""
        if self.recipe.margin is not None:
            return self.recipe.margin
        read = [bounds["high"] for bounds in self.logs[-1]["bounds"]]
        return sum(read) / len(read) if read else 0.0

    def prepare(self, epoch: int) -> None:
        """Define the sets of an epoch's interval, unless they are those at hand."""
        if epoch // self.recipe.interval == len(self.logs) - 1:
            return
        rule = self.rule if self.logs else Random()
        query, gallery = self.data.embed(self.composer) if rule.reads_scores else self._blank()
        forbidden = self.data.reference.unsqueeze(1)
        mined = mine(rule, query, gallery, self.data.target, forbidden, pools=self.data.pools, mates=self.data.mates)
        self.sampler.rebuild(mined.sets)
        wrong = mean_share(mined.sets, self.data.positives)
        self.logs.append({"epoch": epoch, **mined.log, "wrong_members": wrong, "drawn": 0, "wrong_drawn": 0})

    def draw(self, queries: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """One negative per query, as picture numbers."""
        drawn = self.sampler.draw(queries)
        self.logs[-1]["drawn"] += len(drawn)
        pairs = zip(queries.tolist(), drawn.tolist(), strict=True)
        self.logs[-1]["wrong_drawn"] += sum(picture in self.data.positives[query] for query, picture in pairs)
        return drawn

    def report(self) -> list[dict[str, Any]]:
        """The logs as they stand."""
        return copy.deepcopy(self.logs)

    def state_dict(self) -> dict[str, Any]:
        """Sets, draws and logs."""
        return {"sampler": self.sampler.state_dict(), "logs": self.report()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.sampler.load_state_dict(state["sampler"])
        self.logs = copy.deepcopy(state["logs"])

    def _blank(self) -> tuple[Tensor, Tensor]:
        """Rows for a rule that reads none."""
        return torch.zeros(len(self.data), 1), torch.zeros(self.data.count, 1)


def mean_share(sets: NegativeSets, positives: Sequence[frozenset[int]]) -> float:
    """Mean over the queries of the share of a negative set that is in truth a positive.

    Example:
        >>> sets = NegativeSets(torch.tensor([0, 2, 3]), torch.tensor([1, 4, 2]), torch.tensor([0, 0]))
        >>> mean_share(sets, [frozenset({4, 9}), frozenset()])
        0.25
    """
    shares = [0.0] * len(positives)
    for query, correct in enumerate(positives):
        if correct:
            members = sets.of(query)
            shares[query] = int(torch.isin(members, torch.tensor(sorted(correct))).sum()) / len(members)
    return sum(shares) / len(shares)
