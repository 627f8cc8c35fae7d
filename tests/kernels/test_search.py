"""Search by scan against the reference: rows, scores and ties bit for bit, whatever the data; and guesses that fail are noticed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.kernels import _scan, eight_bit
from cirlib.kernels import search as search_module
from cirlib.kernels.eight_bit import quantise_gallery
from cirlib.kernels.reference import top_k
from cirlib.kernels.search import Found, search
from cirlib.types import InputError


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def small_blocks(monkeypatch):
    """64 rows a block and two blocks at a time, so that small galleries have many of both."""
    monkeypatch.setattr(eight_bit, "BLOCK", 64)
    monkeypatch.setattr(_scan, "BLOCK", 64)
    monkeypatch.setattr(_scan, "_AREA", 128 * 6)


def check(found: Found, query, gallery, k, exclude=None):
    rows, scores = top_k(query, gallery, k, exclude)
    assert torch.equal(found.rows, rows) and torch.equal(found.scores, scores)
    assert found.rows.dtype == torch.int64 and found.scores.dtype == torch.float32
    assert found.rows.shape == (len(query), k) and found.certified.shape == (len(query),)


def certified(query, gallery, k, exclude=None, backend="certified"):
    found = search(query, gallery, k, exclude, backend=backend, index=quantise_gallery(gallery))
    check(found, query, gallery, k, exclude)
    assert found.backend == backend and (found.certified.all() or backend == "statistical")
    return found


@settings(max_examples=60, deadline=None)
@given(
    g=st.integers(1, 400),
    q=st.integers(1, 9),
    d=st.integers(1, 24),
    k=st.integers(1, 60),
    different=st.integers(1, 400),
    e=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    backend=st.sampled_from(["certified", "statistical"]),
)
def test_equal_to_the_reference_with_ties_and_exclusions(g, q, d, k, different, e, seed, backend):
    """Few different rows among many: ties everywhere, also across the border of the list. Few dimensions: many nearly equal scores."""
    generator = torch.Generator().manual_seed(seed)
    gallery = unit(different, d, seed=seed)[torch.randint(different, (g,), generator=generator)]
    query = torch.randn(q, d, generator=generator) * torch.exp(3 * torch.randn(q, 1, generator=generator))
    exclude = torch.randint(-1, g, (q, e), generator=generator) if e else None
    certified(query, gallery, min(k, g), exclude, backend)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), q=st.integers(1, 7), k=st.integers(1, 100), backend=st.sampled_from(["certified", "statistical"]))
def test_equal_over_many_blocks(seed, q, k, backend):
    with pytest.MonkeyPatch.context() as patch:
        for module in (eight_bit, _scan):
            patch.setattr(module, "BLOCK", 64)
        patch.setattr(_scan, "_AREA", 128 * q)
        found = certified(unit(q, 32, seed=seed), unit(1500, 32, seed=seed + 1), k, None, backend)
    assert found.details["candidates"] < 1500


def test_a_scan_leaves_few_candidates_and_proves_them(small_blocks):
    query, gallery = unit(6, 256), unit(6000, 256, seed=1)
    proven, likely = (certified(query, gallery, 10, None, backend) for backend in ("certified", "statistical"))
    assert proven.details["escalated"] == likely.details["escalated"] == 0
    assert 10 <= likely.details["candidates"] < proven.details["candidates"] < 100
    assert not likely.certified.any()


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_sorted_galleries_leave_no_more_candidates(order, small_blocks):
    """Where scores rise with the row, a running threshold would keep nearly everything."""
    query, gallery = unit(1, 128), unit(4000, 128, seed=1)
    rank = (gallery @ query[0]).argsort(descending=order == "descending")
    shuffled, ordered = (certified(query, rows, 10).details["candidates"] for rows in (gallery, gallery[rank].contiguous()))
    assert ordered < 1.5 * shuffled


def test_more_near_duplicates_than_the_quota_go_to_the_reference(small_blocks, monkeypatch):
    """3,000 nearly equal rows: their order is beyond 8 bits, and the queries near them are told from the others."""
    monkeypatch.setattr(search_module, "_QUOTA", (200, 10))
    gallery = torch.cat([unit(1, 64) + 1e-6 * torch.randn(3000, 64, generator=torch.Generator().manual_seed(3)), unit(3000, 64, seed=1)])
    query = torch.cat([unit(1, 64), unit(5, 64, seed=2)])
    found = certified(query, gallery, 20)
    assert 1 / 6 <= found.details["escalated"] < 1
    assert set(found.rows[0].tolist()) <= set(range(3000))


def test_near_duplicates_within_the_quota_are_settled_by_exact_scores(small_blocks):
    gallery = torch.cat([unit(1, 64) + 1e-7 * torch.randn(500, 64, generator=torch.Generator().manual_seed(3)), unit(3000, 64, seed=1)])
    found = certified(unit(1, 64), gallery, 20)
    assert found.details["escalated"] == 0 and found.details["candidates"] >= 500


@pytest.mark.parametrize("backend", ["certified", "statistical"])
def test_a_threshold_that_was_guessed_too_high_is_noticed(backend, small_blocks, monkeypatch):
    """The list without the rows that it should hold must not pass: the k-th exact score stays below the threshold."""
    monkeypatch.setattr(_scan, "_CAREFUL", -100.0)
    query, gallery = unit(6, 64), unit(2000, 64, seed=1)
    found = certified(query, gallery, 10, None, backend)
    assert found.details["escalated"] == 1 and found.certified.all()


def test_escalated_queries_keep_the_fixed_point_of_all(small_blocks, monkeypatch):
    """Alone, short queries would be rounded finer than beside a long one, and scores would differ in their last bits."""
    monkeypatch.setattr(search_module, "_QUOTA", (0, 0))
    query = unit(5, 40) * torch.tensor([1e-4, 1, 1e-3, 1000, 1e-5])[:, None]
    found = certified(query, unit(700, 40, seed=1), 9, torch.arange(5))
    assert found.details["escalated"] == 1


def test_lists_longer_than_what_a_first_block_holds(small_blocks):
    query, gallery = unit(6, 32), unit(900, 32, seed=1)
    for k in (63, 65, 500, 900):
        certified(query, gallery, k)


def test_exclusions_that_leave_fewer_than_k():
    query, gallery = unit(4, 8), unit(12, 8, seed=1)
    exclude = torch.arange(12)[None, :].repeat(4, 1)
    exclude[1:, 5:] = -1
    exclude[2, 1:5] = exclude[2, 0]  # one row, five times
    found = certified(query, gallery, 10, exclude)
    assert (found.rows == -1).sum(dim=1).tolist() == [10, 3, 0, 3]


def test_queries_come_in_blocks(monkeypatch):
    monkeypatch.setattr(search_module, "_QUERY_BLOCK", 4)
    certified(unit(11, 16), unit(300, 16, seed=1), 5, torch.arange(11))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_and_strides(dtype):
    query, gallery = unit(14, 48)[::2].to(dtype), unit(96, 600, seed=1).to(dtype).T[::2, ::2]
    assert not gallery.is_contiguous()
    certified(query, gallery, 7)


@pytest.mark.parametrize("size", [1e-25, 1e-3, 1e15])
def test_rows_of_any_length(size):
    certified(unit(5, 24), size * unit(500, 24, seed=1), 6)
    certified(size * unit(5, 24), unit(500, 24, seed=1), 6)


def test_nothing_to_tell_apart():
    """Equal rows, zero rows, zero queries: the smallest gallery rows, in order."""
    for gallery, query in (
        (unit(1, 8).expand(3000, -1), unit(3, 8)),
        (torch.zeros(3000, 8), unit(3, 8)),
        (unit(3000, 8), torch.zeros(3, 8)),
    ):
        assert torch.equal(certified(query, gallery, 4).rows, torch.arange(4).expand(3, -1))


def test_no_queries():
    for backend in ("reference", "certified"):
        found = certified(torch.empty(0, 8), unit(30, 8), 3, torch.empty(0, 1, dtype=torch.int64), backend)
        assert found.rows.shape == (0, 3)


def test_auto_scans_only_where_that_pays(monkeypatch):
    query, gallery = unit(3, 16), unit(1000, 16, seed=1)
    index = quantise_gallery(gallery)
    monkeypatch.setattr(search_module, "int8_speed", lambda: 4.0)
    cases = [
        ({"k": 5}, "reference", "no 8-bit index"),
        ({"k": 5, "index": index}, "certified", "4.0 times as fast"),
        ({"k": 16, "index": index}, "reference", "16 of 1000 rows"),
        ({"k": 5, "index": index, "exclude": torch.zeros(3, 11, dtype=torch.int64)}, "reference", "16 of 1000 rows"),
    ]
    for options, backend, why in cases:
        found = search(query, gallery, **options)
        assert found.backend == backend and why in found.details["why"]
        check(found, query, gallery, options["k"], options.get("exclude"))
    monkeypatch.setattr(search_module, "int8_speed", lambda: 0.7)
    assert search(query, gallery, 5, index=index).backend == "reference"


def test_several_vectors_a_picture_go_to_the_reference():
    query, gallery = unit(3, 16), unit(40, 4, 16, seed=1)
    found = search(query, gallery, 5, chunk_size=7)
    check(found, query, gallery, 5)
    assert found.backend == "reference" and found.certified.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "backend 'fast'"),
        ({"index": None}, "give index=quantise_gallery"),
        ({"gallery": unit(50, 8, seed=9)}, "made of another gallery"),
        ({"k": 0}, "top 0 of a gallery of 50"),
        ({"k": 51}, "top 51 of a gallery of 50"),
        ({"query": unit(3, 9)}, "rows of the gallery have 8"),
        ({"query": torch.full((3, 8), torch.nan)}, "query row 0"),
        ({"exclude": torch.zeros(2, 1, dtype=torch.int64)}, "one line for each of 3"),
        ({"exclude": torch.zeros(3, 1)}, "whole numbers"),
        ({"exclude": torch.full((3, 1), 50)}, r"rows lie in \[0, 50\)"),
    ],
)
def test_wrong_input_is_refused(change, message):
    gallery = unit(50, 8, seed=1)
    given = {"query": unit(3, 8), "gallery": gallery, "k": 4, "backend": "certified", "index": quantise_gallery(gallery)} | change
    with pytest.raises(InputError, match=message):
        search(**given)
