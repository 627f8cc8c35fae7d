"""The arithmetic of negative sets: gaps between a target and its candidates, and sets chosen by them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.types import InputError

Bound = float | Float[Tensor, "#r 1"]


@dataclass(frozen=True)
class Zones:
    """Negative sets of a block of queries.

    Attributes:
        members: True for the candidates in each query's set; never empty.
        widened: True for queries whose set the rule's own condition left too small, so that its fallback chose it.
    """

    members: Bool[Tensor, "r p"]
    widened: Bool[Tensor, " r"]


def gaps(scores: Float[Tensor, "r p"], target: Int[Tensor, " r"]) -> Float[Tensor, "r p"]:
    """d = c(q, t) - c(q, x): above 0 for candidates below the target, exactly 0 for the target and its copies.

    Example:
        >>> gaps(torch.tensor([[0.5, 0.75, 0.25]]), torch.tensor([0])).tolist()
        [[0.0, -0.25, 0.25]]
    """
    return scores.gather(1, target[:, None]) - scores


def between(
    gap: Float[Tensor, "r p"],
    allowed: Bool[Tensor, "r p"],
    bounds: tuple[Bound, Bound],
    *,
    centre: Bound,
    preferred: Bool[Tensor, "r p"],
    least: int,
    most: int,
) -> Zones:
    """Allowed candidates whose gap lies in closed bounds.

    Args:
        gap: Of all candidates.
        allowed: Which of them a set may hold.
        bounds: Lower and upper, one for all queries or (r, 1).
        centre: What a set that is too small grows around.
        preferred: It grows by these, unless fewer than `least` of them are allowed.
        least: A smaller set becomes the `least` gaps nearest to the centre, ties by column.
        most: A larger set keeps its `most` smallest gaps; 0 keeps all.
    """
    members = allowed & (gap >= bounds[0]) & (gap <= bounds[1])
    widened = members.sum(dim=1) < least
    few = widened.nonzero()[:, 0]
    if len(few):
        source = allowed[few] & preferred[few]
        source = torch.where(source.sum(dim=1, keepdim=True) < least, allowed[few], source)
        members[few] = nearest((gap - centre).abs()[few], source, least)
    many = (members.sum(dim=1) > most).nonzero()[:, 0] if most else few[:0]
    if len(many):
        members[many] = nearest(gap[many], members[many], most)
    return Zones(members, widened)


def nearest(key: Float[Tensor, "r p"], allowed: Bool[Tensor, "r p"], count: int) -> Bool[Tensor, "r p"]:
    """The `count` allowed candidates of smallest key, ties by column; all of them where there are no more."""
    order = key.masked_fill(~allowed, torch.inf).sort(dim=1, stable=True).indices[:, :count]
    return torch.zeros_like(allowed).scatter_(1, order, True) & allowed


def quantiles_above_zero(gap: Float[Tensor, "r p"], allowed: Bool[Tensor, "r p"], shares: tuple[float, ...]) -> Float[Tensor, "r n"]:
    """Quantiles of each query's allowed gaps above 0, linearly interpolated; 0 where a query has none.

    Example:
        >>> quantiles_above_zero(torch.tensor([[1.0, 2.0, 3.0, -5.0]]), torch.ones(1, 4, dtype=torch.bool), (0.0, 0.25, 1.0)).tolist()
        [[1.0, 1.5, 3.0]]
    """
    kept = allowed & (gap > 0)
    ordered = gap.masked_fill(~kept, torch.inf).sort(dim=1).values
    count = kept.sum(dim=1, keepdim=True)
    place = (count - 1).clamp_min(0).double() * torch.tensor(shares, dtype=torch.float64, device=gap.device)  # (r, n)
    under, over = (ordered.gather(1, where.long()) for where in (place.floor(), place.ceil()))
    value = torch.where(place.floor() == place, under, under + (place.frac() * (over - under)).to(gap.dtype))
    return torch.where(count > 0, value, 0.0)


def inversion_rates(
    gap: Float[Tensor, "r p"], allowed: Bool[Tensor, "r p"], bins: int = 16
) -> tuple[Float[Tensor, " k1"], Float[Tensor, " k"]]:
    """How often a candidate stands above its target, by the size of the gap between them.

    Bin k holds the sizes in (edges[k], edges[k + 1]]. Its rate is the mean, over the queries that have candidates of such a gap on either
    side, of the share of them that stand above. Rates of neighbouring bins are pooled until they do not rise. The edges are 0 and the
    quantiles of the sizes of gaps below 0 at steps of 1 / `bins`; all gaps of one query share the weight 1. Equal quantiles make one bin.

    Returns:
        Edges and rates in float64; both empty where nothing stands above.

    Example:
        >>> gap = torch.tensor([[-1.0, 1.0, 2.0], [-2.0, 1.0, 3.0]])  # at 1: 1 of 2, 0 of 1; at 2: 0 of 1, 1 of 1, which is more
        >>> inversion_rates(gap, torch.ones(2, 3, dtype=torch.bool))
        (tensor([0., 1., 2.], dtype=torch.float64), tensor([0.3750, 0.3750], dtype=torch.float64))
    """
    above, below = allowed & (gap < 0), allowed & (gap > 0)
    weight = (above / above.sum(dim=1, keepdim=True).clamp_min(1).double())[above]
    if not len(weight):
        return weight, weight
    size, order = gap[above].abs().double().sort(stable=True)
    reached = weight[order].cumsum(0)
    steps = torch.arange(1, bins + 1, dtype=torch.float64, device=gap.device) / bins * (1 - 1e-9)  # one met up to rounding is met
    edges = size[torch.searchsorted(reached, steps * reached[-1])].unique()
    place = torch.bucketize(gap.abs().double(), edges)  # len(edges) beyond the last
    up, down = (torch.zeros(len(gap), len(edges) + 1, device=gap.device).double() for _ in range(2))
    up.scatter_add_(1, place, above.double()), down.scatter_add_(1, place, below.double())
    seen = ((up + down) > 0)[:, :-1]
    share = (up / (up + down).clamp_min(1))[:, :-1]
    rates = _falling((share.sum(dim=0) / seen.sum(dim=0)).tolist(), seen.sum(dim=0).tolist())
    return torch.cat([edges.new_zeros(1), edges]), torch.tensor(rates, dtype=torch.float64, device=gap.device)


def _falling(values: list[float], weights: list[float]) -> list[float]:
    """The non-increasing values nearest to the given ones in weighted squares (pool adjacent violators)."""
    runs: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        run = (value, weight, 1)
        while runs and runs[-1][0] < run[0]:
            mean, mass, length = runs.pop()
            run = ((mean * mass + run[0] * run[1]) / (mass + run[1]), mass + run[1], length + run[2])
        runs.append(run)
    return [mean for mean, _, length in runs for _ in range(length)]


def allowed_candidates(forbidden: Bool[Tensor, "r p"]) -> Bool[Tensor, "r p"]:
    """What is not forbidden; raises InputError if a query has nothing left."""
    if not (~forbidden).any(dim=1).all():
        row = int(forbidden.all(dim=1).nonzero()[0])
        raise InputError(f"query {row} of the block has no candidate besides target and reference; give a larger pool")
    return ~forbidden


def check_sizes(least: int, most: int) -> None:
    """Raises InputError unless 1 <= least, and least <= most or most is 0."""
    if least < 1 or (most and most < least):
        raise InputError(f"least {least} and most {most} given; least is at least 1, and most is 0 (no limit) or not below least")


def or_else(members: Bool[Tensor, "r p"], *fallbacks: Bool[Tensor, "r p"]) -> Zones:
    """Members, or the first fallback that holds something."""
    widened = ~members.any(dim=1)
    for fallback in fallbacks:
        members = torch.where(members.any(dim=1, keepdim=True), members, fallback)
    return Zones(members, widened)
