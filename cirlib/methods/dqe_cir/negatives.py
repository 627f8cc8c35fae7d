"""Which pictures may stand against a query's target: rules that read the query's scores over the pool and answer with a set.

A candidate's gap is d = c(q, t) - c(q, x), a difference of cosines: positive for a candidate that is ranked below the target. Target and
reference, and whatever else the caller forbids, are never in a set; a query that is left with nothing else is an error.

The gap is read about the paper's Delta-score, its form and sign are inferred. The bounds of the mid-zone, its widening and `Adaptive` are
our choice, because the paper's equations could not be read. `SteepestDrops` is QuRe's rule, from its paper and its released code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.methods.dqe_cir.zones import Zones, allowed_candidates, between, check_sizes, gaps, nearest, or_else, quantiles_above_zero
from cirlib.types import InputError


class NegativeRule(Protocol):
    """What defines negative sets.

    Attributes:
        reads_scores: False if every candidate is a negative, whatever the scores.
        calibrates: True if `calibrated` reads something off a sample of queries.
    """

    reads_scores: ClassVar[bool]
    calibrates: ClassVar[bool]

    @property
    def name(self) -> str:
        """As tables call it."""
        ...

    @property
    def bounds(self) -> dict[str, float]:
        """What was read off the sample, for the log; empty where nothing was."""
        ...

    def calibrated(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> "NegativeRule":
        """The rule with its bounds read off a sample of queries; itself if it does not calibrate."""
        ...

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """Sets of a block of queries.

        Args:
            scores: Cosine relevance of the pool to each query.
            target: Pool column of each query's target.
            forbidden: Candidates that no set may hold: target and reference at least.

        Raises:
            InputError: If everything in the pool is forbidden to a query.
        """
        ...


class _Fixed:
    """What rules share that read nothing but the block that they are given."""

    reads_scores: ClassVar[bool] = True
    calibrates: ClassVar[bool] = False

    @property
    def bounds(self) -> dict[str, float]:
        """Nothing: see `NegativeRule`."""
        return {}

    def calibrated(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> NegativeRule:
        """The rule itself."""
        return self


@dataclass(frozen=True)
class Random(_Fixed):
    """Every candidate of the pool: what QuRe trains on until the first rebuild."""

    reads_scores: ClassVar[bool] = False
    name: str = "random"

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """All that is not forbidden; scores are not read."""
        return Zones(allowed_candidates(forbidden), torch.zeros(len(forbidden), dtype=torch.bool, device=forbidden.device))


@dataclass(frozen=True)
class Hardest(_Fixed):
    """The best ranked candidates; both variants stand in QuRe's ablation, with 100 of them.

    Attributes:
        count: How many; fewer where there are no more.
        after_target: Only candidates strictly below the target ("first 100 after the target"); else of the whole pool. Where nothing lies
            below the target, those whose gap is smallest in size stand in (our choice), and the query counts as widened.
    """

    count: int = 100
    after_target: bool = True
    name: str = "hardest"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"the {self.count} hardest negatives asked for; ask for 1 or more")

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """The `count` highest scores, ties by column."""
        allowed, gap = allowed_candidates(forbidden), gaps(scores, target)
        if not self.after_target:
            return Zones(nearest(-scores, allowed, self.count), torch.zeros(len(scores), dtype=torch.bool, device=scores.device))
        members = nearest(gap, allowed & (gap > 0), self.count)
        return or_else(members, nearest(gap.abs(), allowed, self.count))


@dataclass(frozen=True)
class SteepestDrops(_Fixed):
    """QuRe's rule: what lies between the two steepest drops of the sorted scores below the target (its Eq. 4 to 7).

    The scores strictly below the target are sorted. The drops between neighbours are sorted by size, and the first two that follow each
    other in that order and whose places are more than `apart` away from each other are taken. The set is what lies after the earlier drop,
    down to the last one before the later. The reference takes part in the curve, as in the released code, and is then left out of
    the set, which the code does not do.

    Of equal drops the earlier place comes first (our choice; the code leaves it open). Where no two drops are far enough apart, or nothing
    is left between them, the released code stops or reuses another query's place; here everything below the target stands in, and where
    nothing lies below it everything that is allowed does. Such queries count as widened.

    Attributes:
        apart: The released code's `consecutive_threshold`.
    """

    apart: int = 1
    name: str = "steepest_drops"

    def __post_init__(self) -> None:
        if self.apart < 1:
            raise InputError(f"drops more than {self.apart} places apart asked for; give 1 or more")

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """Between the two drops."""
        allowed, below = allowed_candidates(forbidden), gaps(scores, target) > 0
        ordered, order = scores.sort(dim=1, descending=True, stable=True)
        first = (~below).sum(dim=1, keepdim=True)  # (r, 1): places from here on lie below the target
        place = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
        drops = (ordered[:, :-1] - ordered[:, 1:]).masked_fill(place[:, :-1] < first, -torch.inf)
        size, where = drops.sort(dim=1, descending=True, stable=True)  # the place before each drop, steepest first
        pair = ((where[:, 1:] - where[:, :-1]).abs() > self.apart) & (size[:, 1:] > -torch.inf)
        if pair.shape[1] == 0:
            return or_else(torch.zeros_like(allowed), allowed & below, allowed)
        chosen = pair.int().argmax(dim=1, keepdim=True)  # (r, 1): the first such pair
        ends = torch.cat([where.gather(1, chosen), where.gather(1, chosen + 1)], dim=1)
        start, end = ends.amin(dim=1, keepdim=True), ends.amax(dim=1, keepdim=True)
        between = (place > start) & (place <= end) & pair.any(dim=1, keepdim=True)
        members = torch.zeros_like(allowed).scatter_(1, order, between) & allowed & below
        return or_else(members, allowed & below, allowed)


@dataclass(frozen=True)
class MidZone(_Fixed):
    """Target relative negative sampling: candidates whose gap lies between two bounds, neither ambiguous nor easy.

    Attributes:
        low: Lower bound. A smaller gap, or a negative one, may be that of another correct picture.
        high: Upper bound. A larger gap is easy.
        kind: "absolute": bounds in cosine. "quantile": bounds are these quantiles of the query's own gaps above 0, linearly interpolated.
        least: A smaller set is widened: the `least` candidates with a gap above 0 that lie nearest to the middle of the zone, or of all
            candidates where fewer than `least` have one.
        most: A larger set keeps its `most` smallest gaps; 0 keeps all.

    The bounds are closed. Ties go by column. The default numbers are our choice.
    """

    low: float = 0.03
    high: float = 0.10
    kind: Literal["absolute", "quantile"] = "absolute"
    least: int = 32
    most: int = 0
    name: str = "midzone"

    def __post_init__(self) -> None:
        top = 1.0 if self.kind == "quantile" else 2.0
        if self.kind not in ("absolute", "quantile") or not 0 <= self.low <= self.high <= top:
            raise InputError(f"{self} given; kind is absolute or quantile, and 0 <= low <= high <= 2 for gaps, 1 for quantiles")
        check_sizes(self.least, self.most)

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """Candidates between the bounds, widened or cut where `least` or `most` say so."""
        allowed, gap = allowed_candidates(forbidden), gaps(scores, target)
        if self.kind == "quantile":
            bounds = quantiles_above_zero(gap, allowed, (self.low, self.high))
        else:
            bounds = torch.tensor([self.low, self.high], device=gap.device).expand(len(gap), 2)
        return between(gap, allowed, bounds, self.least, self.most)
