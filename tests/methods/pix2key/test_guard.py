import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.methods.pix2key.guard import StockAnswer, guard_loss, stack_answers


def logits(seed, places=3, tokens=6, scale=2.0):
    return scale * torch.randn(1, places, tokens, generator=torch.Generator().manual_seed(seed))


def slow_divergence(stock, own, kept):
    """KL over the stock model's most likely tokens and one bin for the rest, in plain loops, fp64."""
    total = 0.0
    for p, q in zip(stock.double().softmax(-1)[0], own.double().softmax(-1)[0], strict=True):
        best = p.argsort(descending=True)[:kept].tolist()
        total += sum((p[i] * (p[i] / q[i]).log()).item() for i in best)
        rest_p, rest_q = 1 - p[best].sum().item(), 1 - q[best].sum().item()
        total += rest_p * torch.tensor(rest_p / rest_q).log().item() if kept < len(p) else 0.0
    return total / stock.shape[1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), kept=st.integers(1, 6))
def test_equals_the_divergence_over_kept_tokens_and_one_bin(seed, kept):
    stock, own = logits(seed), logits(seed + 1)
    probs, tokens = stock.softmax(-1).topk(kept, dim=-1)
    loss = guard_loss(own, torch.ones(1, 3, dtype=torch.bool), tokens, probs)
    assert loss.item() == pytest.approx(slow_divergence(stock, own, kept), abs=1e-4)
    assert loss >= -1e-6


@given(seed=st.integers(0, 1000), kept=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_is_zero_where_both_agree_and_never_above_the_full_divergence(seed, kept):
    stock, own = logits(seed), logits(seed + 1)
    mask = torch.ones(1, 3, dtype=torch.bool)
    probs, tokens = stock.softmax(-1).topk(kept, dim=-1)
    assert guard_loss(stock, mask, tokens, probs).abs() < 1e-5
    assert guard_loss(own, mask, tokens, probs) <= slow_divergence(stock, own, 6) + 1e-5


def test_places_outside_the_answers_do_not_count():
    stock, own = logits(0), logits(1)
    mask = torch.tensor([[True, True, False]])
    probs, tokens = stock.softmax(-1).topk(6, dim=-1)
    other = own.clone()
    other[:, 2] += torch.arange(6.0)
    torch.testing.assert_close(guard_loss(own, mask, tokens, probs), guard_loss(other, mask, tokens, probs))


def test_answers_of_different_lengths_are_laid_out_at_their_places():
    answers = [StockAnswer("ab", torch.tensor([[1, 2], [3, 4]]), torch.tensor([[0.6, 0.4], [0.9, 0.1]]))]
    answers.append(StockAnswer("c", torch.tensor([[5, 6]]), torch.tensor([[0.7, 0.3]])))
    mask = torch.tensor([[True, True, False], [False, True, False]])
    tokens, probs = stack_answers(answers, mask)
    assert tokens.tolist() == [[[1, 2], [3, 4], [0, 0]], [[0, 0], [5, 6], [0, 0]]]
    torch.testing.assert_close(probs[1, 1], torch.tensor([0.7, 0.3]))


def test_gradient_pulls_towards_the_stock_model():
    own = torch.zeros(1, 1, 4, requires_grad=True)
    probs, tokens = torch.tensor([[[3.0, 0.0, 0.0, 0.0]]]).softmax(-1).topk(2, dim=-1)
    guard_loss(own, torch.tensor([[True]]), tokens, probs).backward()
    assert own.grad[0, 0, 0] < 0 < own.grad[0, 0, 1:].min()
