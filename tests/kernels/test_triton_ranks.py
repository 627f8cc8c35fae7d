"""Ranks from the Triton scan: the reference's, bit for bit."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize
from triton_here import DEVICE

from cirlib.kernels import triton_ranks
from cirlib.kernels.reference import target_ranks
from cirlib.kernels.triton_ranks import ranks
from cirlib.kernels.triton_search import prepare
from cirlib.types import InputError


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1).to(DEVICE)


def check(query, gallery, target, exclude=None, **more):
    found = ranks(query, gallery, target.to(DEVICE), None if exclude is None else exclude.to(DEVICE), **more)
    assert torch.equal(found.cpu(), target_ranks(query.cpu(), gallery.cpu(), target.cpu(), None if exclude is None else exclude.cpu()))
    return found


@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(1, 40), st.integers(1, 3), st.booleans())
@settings(max_examples=12)
def test_equals_the_reference(seed, size, dim, positives, copies):
    generator = torch.Generator().manual_seed(seed)
    gallery = unit(size, dim, seed=seed)
    if copies:
        gallery = gallery[torch.randint(0, max(1, size // 3), (size,), generator=generator).to(DEVICE)]
    target = torch.randint(-1, size, (5, positives), generator=generator)
    exclude = torch.randint(-1, size, (5, 2), generator=generator)
    exclude[(exclude[:, :, None] == target[:, None, :]).any(dim=-1)] = -1
    check(unit(5, dim, seed=seed + 1), gallery, target, exclude)


@pytest.mark.parametrize("kind", ["half", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kinds_of_scan(kind, dtype):
    gallery = unit(900, 48, seed=1).to(dtype)
    check(unit(9, 48).to(dtype), gallery, torch.arange(9) * 99, index=prepare(gallery, kind))


def test_several_vectors_a_picture():
    check(unit(9, 48), unit(150, 5, 48, seed=3), torch.arange(9))
    check(unit(2, 8), unit(10, 40, 8, seed=3), torch.arange(2))  # more than a tile takes: the reference


def test_lists_that_overflow_are_made_again_or_left_to_the_reference(monkeypatch):
    query, target = unit(9, 48), torch.arange(9) * 60
    gallery = unit(20, 48, seed=1).repeat(30, 1)  # 30 rows tie with every positive
    monkeypatch.setattr(triton_ranks, "_CAPACITY", 1)
    check(query, gallery, target)
    calls = []
    monkeypatch.setattr(triton_ranks, "_LISTS", 1)
    monkeypatch.setattr(triton_ranks, "target_ranks", lambda *args, **more: calls.append(len(args[0])) or target_ranks(*args, **more))
    check(query, gallery, target)
    assert sum(calls) == 9


def test_a_collapsed_model_lands_in_the_order_of_rows():
    gallery = unit(1, 16).repeat(300, 1)
    assert check(unit(4, 16), gallery, torch.tensor([0, 7, 150, 299])).tolist() == [1, 8, 151, 300]


def test_products_that_err_more_than_their_bound_are_noticed():
    gallery = unit(300, 48, seed=1)
    index = prepare(gallery)
    wrong = dataclasses.replace(index, rows=index.rows.roll(1, dims=0))
    with pytest.raises(RuntimeError, match="outside the margin"):
        ranks(unit(4, 48), gallery, torch.arange(4, device=DEVICE), index=wrong)


def test_nothing_to_rank_and_bad_input():
    gallery = unit(30, 16)
    assert ranks(gallery[:0], gallery, torch.zeros(0, dtype=torch.int64, device=DEVICE)).shape == (0,)
    assert ranks(gallery[:2], gallery, torch.full((2,), -1, device=DEVICE)).tolist() == [0, 0]
    with pytest.raises(InputError, match="excludes its own positive"):
        ranks(gallery[:2], gallery, torch.tensor([1, 2], device=DEVICE), torch.tensor([1, 3], device=DEVICE))
    with pytest.raises(InputError, match="gallery row 30"):
        ranks(gallery[:2], gallery, torch.tensor([30, 2], device=DEVICE))
    with pytest.raises(InputError, match="do not fit"):
        ranks(gallery[:2, :3], gallery, torch.tensor([3, 2], device=DEVICE))
