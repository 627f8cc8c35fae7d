"""Mining: the sets of a slow loop, the same whatever the sizes, with what the log promises."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from cirlib.kernels.midzone import relevance_blocks
from cirlib.methods.dqe_cir import mining
from cirlib.methods.dqe_cir.mining import PERCENTILES, Pool, mine
from cirlib.methods.dqe_cir.negatives import Adaptive, Hardest, MidZone, Random, SteepestDrops
from cirlib.types import InputError

QUERIES, PICTURES = 21, 50


def world(seed=0, vectors=3, dim=16):
    generator = torch.Generator().manual_seed(seed)
    gallery = normalize(torch.randn(PICTURES, vectors, dim, generator=generator), dim=-1)
    target = torch.randint(PICTURES, (QUERIES,), generator=generator)
    query = normalize(torch.randn(QUERIES, dim, generator=generator) / 3 + gallery[target, 0], dim=-1)
    reference = (target + torch.randint(1, PICTURES, (QUERIES,), generator=generator)) % PICTURES
    return query, gallery, target, reference[:, None]


def sets_of(mined):
    return [set(mined.sets.of(query).tolist()) for query in range(len(mined.sets))]


def slow_sets(rule, query, gallery, target, reference):
    """One query at a time, from float64 scores, with the set arithmetic of Python."""
    sets = []
    for row in range(len(query)):
        scores = [max(float(query[row].double() @ vector) for vector in picture) for picture in gallery.double()]
        gap = {x: scores[int(target[row])] - scores[x] for x in range(len(scores)) if x not in (int(target[row]), int(reference[row, 0]))}
        inside = {x for x, d in gap.items() if rule.low <= d <= rule.high}
        below = [x for x, d in gap.items() if d > 0]
        source = below if len(below) >= rule.least else list(gap)
        middle = sorted(source, key=lambda x: abs(gap[x] - (rule.low + rule.high) / 2))
        sets.append(inside if len(inside) >= rule.least else set(middle[: rule.least]))
    return sets


def test_sets_and_log_are_those_of_a_slow_loop():
    query, gallery, target, reference = world()
    rule = MidZone(0.2, 0.6, least=28)
    mined = mine(rule, query, gallery, target, reference)
    assert sets_of(mined) == slow_sets(rule, query, gallery, target, reference)
    assert 0 < mined.widened.sum() < QUERIES
    sizes = np.array([len(members) for members in sets_of(mined)])
    assert mined.sets.sizes.tolist() == sizes.tolist()
    log = mined.log
    assert log["rule"] == "midzone" and log["widened"] == pytest.approx(float(mined.widened.double().mean()))
    assert log["size"]["mean"] == pytest.approx(sizes.mean()) and log["size"]["std"] == pytest.approx(sizes.std())
    scores = (query.double() @ gallery.double().flatten(0, 1).T).view(QUERIES, PICTURES, -1).amax(-1)
    gap = scores.gather(1, target[:, None]) - scores
    allowed = torch.ones_like(gap, dtype=torch.bool).scatter_(1, torch.cat([target[:, None], reference], 1), False)
    positive = gap[allowed & (gap > 0)].numpy()
    for share in PERCENTILES:
        assert log["size"][f"p{share}"] == pytest.approx(np.percentile(sizes, share))
        assert log["gap"][f"p{share}"] == pytest.approx(np.percentile(positive, share, method="inverted_cdf"), abs=0.0003)
    assert log["above"] == pytest.approx(float((allowed & (gap <= 0)).sum() / QUERIES))
    assert json.loads(json.dumps(log)) == log


@pytest.mark.parametrize(
    "rule", [MidZone(0.2, 0.6, least=4), MidZone(0.1, 0.4, "quantile", 2), SteepestDrops(), Hardest(5), Random()], ids=str
)
def test_no_size_changes_a_set(rule):
    query, gallery, target, reference = world(1)
    gallery[7:11] = gallery[30].clone()  # copies: exact ties
    mined = mine(rule, query, gallery, target, reference)
    for block, chunk in [(1, 60), (6, 1), (QUERIES, 24)]:
        again = mine(rule, query, gallery, target, reference, query_block=block, chunk_size=chunk)
        assert torch.equal(again.sets.rows, mined.sets.rows) and torch.equal(again.sets.offsets, mined.sets.offsets)
        assert again.log == mined.log and torch.equal(again.widened, mined.widened)
    for row, members in enumerate(sets_of(mined)):
        assert members and not members & {int(target[row]), int(reference[row, 0])}


def test_a_pool_is_searched_as_if_it_were_all_there_is():
    """Queries of two pools interleave; a picture may lie in both."""
    query, gallery, target, reference = world(2)
    first, second = torch.arange(0, QUERIES, 2), torch.arange(1, QUERIES, 2)
    pools = []
    for queries, more in ((first, torch.arange(10, 40)), (second, torch.arange(5, 25))):
        rows = torch.cat([target[queries], more]).unique()
        pools.append(Pool(queries, rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]))
    for rule in (MidZone(0.2, 0.6, least=3), Random(), SteepestDrops()):
        mined = mine(rule, query, gallery, target, reference, pools=pools, query_block=4)
        for pool in pools:
            rows = pool.candidates.sort().values
            place = torch.full((PICTURES,), -1).scatter_(0, rows, torch.arange(len(rows)))
            alone = mine(rule, query[pool.queries], gallery[rows], place[target[pool.queries]], place[reference[pool.queries]])
            for number, row in enumerate(pool.queries.tolist()):
                assert mined.sets.of(row).tolist() == rows[alone.sets.of(number)].tolist()
                assert mined.sets.sizes[row] == len(alone.sets.of(number))


def test_random_sets_are_the_pool_without_the_forbidden_and_are_held_as_what_is_missing():
    query, gallery, target, reference = world(3)
    mined = mine(Random(), query, gallery, target, reference)
    for row, members in enumerate(sets_of(mined)):
        assert members == set(range(PICTURES)) - {int(target[row]), int(reference[row, 0])}
    assert len(mined.sets.rows) == 2 * QUERIES
    assert mined.log["size"]["mean"] == PICTURES - 2 and mined.log["size"]["std"] == 0
    assert mined.log["widened"] == 0 and "gap" not in mined.log


def test_adaptive_is_calibrated_once_per_pool_on_queries_spread_over_it(monkeypatch):
    query, gallery, target, reference = world(6)
    monkeypatch.setattr(mining, "_SAMPLE", 5)
    everyone, pools = torch.arange(PICTURES), (torch.arange(0, QUERIES, 2), torch.arange(1, QUERIES, 2))
    mined = mine(Adaptive(least=2), query, gallery, target, reference, pools=[Pool(queries, everyone) for queries in pools])
    assert len(mined.log["bounds"]) == 2 and mined.log["bounds"][0] != mined.log["bounds"][1]
    for queries, bounds in zip(pools, mined.log["bounds"], strict=True):
        sample = queries[[round(place * (len(queries) - 1) / 4) for place in range(5)]]
        scores = torch.cat([scores for _, scores in relevance_blocks(query, gallery, sample)])
        forbidden = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, reference[sample], True)
        assert Adaptive().calibrated(scores, target[sample], forbidden).bounds == bounds
        fixed = mine(MidZone(*bounds.values(), least=2), query, gallery, target, reference)
        assert all(torch.equal(mined.sets.of(row), fixed.sets.of(row)) for row in queries.tolist())


def test_mates_inside_sets_are_counted_and_padding_is_not():
    query, gallery, target, reference = world(4)
    mates = torch.stack([(target + 1) % PICTURES, reference[:, 0], torch.full_like(target, -1), (target + 9) % PICTURES], dim=1)
    mined = mine(MidZone(0.2, 0.9, least=1), query, gallery, target, reference, mates=mates)
    listed = [set(line) - {-1, int(t), int(r)} for line, t, r in zip(mates.tolist(), target, reference[:, 0], strict=True)]
    inside = sum(len(line & members) for line, members in zip(listed, sets_of(mined), strict=True))
    assert inside > 0 and mined.log["mates"] == pytest.approx(inside / sum(map(len, listed)))


def test_a_query_without_a_reference_in_the_pool_is_padded():
    query, gallery, target, _ = world(5)
    padded = mine(MidZone(0.2, 0.6), query, gallery, target, torch.full((QUERIES, 2), -1))
    assert sets_of(padded) == sets_of(mine(MidZone(0.2, 0.6), query, gallery, target))


def test_a_collapsed_model_still_gives_every_query_a_negative():
    query, gallery = torch.ones(3, 4) / 2, torch.ones(9, 2, 4) / 2
    target, reference = torch.tensor([0, 1, 8]), torch.tensor([[1], [2], [0]])
    for rule in (MidZone(), MidZone(0.005, 0.05, "quantile"), SteepestDrops(), Hardest()):
        mined = mine(rule, query, gallery, target, reference)
        assert mined.widened.all() and mined.sets.sizes.tolist() == [7, 7, 7]
        assert mined.log["gap"] == {} and mined.log["above"] == 7


def test_bad_input():
    query, gallery, target, reference = world()
    with pytest.raises(InputError, match="each with a target"):
        mine(Random(), query, gallery, target.clone().fill_(-1))
    with pytest.raises(InputError, match=r"targets from \d+ to 50 given"):
        mine(Random(), query, gallery, target.clone().fill_(50).scatter_(0, torch.tensor([0]), 3))
    with pytest.raises(InputError, match="one line for each of 21 queries"):
        mine(Random(), query, gallery, target, reference[:3])
    with pytest.raises(InputError, match="belongs to exactly one pool"):
        mine(Random(), query, gallery, target, pools=[Pool(torch.arange(5), torch.arange(PICTURES))])
    with pytest.raises(InputError, match="list each once"):
        mine(Random(), query, gallery, target, pools=[Pool(torch.arange(QUERIES), torch.tensor([1, 1]))])
    with pytest.raises(InputError, match="is not in its pool"):
        mine(
            Random(),
            query,
            gallery,
            target,
            pools=[Pool(torch.arange(QUERIES), target[1:].unique())] if target[0] not in target[1:] else [],
        )
    with pytest.raises(InputError, match="has no candidate"):
        mine(Random(), query[:1], gallery[:2], torch.tensor([0]), torch.tensor([[1]]))
