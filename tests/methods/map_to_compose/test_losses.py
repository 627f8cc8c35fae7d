import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from cirlib.methods.map_to_compose.losses import cosines, hard_contrast, mixed_scores, mixing_weights, one_way_contrast, soft_alignment


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(9, 6, generator=generator, dtype=torch.float64) for _ in range(3)]


def explicit_mixing(query, target, count):
    """Mix feature vectors one by one, as the definition says: (b, k) scores and the targets that were mixed in."""
    query, target = normalize(query, dim=-1), normalize(target, dim=-1)
    alike, rows, chosen = target @ target.T, [], []
    for i in range(len(query)):
        others = sorted((j for j in range(len(target)) if j != i), key=lambda j: -float(query[i] @ target[j]))[:count]
        share = [(alike[i, j] - alike[i].min()) / (alike[i].max() - alike[i].min() + 1e-8) for j in others]
        rows.append(torch.stack([query[i] @ (w * target[i] + (1 - w) * target[j]) for w, j in zip(share, others, strict=True)]))
        chosen.append(others)
    return torch.stack(rows), chosen


@pytest.mark.parametrize("count", [1, 3, 8])
def test_mixed_scores_are_those_of_mixed_features(rows, count):
    query, target, _ = (part.float() for part in rows)
    found = mixed_scores(cosines(query, target), mixing_weights(target), count)
    torch.testing.assert_close(found, explicit_mixing(query, target, count)[0], atol=1e-5, rtol=1e-4)


def test_hard_contrast_three_ways_against_explicit_logits(rows):
    query, target, _ = (part.float() for part in rows)
    scores, mixed, wanted = cosines(query, target), explicit_mixing(query, target, 4)[0], torch.arange(9)
    slow = {
        "off": cross_entropy(scores / 0.1, wanted),
        "released": cross_entropy(torch.cat([scores / 0.1, mixed], 1), wanted),
        "scaled": cross_entropy(torch.cat([scores / 0.1, mixed / 0.1], 1), wanted),
    }
    for mixing, loss in slow.items():
        torch.testing.assert_close(hard_contrast(query, target, 0.1, 4, mixing), loss, atol=1e-5, rtol=1e-5)
    assert slow["off"] < slow["released"] < slow["scaled"]


def batch_like_the_papers(own=0.25, other=0.18, count=256, dim=512):
    """Rows whose cosine is `own` on the diagonal and close to `other` elsewhere."""
    shared = torch.zeros(dim)
    shared[0] = 1
    noise = normalize(torch.randn(count, dim - 1, generator=torch.Generator().manual_seed(1)), dim=-1)
    target = torch.cat([torch.full((count, 1), 0.6), 0.8 * noise], dim=1)
    part = (own - other) / 0.8
    query = torch.cat([torch.full((count, 1), other / 0.6), part * noise], dim=1)
    rest = (1 - query.square().sum(1, keepdim=True)).sqrt()
    return torch.cat([query, rest], 1), torch.cat([target, torch.zeros(count, 1)], 1)


def test_mixing_as_released_is_a_no_op_at_the_released_temperature():
    """Cosines beside logits of a hundred times their size: the loss does not move, nor does its gradient; scaled, both do."""
    query, target = batch_like_the_papers()
    grads, losses = {}, {}
    for mixing in ("off", "released", "scaled"):
        leaf = query.clone().requires_grad_()
        losses[mixing] = hard_contrast(leaf, target, 0.01, 10, mixing)
        (grads[mixing],) = torch.autograd.grad(losses[mixing], leaf)
    assert abs(losses["released"] - losses["off"]).item() < 1e-6
    assert (grads["released"] - grads["off"]).norm() < 1e-4 * grads["off"].norm()
    assert losses["scaled"] - losses["off"] > 0.02
    assert (grads["scaled"] - grads["off"]).norm() > 0.05 * grads["off"].norm()


def test_more_negatives_than_targets_are_as_many_as_there_are(rows):
    query, target, _ = rows
    assert torch.equal(hard_contrast(query, target, 0.1, 8), hard_contrast(query, target, 0.1, 100))


def test_soft_alignment_against_a_slow_divergence(rows):
    captions, teacher, student = rows
    total = 0.0
    for i in range(9):
        wanted, found = ([math.exp(torch.cosine_similarity(captions[i], row, dim=0) / 0.2) for row in side] for side in (teacher, student))
        wanted, found = ([value / sum(side) for value in side] for side in (wanted, found))
        total += sum(q * math.log(q / p) for q, p in zip(wanted, found, strict=True))
    assert soft_alignment(captions, teacher, student, 0.2).item() == pytest.approx(total / 9, rel=1e-4)
    assert soft_alignment(captions, teacher, teacher, 0.2).item() == pytest.approx(0, abs=1e-6)


def test_the_divergence_teaches_the_student_alone(rows):
    captions, teacher, student = (part.clone().requires_grad_() for part in rows)
    soft_alignment(captions, teacher, student, 0.1).backward()
    assert captions.grad is None and teacher.grad is None and student.grad.abs().sum() > 0


def test_one_way_contrast_looks_from_its_first_argument(rows):
    query, target, _ = (part.float() for part in rows)
    scores = cosines(query, target) / 0.3
    torch.testing.assert_close(one_way_contrast(query, target, 0.3), -scores.log_softmax(1).diagonal().mean())
    torch.testing.assert_close(one_way_contrast(target, query, 0.3), -scores.log_softmax(0).diagonal().mean())
