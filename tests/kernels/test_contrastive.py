"""The chunked contrastive loss: value and every gradient beside float64 and beside the plain way, for tiles of any size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cirlib.kernels import contrastive, reference
from cirlib.types import InputError

NAMES = ("query", "gallery", "scale")


def inputs(queries, pictures, dim, dtype=torch.float32, scale=20.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.nn.functional.normalize(torch.randn(n, dim, generator=generator), dim=1).to(dtype) for n in (queries, pictures)]
    return *rows, torch.randint(pictures, (queries,), generator=generator), torch.tensor(scale)


def run(function, query, gallery, target, scale, dtype=None, **options):
    """Loss and gradients by name; in another precision if asked, from the very same numbers."""
    leaves = [tensor.detach().to(dtype or tensor.dtype).requires_grad_() for tensor in (query, gallery, scale)]
    loss = function(leaves[0], leaves[1], target, leaves[2], **options)
    (3.0 * loss).backward()
    return {"loss": loss.detach(), **{name: leaf.grad for name, leaf in zip(NAMES, leaves, strict=True)}}


def small_tiles(monkeypatch, height, width):
    """Tiles of a few queries and gallery rows; the smallest that callers can ask for holds more than these galleries."""
    apply = contrastive._Contrastive.apply
    monkeypatch.setattr(contrastive._Contrastive, "apply", lambda *args: apply(*args[:-1], (height, width)))


@pytest.mark.parametrize(
    ("queries", "pictures", "dim", "height", "width"),
    [(1, 1, 3, 1, 1), (1, 9, 8, 1, 4), (7, 33, 16, 3, 5), (64, 64, 24, 64, 64), (33, 257, 40, 32, 100)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_error_is_at_most_twice_that_of_the_plain_way(monkeypatch, queries, pictures, dim, height, width, dtype):
    given_rows = inputs(queries, pictures, dim, dtype)
    truth = run(reference.contrastive_loss, *given_rows, dtype=torch.float64)
    plain = run(reference.contrastive_loss, *given_rows, dtype=dtype)
    small_tiles(monkeypatch, height, width)
    ours = run(contrastive.contrastive_loss, *given_rows)
    assert ours["loss"].dtype == torch.float32 and ours["query"].dtype == ours["gallery"].dtype == dtype
    for name, true in truth.items():
        floor = 4 * torch.finfo(dtype if name in ("query", "gallery") else torch.float32).eps * max(1.0, float(true.abs().max()))
        error, bound = ((found[name].double() - true).abs().max() for found in (ours, plain))
        assert error <= 2 * bound + floor, (name, float(error), float(bound))


def test_gradients_agree_with_finite_differences(monkeypatch):
    query, gallery, target, scale = inputs(4, 7, 5, torch.float64)
    small_tiles(monkeypatch, 2, 3)
    leaves = [query.requires_grad_(), gallery.requires_grad_(), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)]
    assert torch.autograd.gradcheck(lambda q, g, s: contrastive.contrastive_loss(q, g, target, s), leaves)


@given(height=st.integers(1, 6), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_tiles_change_the_last_bits_only(height, width, seed):
    given_rows = inputs(5, 11, 6, torch.float64, seed=seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        whole = run(contrastive.contrastive_loss, *given_rows)
        small_tiles(monkeypatch, height, width)
        parts = run(contrastive.contrastive_loss, *given_rows)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5 if name == "scale" else 1e-12, atol=1e-12)


def test_large_scores_do_not_overflow_and_a_lone_candidate_costs_nothing():
    query, gallery, target, _ = inputs(6, 40, 8, scale=1.0)
    found = run(contrastive.contrastive_loss, 100 * query, 100 * gallery, target, torch.tensor(100.0))
    assert all(bool(value.isfinite().all()) for value in found.values())
    lone = run(contrastive.contrastive_loss, query, gallery[:1], torch.zeros(6, dtype=torch.int64), torch.tensor(20.0))
    assert all(float(value.abs().max()) < 1e-5 for value in lone.values())


def test_a_bank_without_gradient_gets_none_and_strides_do_not_matter():
    query, gallery, target, scale = inputs(6, 40, 8)
    leaf = query.requires_grad_()
    contrastive.contrastive_loss(leaf, gallery, target, float(scale)).backward()
    plain = run(reference.contrastive_loss, query, gallery, target, scale)
    assert gallery.grad is None
    torch.testing.assert_close(3 * leaf.grad, plain["query"])
    spread = torch.stack([gallery, gallery], dim=2)[..., 0]
    assert not spread.is_contiguous()
    torch.testing.assert_close(contrastive.contrastive_loss(query, spread, target, scale), plain["loss"])


def test_memory_between_forward_and_backward_is_a_number_a_query():
    query, gallery, target, scale = inputs(32, 512, 8)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda tensor: tensor):
        contrastive.contrastive_loss(query.requires_grad_(), gallery, target, scale)
    assert sum(saved) <= query.numel() + gallery.numel() + 2 * len(query) + 1  # the inputs themselves, and the logarithms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": torch.zeros(3, 5)}, "do not fit"),
        ({"query": torch.zeros(0, 4), "target": torch.zeros(0, dtype=torch.int64)}, "q > 0"),
        ({"gallery": torch.zeros(3, 4, dtype=torch.float64)}, "one floating point precision"),
        ({"target": torch.tensor([0.0, 1.0])}, "one whole number for each of 2 queries"),
        ({"target": torch.tensor([0, 3])}, r"gallery rows lie in \[0, 3\)"),
        ({"target": torch.tensor([-1, 2])}, "targets from -1 to 2"),
        ({"tile_mib": 0}, "at least 1"),
    ],
)
def test_bad_input_is_one_line(change, message):
    usual = {"query": torch.zeros(2, 4), "gallery": torch.zeros(3, 4), "target": torch.tensor([0, 2])}
    with pytest.raises(InputError, match=message):
        contrastive.contrastive_loss(**(usual | change))
