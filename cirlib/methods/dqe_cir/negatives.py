"""Which pictures may stand against a query's target: rules that read the query's scores over the pool and answer with a set.

A candidate's gap is d = c(q, t) - c(q, x), a difference of cosines: positive for a candidate that is ranked below the target. Target and
reference, and whatever else the caller forbids, are never in a set; a query that is left with nothing else is an error.

The gap is read about the paper's Delta-score, its form and sign are inferred. The bounds of the mid-zone, its widening and `Adaptive` are
our choice, because the paper's equations could not be read. `SteepestDrops` is QuRe's rule, from its paper and its released code.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.methods.dqe_cir.zones import (
    Zones,
    allowed_candidates,
    between,
    check_sizes,
    gaps,
    inversion_rates,
    nearest,
    or_else,
    quantiles_above_zero,
)
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
            bounds = torch.tensor([[self.low, self.high]], device=gap.device)
        low, high = bounds[:, :1], bounds[:, 1:]
        return between(gap, allowed, (low, high), centre=(low + high) / 2, preferred=gap > 0, least=self.least, most=self.most)


@dataclass(frozen=True)
class Adaptive:
    """A mid-zone bounded by how often the model is wrong at a gap: beyond the paper, which leaves hand-set bounds as an open problem.

    Take a query, and one of the allowed candidates that stand x away from its target on either side: how often does it stand above? That
    *rate of inversion* p(x), averaged over a sample of queries at every rebuild (`inversion_rates`), is about a half at x = 0 and falls
    with x to a floor, that of the queries whose target the model places anywhere. A bound is where a share of that fall is left:

    * low, where `ambiguous` is left. If the annotator might as well have chosen another correct picture, then correct pictures without a
      label lie as far below the target as above it, so that those below are at most as many as all candidates above: at gap x no more
      than p / (1 - p) of the candidates are false negatives, a quarter at the default where the floor is 0. Nearer ones are left out.
    * high, where `easy` is left. Beyond it a larger gap makes no mistake rarer: the model tells such candidates apart already.

    Read: scores, targets and what is forbidden, of the sample. Not read: labels beyond the target, the temperature, any number in cosine.
    Each query counts alike where it has candidates, as it does when negatives are drawn. The bounds scale with the scores, are blind to
    a shift of a query's scores, and shrink as the model gets better, a curriculum. What weakens the argument is a model that knows its
    training targets by heart: it pulls them ahead of other correct pictures.

    p is read in 16 bins, and a bound is the upper edge of the last bin that is above its share; if p falls nowhere, the last edge. Where
    no candidate of the sample outranks its target, both bounds are the median of the queries' smallest gaps.

    Attributes:
        ambiguous: Share of the fall that is left at the lower bound, in (0, 1).
        easy: Share of the fall that is left at the upper bound, in [0, `ambiguous`].
        least: A smaller set grows to the easy side: the `least` smallest gaps from the lower bound on, or, where fewer lie there, the
            `least` gaps nearest to it. Such queries count as widened. 8 is what a query draws between two rebuilds of QuRe's schedule.
        most: A larger set keeps its `most` smallest gaps; 0 keeps all.
        fitted: Lower and upper bound, as `calibrated` read them; without them `zone` reads them off its own block.
    """

    ambiguous: float = 0.4
    easy: float = 0.05
    least: int = 8
    most: int = 0
    fitted: tuple[float, float] | None = None
    name: str = "adaptive"
    reads_scores: ClassVar[bool] = True
    calibrates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.easy <= self.ambiguous < 1 or self.ambiguous == 0:
            raise InputError(f"{self} given; shares of the fall obey 0 <= easy <= ambiguous and 0 < ambiguous < 1")
        check_sizes(self.least, self.most)

    @property
    def bounds(self) -> dict[str, float]:
        """ "low" and "high" in cosine; empty before calibration."""
        return dict(zip(("low", "high"), self.fitted, strict=True)) if self.fitted else {}

    def calibrated(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> "Adaptive":
        """The rule with both bounds read off these queries."""
        allowed, gap = allowed_candidates(forbidden.scatter(1, target[:, None], True)), gaps(scores, target)
        edges, rates = inversion_rates(gap, allowed)
        if not len(edges):
            miss = float(gap.masked_fill(~allowed, torch.inf).amin(dim=1).median())
            return replace(self, fitted=(miss, miss))
        fall = (rates - rates[-1]) / (rates[0] - rates[-1]) if rates[0] > rates[-1] else torch.ones_like(rates)
        low, high = (edges[int((fall > share).sum())] for share in (self.ambiguous, self.easy))
        return replace(self, fitted=(float(low), float(high)))

    def zone(self, scores: Float[Tensor, "r p"], target: Int[Tensor, " r"], forbidden: Bool[Tensor, "r p"]) -> Zones:
        """Candidates between the bounds, grown or cut where `least` or `most` say so."""
        rule = self if self.fitted else self.calibrated(scores, target, forbidden)
        low, high = rule.fitted
        allowed, gap = allowed_candidates(forbidden), gaps(scores, target)
        return between(gap, allowed, (low, high), centre=low, preferred=gap >= low, least=self.least, most=self.most)
