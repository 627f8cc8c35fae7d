"""Slot scores of the Triton scan against float64, and what their bound promises."""

import pytest
import torch
from torch.nn.functional import normalize
from triton_here import DEVICE

from cirlib.kernels.triton_slots import slot_scores
from cirlib.types import InputError


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1).to(DEVICE)


def exact(query, slots, coefficient, query_key=None, slot_key=None):
    products = torch.einsum("qcd,gsd->qcgs", query.double(), slots.double())
    if query_key is not None:
        match = (query_key[:, :, None, None] == slot_key) | (query_key < 0)[:, :, None, None]
        products = products.masked_fill(~(match & (slot_key >= 0)), -torch.inf)
    best = products.amax(dim=-1)
    return (best.masked_fill(best == -torch.inf, 0) * coefficient.double()[:, :, None]).sum(dim=1)


@pytest.mark.parametrize(("parts", "slots", "dtype", "scale"), [(1, 32, "fp16", 1), (3, 5, "fp32", 1e9), (18, 2, "bf16", 1e-9)])
@pytest.mark.parametrize("keyed", [False, True])
def test_scores_are_within_their_bound(parts, slots, dtype, scale, keyed):
    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    generator = torch.Generator().manual_seed(parts)
    query, gallery = unit(5, parts, 24).mul(scale).to(kind), unit(9, slots, 24, seed=1).to(kind)
    coefficient = torch.randn(5, parts, generator=generator).to(DEVICE)
    keys = [torch.randint(-1, 3, shape, generator=generator).to(DEVICE) for shape in ((5, parts), (9, slots))] if keyed else []
    found = slot_scores(query, gallery, coefficient, *keys)
    allowed = coefficient.abs().sum(dim=1, keepdim=True) * scale * 2.0 ** (-8 if dtype == "bf16" else -10) * 1.01
    assert found.dtype == torch.float32 and bool(((found - exact(query, gallery, coefficient, *keys)).abs() <= allowed).all())


def test_nothing_to_score_and_bad_input():
    query, slots, ones = unit(2, 3, 8), unit(4, 5, 8), torch.ones(2, 3, device=DEVICE)
    assert slot_scores(query[:0], slots, ones[:0]).shape == (0, 4)
    assert (slot_scores(query * 0, slots, ones) == 0).all()
    for given, what in (
        ((query, slots, ones[:, :2]), "do not fit"),
        ((query, unit(2, 33, 8), ones), "33 slots"),
        ((query * torch.inf, slots, ones), "not finite"),
        ((query, slots, ones, torch.zeros(2, 3, device=DEVICE)), "one side only"),
    ):
        with pytest.raises(InputError, match=what):
            slot_scores(*given)
