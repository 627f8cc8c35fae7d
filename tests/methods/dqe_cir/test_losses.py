"""Every loss against its definition, term by term."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import kl_div, log_softmax

from cirlib.methods.dqe_cir.losses import attribute_loss, in_batch_loss, margin_loss, preference_loss

COSINES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=6)


@given(COSINES, st.floats(0.01, 0.5))
def test_preference_is_the_divergence_of_qures_code(pairs, tau):
    positive, negative = torch.tensor(pairs, dtype=torch.float64).T
    found = preference_loss(positive, negative, tau)
    logits = torch.stack([positive, negative], dim=1) / tau
    wanted = kl_div(
        log_softmax(logits, dim=1), torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(pairs), 2), reduction="batchmean"
    )
    assert found.item() == pytest.approx(wanted.item(), abs=1e-9)
    by_hand = sum(-math.log(1 / (1 + math.exp(-(t - n) / tau))) if (t - n) / tau > -500 else (n - t) / tau for t, n in pairs)
    assert found.item() == pytest.approx(by_hand / len(pairs), abs=1e-9)


@given(COSINES, st.floats(0, 0.5))
def test_margin_by_hand(pairs, margin):
    positive, negative = torch.tensor(pairs, dtype=torch.float64).T
    wanted = sum(max(0.0, margin - (t - n)) for t, n in pairs) / len(pairs)
    assert margin_loss(positive, negative, margin).item() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("gap", "slope"), [(0.0, 7.1), (0.03, 5.6), (0.10, 2.8)])
def test_pull_of_the_preference_at_the_bounds_of_the_zone(gap, slope):
    positive = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
    preference_loss(positive, torch.zeros(1, dtype=torch.float64), 0.07).backward()
    assert positive.grad.item() == pytest.approx(-slope, abs=0.05)


def test_attribute_loss_by_hand():
    generator = torch.Generator().manual_seed(0)
    positive, negative = (torch.rand(4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    present = torch.tensor([[True, False], [True, True], [False, False], [False, True]])
    terms = [-math.log(1 / (1 + math.exp(-(positive[i, a] - negative[i, a]).item() / 0.07))) for i, a in present.nonzero().tolist()]
    assert len(terms) == 4
    assert attribute_loss(positive, negative, present).item() == pytest.approx(sum(terms) / 4)


def test_absent_attributes_have_no_gradient():
    positive = torch.rand(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    present = torch.tensor([[True, False], [False, False], [False, True]])
    attribute_loss(positive, torch.zeros(3, 2), present).backward()
    assert torch.equal(positive.grad != 0, present)


def test_in_batch_by_hand_and_with_twins():
    scores = torch.rand(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def by_hand(skip):
        rows = []
        for i in range(4):
            others = [math.exp(scores[i, j].item() / 0.1) for j in range(4) if (i, j) not in skip]
            rows.append(-math.log(math.exp(scores[i, i].item() / 0.1) / sum(others)))
        return sum(rows) / 4

    assert in_batch_loss(scores, 0.1).item() == pytest.approx(by_hand(()))
    targets = torch.tensor([7, 3, 7, 5])
    same = targets.unsqueeze(0) == targets.unsqueeze(1)
    assert in_batch_loss(scores, 0.1, same).item() == pytest.approx(by_hand(((0, 2), (2, 0))))
