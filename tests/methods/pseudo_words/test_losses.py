import math

import pytest
import torch

from cirlib.methods.pseudo_words.losses import contrast, distillation, turn


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def test_contrast_is_the_mean_over_pairs_and_directions(generator):
    x, y = (torch.randn(5, 4, generator=generator) for _ in range(2))
    total = 0.0
    for a, b in ((unit(x), unit(y)), (unit(y), unit(x))):
        for i in range(5):
            scores = [3.0 * float(a[i] @ b[j]) for j in range(5)]
            total -= scores[i] - math.log(sum(math.exp(score) for score in scores))
    assert contrast(x, y, 3.0).item() == pytest.approx(total / 10, rel=1e-5)
    assert contrast(torch.ones(7, 3), torch.ones(7, 3), 9.0).item() == pytest.approx(math.log(7))


def test_distillation_tells_each_row_from_both_sets(generator):
    x, y = (torch.randn(4, 6, generator=generator) for _ in range(2))
    rows, total = unit(torch.cat([x, y])), 0.0
    for i in range(8):
        partner = (i + 4) % 8
        scores = {j: float(rows[i] @ rows[j]) / 0.25 for j in range(8) if j != i}
        total -= scores[partner] - math.log(sum(math.exp(score) for score in scores.values()))
    assert distillation(x, y, 0.25).item() == pytest.approx(total / 8, rel=1e-5)
    torch.testing.assert_close(distillation(x, y, 0.25), distillation(y, x, 0.25))


def test_turn_is_one_minus_the_cosine(generator):
    x = torch.randn(3, 5, generator=generator)
    assert turn(x, 2 * x).item() == pytest.approx(0, abs=1e-6)
    assert turn(x, -x).item() == pytest.approx(2)
