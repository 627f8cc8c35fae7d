"""Negative rules against slow loops over one query, and what must hold whatever the scores."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.methods.dqe_cir.negatives import Adaptive, Hardest, MidZone, Random, SteepestDrops
from cirlib.methods.dqe_cir.zones import inversion_rates
from cirlib.types import InputError

# Multiples of 1/64: gaps, middles and shifts are computed without rounding, so both sides must agree on ties and on closed bounds.
scores_of_a_query = st.lists(st.integers(-20, 60).map(lambda x: x / 64), min_size=3, max_size=14)


def forbid(size, target, *more):
    mask = torch.zeros(1, size, dtype=torch.bool)
    mask[0, [target, *more]] = True
    return mask


def zone(rule, scores, target, *more):
    """Members and the flag of one query."""
    found = rule.zone(torch.tensor([scores]), torch.tensor([target]), forbid(len(scores), target, *more))
    return set(found.members[0].nonzero()[:, 0].tolist()), bool(found.widened[0])


def slow_between(scores, target, reference, apart):
    """QuRe's rule as its code goes about it: one query, an ordered list, pairs of drops in order of size."""
    after = [x for x in sorted(range(len(scores)), key=lambda x: (-scores[x], x)) if scores[x] < scores[target]]
    differences = [scores[b] - scores[a] for a, b in zip(after[:-1], after[1:], strict=True)]
    by_size = sorted(range(len(differences)), key=lambda place: (differences[place], place))
    for one, other in zip(by_size[:-1], by_size[1:], strict=False):
        first, second = min(one, other), max(one, other)
        if second - first > apart:
            return set(after[first + 1 : second + 1]) - {target, reference}
    return set()


@given(scores_of_a_query, st.integers(0, 13), st.integers(1, 13), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_steepest_drops_is_qures_loop(scores, target, step, apart):
    target %= len(scores)
    reference = (target + step) % len(scores)
    others = set(range(len(scores))) - {target, reference}
    if not others:
        return
    members, widened = zone(SteepestDrops(apart), scores, target, reference)
    between = slow_between(scores, target, reference, apart)
    below = {x for x in others if scores[x] < scores[target]}
    assert widened == (not between)
    assert members == (between or below or others)


def test_steepest_drops_by_hand():
    #         target   |-0.02-|-------0.20-------|-0.01-|-0.02-|-------0.25------|
    scores = [0.90, 0.88, 0.86, 0.66, 0.65, 0.63, 0.38, 0.95]
    assert zone(SteepestDrops(), scores, 0, 7) == ({3, 4, 5}, False)
    assert zone(SteepestDrops(), scores, 0, 4) == ({3, 5}, False)  # the reference takes part in the curve and leaves the set


def test_neighbouring_drops_slide_to_the_next_pair():
    scores = [0.9, 0.8, 0.5, 0.1, 0.05, 0.0, -0.2]  # drops 0.3, 0.4, 0.05, 0.05, 0.2: the two steepest are neighbours
    assert zone(SteepestDrops(), scores, 0) == ({2, 3, 4, 5}, False)  # so 0.3 and 0.2, the next two of the list


def slow_mid(scores, target, allowed, rule):
    """The mid-zone of one query in plain lists; bounds of a quantile zone from numpy."""
    gap = {x: scores[target] - scores[x] for x in allowed}
    below = [x for x in allowed if gap[x] > 0]
    low, high = rule.low, rule.high
    if rule.kind == "quantile":
        low, high = np.quantile([gap[x] for x in below], [low, high]) if below else (0.0, 0.0)
    members = [x for x in allowed if low <= gap[x] <= high]
    widened = len(members) < rule.least
    if widened:
        source = below if len(below) >= rule.least else allowed
        members = sorted(source, key=lambda x: (abs(gap[x] - (low + high) / 2), x))[: rule.least]
    if rule.most:
        members = sorted(members, key=lambda x: (gap[x], x))[: rule.most]
    return set(members), widened


@given(
    scores_of_a_query,
    st.integers(0, 13),
    st.sampled_from([(0, 0.25), (0.125, 0.5), (0.25, 0.25), (0.5, 1.0)]),
    st.sampled_from(["absolute", "quantile"]),
    st.integers(1, 6),
    st.sampled_from([0, 6, 8]),
)
@settings(max_examples=60, deadline=None)
def test_midzone_is_the_slow_loop(scores, target, bounds, kind, least, most):
    target %= len(scores)
    rule = MidZone(*bounds, kind, least, most)
    allowed = [x for x in range(len(scores)) if x != target and (len(scores) < 4 or x != (target + 1) % len(scores))]
    forbidden = set(range(len(scores))) - set(allowed) - {target}
    assert zone(rule, scores, target, *forbidden) == slow_mid(scores, target, allowed, rule)


@given(st.integers(0, 10_000), st.sampled_from(["absolute", "quantile"]))
@settings(max_examples=30, deadline=None)
def test_every_member_satisfies_the_bounds_unless_widened(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    scores, target = torch.rand(8, 60, generator=generator), torch.randint(60, (8,), generator=generator)
    forbidden = torch.zeros(8, 60, dtype=torch.bool).scatter_(1, target[:, None], True)
    rule = MidZone(0.1, 0.4, kind, least=5)
    found = rule.zone(scores, target, forbidden)
    for row in range(8):
        gap = scores[row, target[row]] - scores[row]
        low, high = (0.1, 0.4) if kind == "absolute" else np.quantile(gap[gap > 0].numpy(), [0.1, 0.4]) if (gap > 0).any() else (0, 0)
        inside = gap[found.members[row]]
        if not found.widened[row]:
            assert low - 1e-6 <= float(inside.min()) and float(inside.max()) <= high + 1e-6
        else:
            assert len(inside) == 5
    assert not (found.members & forbidden).any()


RULES = [
    Random(),
    Hardest(3),
    Hardest(3, after_target=False),
    SteepestDrops(),
    MidZone(0.125, 0.5, least=2),
    MidZone(0.1, 0.5, "quantile", 2),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_shift_of_all_scores_changes_nothing_and_no_set_holds_the_forbidden(rule):
    scores = torch.randint(-30, 60, (12, 20), generator=torch.Generator().manual_seed(3)) / 64
    target = torch.arange(12)
    forbidden = torch.zeros(12, 20, dtype=torch.bool).scatter_(1, torch.stack([target, target + 5], dim=1), True)
    found, shifted = (rule.zone(scores + shift, target, forbidden) for shift in (0, 0.25))
    assert torch.equal(found.members, shifted.members) and torch.equal(found.widened, shifted.widened)
    assert not (found.members & forbidden).any() and found.members.any(dim=1).all()
    assert rule.calibrated(scores, target, forbidden) is rule and rule.bounds == {}


def test_rescaling_moves_an_absolute_zone_and_not_a_quantile_zone():
    scores = torch.arange(40).flip(0)[None] / 64
    target, forbidden = torch.tensor([0]), forbid(40, 0)
    absolute, quantile = MidZone(0.125, 0.25, least=1), MidZone(0.25, 0.5, "quantile", 1)
    assert not torch.equal(absolute.zone(scores, target, forbidden).members, absolute.zone(scores / 2, target, forbidden).members)
    assert torch.equal(quantile.zone(scores, target, forbidden).members, quantile.zone(scores / 2, target, forbidden).members)


def test_queries_do_not_see_each_other():
    generator = torch.Generator().manual_seed(5)
    scores, target = torch.rand(9, 30, generator=generator), torch.randint(30, (9,), generator=generator)
    forbidden = torch.zeros(9, 30, dtype=torch.bool).scatter_(1, target[:, None], True)
    for rule in RULES:
        together = rule.zone(scores, target, forbidden)
        for row in range(9):
            alone = rule.zone(scores[row : row + 1], target[row : row + 1], forbidden[row : row + 1])
            assert torch.equal(alone.members[0], together.members[row])


def test_hardest_by_hand():
    scores = [0.5, 0.9, 0.4, 0.45, 0.1, 0.4]
    assert zone(Hardest(2), scores, 0) == ({3, 2}, False)  # of equals the first column
    assert zone(Hardest(2, after_target=False), scores, 0) == ({1, 3}, False)
    assert zone(Hardest(9), scores, 0, 3) == ({2, 4, 5}, False)
    assert zone(Hardest(2), scores, 4) == ({2, 5}, True)  # nothing is below the target: the nearest stand in
    assert zone(Random(), scores, 0, 3) == ({1, 2, 4, 5}, False)


def test_midzone_widens_and_cuts_by_hand():
    scores = [0.5, 0.75, 0.4375, 0.375, 0.25, 0.0]  # gaps -0.25, 0.0625, 0.125, 0.25, 0.5
    assert zone(MidZone(0.125, 0.25, least=1), scores, 0) == ({3, 4}, False)
    assert zone(MidZone(0.125, 0.25, least=3), scores, 0) == ({2, 3, 4}, True)
    assert zone(MidZone(0.125, 0.25, least=5), scores, 0) == ({1, 2, 3, 4, 5}, True)  # fewer than 5 are below the target
    assert zone(MidZone(0.0, 0.5, least=1, most=2), scores, 0) == ({2, 3}, False)


def test_bad_rules_and_a_pool_without_candidates():
    for wrong in (dict(low=-0.1), dict(low=0.3, high=0.2), dict(kind="other"), dict(kind="quantile", high=1.5)):
        with pytest.raises(InputError, match="0 <= low <= high"):
            MidZone(**wrong)
    with pytest.raises(InputError, match="least 32 and most 8"):
        MidZone(most=8)
    with pytest.raises(InputError, match="0 hardest"):
        Hardest(0)
    with pytest.raises(InputError, match="more than 0 places"):
        SteepestDrops(0)
    for rule in RULES:
        with pytest.raises(InputError, match="query 1 of the block has no candidate"):
            rule.zone(torch.rand(2, 2), torch.tensor([0, 0]), torch.tensor([[True, False], [True, True]]))
    assert dataclasses.replace(MidZone(), low=0.01).low == 0.01


def slow_rates(gaps, steps):
    """Edges and rates by their definition, in exact fractions: first the edges, then one bin after the other, then pooling."""
    sizes = [(-d, Fraction(1, sum(x < 0 for x in line))) for line in gaps for d in line if d < 0]
    total, edges = sum(weight for _, weight in sizes), [0.0]
    for step in range(1, steps + 1):
        reached = [size for size, _ in sorted(sizes) if sum(w for other, w in sizes if other <= size) >= Fraction(step, steps) * total]
        edges += [reached[0]] if reached[0] > edges[-1] else []
    rates, weights = [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = [[d for d in line if low < abs(d) <= high] for line in gaps]
        shares = [Fraction(sum(d < 0 for d in line), len(line)) for line in inside if line]
        rates.append(sum(shares) / len(shares))
        weights.append(len(shares))
    # The largest weighted mean of runs that begin before a place, over the smallest end: the min-max form of a monotone fit.
    mean = lambda i, j: sum(r * w for r, w in zip(rates[i:j], weights[i:j], strict=True)) / sum(weights[i:j])  # noqa: E731
    count = len(rates)
    return edges, [min(max(mean(i, j) for j in range(k + 1, count + 1)) for i in range(k + 1)) for k in range(count)]


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_inversion_rates_by_their_definition(seed, steps):
    generator = torch.Generator().manual_seed(seed)
    gap = torch.randint(-10, 16, (5, 9), generator=generator) / 64
    gap[0] = gap[0].abs()  # a query without inversions
    allowed = torch.rand(5, 9, generator=generator) < 0.8
    edges, rates = inversion_rates(gap, allowed, steps)
    lines = [[d for d, kept in zip(line, mask, strict=True) if kept] for line, mask in zip(gap.tolist(), allowed.tolist(), strict=True)]
    if not any(d < 0 for line in lines for d in line):
        assert len(edges) == len(rates) == 0
        return
    slow_edges, expected = slow_rates(lines, steps)
    assert edges.tolist() == slow_edges
    assert rates.tolist() == pytest.approx([float(rate) for rate in expected])
    assert (rates.diff() <= 1e-12).all()


def random_world(seed, queries=30, pictures=60):
    """Targets above most of the pool; multiples of 1/256."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 128, (queries, pictures), generator=generator) / 256
    target = torch.randint(pictures, (queries,), generator=generator)
    scores.scatter_(1, target[:, None], torch.randint(80, 140, (queries, 1), generator=generator) / 256)
    return scores, target, torch.zeros(queries, pictures, dtype=torch.bool).scatter_(1, target[:, None], True)


def test_adaptive_reads_its_bounds_off_the_rates():
    scores, target, forbidden = random_world(0)
    edges, rates = inversion_rates(scores.gather(1, target[:, None]) - scores, ~forbidden)
    rule = Adaptive(0.5, 0.1, least=2).calibrated(scores, target, forbidden)
    low, high = rule.fitted
    fall = [float((rate - rates[-1]) / (rates[0] - rates[-1])) for rate in rates]
    assert 0 < low < high and rule.bounds == {"low": low, "high": high}
    assert {low, high} <= set(edges.tolist())
    assert all((left > 0.5) == (upper <= low) and (left > 0.1) == (upper <= high) for upper, left in zip(edges[1:], fall, strict=True))
    zones = rule.zone(scores, target, forbidden)
    gap = scores.gather(1, target[:, None]) - scores
    assert torch.equal(zones.members[~zones.widened], (~forbidden & (gap >= low) & (gap <= high))[~zones.widened])
    assert torch.equal(Adaptive(0.5, 0.1, least=2).zone(scores, target, forbidden).members, zones.members)  # calibrates on its own block


def test_adaptive_grows_to_the_easy_side_first():
    scores, target = torch.tensor([[0.75, 0.6875, 0.625, 0.5, 0.25, 0.0, 0.875]]), torch.tensor([0])
    zone_of = lambda least: Adaptive(least=least, fitted=(0.125, 0.125)).zone(scores, target, forbid(7, 0))  # noqa: E731
    assert zone_of(1).members[0].nonzero()[:, 0].tolist() == [2] and not zone_of(1).widened
    assert zone_of(3).members[0].nonzero()[:, 0].tolist() == [2, 3, 4] and zone_of(3).widened
    assert zone_of(5).members[0].nonzero()[:, 0].tolist() == [1, 2, 3, 4, 6]  # too few beyond the bound: the nearest to it


def test_adaptive_follows_the_scale_of_scores_and_no_shift():
    scores, target, forbidden = random_world(1)
    shift = torch.randint(-8, 8, (30, 1), generator=torch.Generator().manual_seed(0)) / 16
    rule = Adaptive(least=2)
    found = rule.zone(scores, target, forbidden).members
    assert torch.equal(rule.zone(scores + shift, target, forbidden).members, found)
    assert torch.equal(rule.zone(scores / 4, target, forbidden).members, found)
    low, high = rule.calibrated(scores / 4, target, forbidden).fitted
    assert (4 * low, 4 * high) == rule.calibrated(scores, target, forbidden).fitted
    assert not (found & forbidden).any()


@pytest.mark.parametrize("hopeless", [0, 60])
def test_adaptive_keeps_false_negatives_out_where_targets_are_any_of_the_positives(hopeless):
    """400 queries with 8 positives scattered by 0.05 and 200 negatives; some queries without any idea of their target."""
    generator = torch.Generator().manual_seed(1)
    scores = 0.2 + 0.1 * torch.randn(400, 208, generator=generator)
    scores[:, :8] = 0.6 + 0.05 * torch.randn(400, 8, generator=generator)
    scores[:hopeless, 0] = 0.2
    target = torch.zeros(400, dtype=torch.int64)
    forbidden = torch.zeros(400, 208, dtype=torch.bool).scatter_(1, target[:, None], True)
    rule = Adaptive(least=8).calibrated(scores, target, forbidden)
    positives = torch.arange(208) < 8
    zone, hardest = (other.zone(scores, target, forbidden).members[hopeless:] for other in (rule, Hardest(8)))
    false, compared = (float((members & positives).sum() / members.sum()) for members in (zone, hardest))
    assert compared > 0.35 and false < 0.12
    easy = Random().zone(scores, target, forbidden).members[hopeless:]
    hardness, random_hardness = (float(scores[hopeless:][members & ~positives].mean()) for members in (zone, easy))
    assert hardness > random_hardness + 0.08


def test_adaptive_without_any_inversion_starts_at_the_median_near_miss():
    scores = torch.tensor([[1.0, 0.75, 0.5, 0.25], [1.0, 0.5, 0.25, 0.0], [1.0, 0.875, 0.5, 0.0]])
    target = torch.zeros(3, dtype=torch.int64)
    forbidden = torch.zeros(3, 4, dtype=torch.bool).scatter_(1, target[:, None], True)
    rule = Adaptive(least=1).calibrated(scores, target, forbidden)
    assert rule.fitted == (0.25, 0.25)
    assert rule.zone(scores, target, forbidden).members.nonzero().tolist() == [[0, 1], [1, 1], [2, 2]]


def test_adaptive_trusts_nothing_within_reach_of_a_rate_that_does_not_fall():
    scores = torch.tensor([[0.5, 0.75, 0.25, 0.0], [0.5, 0.75, 0.25, 0.0]])
    rule = Adaptive(least=1).calibrated(scores, torch.tensor([0, 0]), torch.zeros(2, 4, dtype=torch.bool))
    assert rule.fitted == (0.25, 0.25)  # all inversions are 0.25, half of what stands so far away


def test_adaptive_refuses_shares_out_of_order():
    for wrong in (dict(ambiguous=0.1, easy=0.2), dict(ambiguous=1.0), dict(easy=-0.1), dict(ambiguous=0, easy=0)):
        with pytest.raises(InputError, match="0 <= easy <= ambiguous"):
            Adaptive(**wrong)
    assert Adaptive().bounds == {}
