"""One function for exact ranks, and which backend it takes."""

import pytest
import torch

from cirlib.kernels import ranks as module
from cirlib.kernels.ranks import choose, ranks
from cirlib.kernels.reference import target_ranks
from cirlib.types import InputError


def world():
    generator = torch.Generator().manual_seed(0)
    query, gallery = (torch.randint(-2, 3, shape, generator=generator).float() for shape in ((9, 6), (70, 6)))
    return query, gallery, torch.arange(9) * 7, torch.arange(9)[:, None] * 7 + 1


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_ranks_are_those_of_the_reference(backend):
    query, gallery, target, exclude = world()
    assert torch.equal(ranks(query, gallery, target, exclude, backend=backend), target_ranks(query, gallery, target, exclude))


def test_auto_on_the_cpu_is_the_reference():
    query, gallery, *_ = world()
    assert choose(query, gallery) == "reference"


def test_an_unknown_backend_is_told():
    query, gallery, target, _ = world()
    with pytest.raises(InputError, match="backend 'faiss' is not known; use one of auto, reference, triton"):
        ranks(query, gallery, target, backend="faiss")
    assert module.BACKENDS[0] == "auto"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_on_a_gpu_gives_the_same_ranks():
    query, gallery, target, exclude = world()
    there = [rows.cuda() for rows in (query, gallery, target, exclude)]
    assert choose(*there[:2]) == "triton"
    assert torch.equal(ranks(*there).cpu(), target_ranks(query, gallery, target, exclude))
