"""The scan and its three epilogues against float64, on tiles that do not divide anything evenly."""

import pytest
import torch
from triton_here import DEVICE

from cirlib.kernels import triton_scan
from cirlib.kernels.triton_scan import (
    Tile,
    accumulation_error,
    group_maxima,
    group_rows,
    listed_rows,
    outrank_counts,
    pair_products,
    slot_maxima,
)
from cirlib.types import InputError

SMALL = Tile(16, 64, 32, 4, 2)
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN or a large number, so that an entry which no program writes is seen."""
    empty = torch.empty

    def filled(*size, **more):
        made = empty(*size, **more)
        return made.fill_(torch.nan if made.is_floating_point() else 2**30)

    monkeypatch.setattr(torch, "empty", filled)


def rows(n, d, dtype, seed=0):
    values = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return (values * 30 if dtype == torch.int8 else values).to(dtype).to(DEVICE)


def slow_maxima(bounds, tile):
    """Group by group, in plain loops."""
    tiles = -(-bounds.shape[1] // tile.gallery)
    best = torch.full((len(bounds), 8 * tiles), -torch.inf, dtype=torch.float64, device=bounds.device)
    for row in range(bounds.shape[1]):
        group = row // tile.gallery * 8 + row % tile.gallery % 8
        best[:, group] = torch.maximum(best[:, group], bounds[:, row])
    return best


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_group_maxima_equal_float64(dtype, swap, bulk):
    tile = Tile(16, 64, 32, 4, 2, swap)
    query, gallery = rows(21, 48, dtype, 1), rows(150, 48, dtype, 2)
    slack, radius = torch.rand(21, device=DEVICE) + 0.1, torch.rand(150, device=DEVICE)
    found = group_maxima(query, gallery, slack, radius, tile=tile, tma=bulk)
    exact = query.double() @ gallery.double().T + slack.double()[:, None] * radius.double()
    lengths = query.double().norm(dim=1)[:, None] * float(gallery.double().norm(dim=1).max())
    expected = slow_maxima(exact, tile)
    assert found.shape == (21, 24) and torch.equal(found == -torch.inf, expected == -torch.inf)
    inside = expected > -torch.inf
    assert bool(((found.double() - expected).abs() <= accumulation_error(48) * (lengths + 1))[inside].all())


def test_groups_hold_every_row_once():
    found = group_rows(torch.arange(24)[None], 150, SMALL)
    assert found.shape == (1, 24, 8)
    assert sorted(found[found >= 0].tolist()) == list(range(150))


@pytest.mark.parametrize("dim", [8, 33])
def test_rows_of_any_alignment_and_stride(dim):
    wide, queries = rows(70, 2 * dim + 3, torch.float16), rows(5, dim, torch.float16, 3)
    gallery = wide[:, 1 : dim + 1]
    assert not triton_scan.can_bulk_copy(queries, gallery)
    assert torch.equal(group_maxima(queries, gallery, tile=SMALL), group_maxima(queries, gallery.contiguous(), tile=SMALL, tma=False))


def test_one_row_and_one_query():
    query, gallery = rows(1, 16, torch.float32), rows(1, 16, torch.float32, 4)
    found = group_maxima(query, gallery, tile=SMALL)
    assert abs(float(found[0, 0] - query[0] @ gallery[0])) < 1e-5
    assert (found[0, 1:] == -torch.inf).all()


@pytest.mark.parametrize(("parts", "slots"), [(1, 1), (2, 3), (5, 8)])
@pytest.mark.parametrize("keyed", [False, True])
def test_slot_maxima_equal_a_slow_loop(parts, slots, keyed):
    generator = torch.Generator().manual_seed(parts)
    query, gallery = rows(7 * parts, 40, torch.float32, 1).view(7, parts, 40), rows(21 * slots, 40, torch.float32, 2).view(21, slots, 40)
    coefficient = torch.randn(7, parts, generator=generator).to(DEVICE)
    wanted, key = (torch.randint(-1, 3, shape, generator=generator).to(DEVICE) for shape in ((7, parts), (21, slots)))
    found = slot_maxima(query, gallery, coefficient, *((wanted, key) if keyed else ()), tile=SMALL)
    for asker in range(7):
        for picture in range(21):
            score = 0.0
            for part in range(parts):
                products = [
                    float(query[asker, part].double() @ gallery[picture, slot].double())
                    for slot in range(slots)
                    if not keyed or (key[picture, slot] >= 0 and wanted[asker, part] in (-1, key[picture, slot]))
                ]
                score += float(coefficient[asker, part]) * max(products, default=0.0)
            assert abs(float(found[asker, picture]) - score) < 1e-4


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("bulk", [False, True])
def test_counts_and_lists_are_exact_among_ties(slots, bulk):
    generator = torch.Generator().manual_seed(slots)
    query = torch.randint(-3, 4, (19, 40), generator=generator).half().to(DEVICE)
    gallery = torch.randint(-3, 4, (150 // slots, slots, 40), generator=generator).half().to(DEVICE)
    scores = torch.einsum("qd,gsd->qgs", query.double(), gallery.double()).amax(dim=-1)
    low = torch.randint(-20, 40, (19, 2), generator=generator).float().to(DEVICE)
    high = low + torch.tensor([0.0, 9.0], device=DEVICE)
    low[3] = high[3] = torch.inf
    given = gallery if slots > 1 else gallery[:, 0].contiguous()
    above, entries, listed = outrank_counts(query, given, low, high, 64, tile=SMALL, tma=bulk)
    assert torch.equal(above, (scores[:, None] > high[..., None]).sum(dim=-1).int())
    within = (scores[:, None] >= low[..., None]) & (scores[:, None] <= high[..., None])
    found = torch.stack(listed_rows(entries, listed, slots, SMALL), dim=1)
    assert sorted(found.tolist()) == within.nonzero().tolist() and len(found) > 9
    _, again, short = outrank_counts(query, given, low, high, 1, tile=SMALL, tma=bulk)
    assert torch.equal(again, entries) and int(again.max()) > 1 and short.shape[2] == 1  # what does not fit is counted


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_listed_rows(dtype):
    query, gallery = rows(3, 150, dtype, 1), rows(40, 150, dtype, 2)
    listed = torch.randint(-1, 40, (3, 37), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found = pair_products(query, gallery, listed)
    exact = (query.double() @ gallery.double().T).gather(1, listed.clamp_min(0))
    assert torch.equal(found == -torch.inf, listed < 0) and bool((listed < 0).any())
    lengths = query.double().norm(dim=1).max() * gallery.double().norm(dim=1).max()
    assert float((found.double() - exact)[listed >= 0].abs().max()) <= accumulation_error(150) * float(lengths)


def test_what_cannot_be_scanned_is_refused():
    good = rows(4, 16, torch.float32)
    for query, gallery, what in (
        (good, good.half(), "give both as"),
        (good, good[:, :8], "do not fit"),
        (good[:0], good, "one is empty"),
        (good, good.T.contiguous().T, "contiguous along"),
        (good.double(), good.double(), "give both as"),
    ):
        with pytest.raises(InputError, match=what):
            group_maxima(query, gallery)
    with pytest.raises(InputError, match="17 constraints"):
        slot_maxima(good.expand(2, 4, 16).repeat(1, 5, 1)[:, :17], good[:, None], torch.ones(2, 17))
    with pytest.raises(InputError, match="one side only"):
        slot_maxima(good[:, None], good[:, None], torch.ones(4, 1), torch.zeros(4, 1))
    with pytest.raises(InputError, match="33 vectors"):
        outrank_counts(good, good[:, None].expand(4, 33, 16).contiguous(), torch.zeros(4, 1), torch.zeros(4, 1), 8)


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU: 4.5 GB of rows")
def test_offsets_beyond_two_to_the_31():
    gallery = torch.zeros(4_400_000, 512, dtype=torch.float16, device=DEVICE)
    gallery[-1, 0] = 1
    query = torch.zeros(3, 512, dtype=torch.float16, device=DEVICE)
    query[:, 0] = 1
    for bulk in (False, triton_scan.can_bulk_copy(query, gallery)):
        best = group_maxima(query, gallery, tma=bulk, tile=Tile())
        assert (best.argmax(dim=1) == 8 * ((len(gallery) - 1) // 256) + (len(gallery) - 1) % 256 % 8).all()
