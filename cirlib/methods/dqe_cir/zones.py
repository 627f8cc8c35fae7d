"""The arithmetic of negative sets: gaps between a target and its candidates, and sets chosen by them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.types import InputError


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


def between(gap: Float[Tensor, "r p"], allowed: Bool[Tensor, "r p"], bounds: Float[Tensor, "r 2"], least: int, most: int) -> Zones:
    """Candidates whose gap lies in closed bounds, with the widening and the cut of `MidZone`."""
    low, high = bounds[:, :1], bounds[:, 1:]
    members = allowed & (gap >= low) & (gap <= high)
    widened = members.sum(dim=1) < least
    few = widened.nonzero()[:, 0]
    if len(few):
        below = allowed[few] & (gap[few] > 0)
        source = torch.where(below.sum(dim=1, keepdim=True) < least, allowed[few], below)
        members[few] = nearest((gap[few] - (low + high)[few] / 2).abs(), source, least)
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
