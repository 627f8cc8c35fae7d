import numpy as np
import pytest
import torch

from cirlib.data.atelier import load_atelier
from cirlib.evaluation.evaluate import evaluate
from cirlib.evaluation.intervals import mean_interval
from cirlib.methods.baselines import Chance, expected_recall


def test_chance_scores_what_counting_predicts():
    benchmark = load_atelier("test", 320, 160)
    reports = [evaluate(Chance(seed), benchmark) for seed in range(8)]
    values = np.concatenate([report.per_query["recall@50"] for report in reports])
    interval = mean_interval(values, level=0.999)
    assert interval.low <= expected_recall(50, 319) <= interval.high


def test_the_seed_decides():
    benchmark = load_atelier("test", 64, 4)
    first, again, other = (Chance(seed).encode_gallery(benchmark.gallery).rows for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("k", "candidates", "expected"), [(1, 10, 0.1), (50, 20, 1.0)])
def test_expected_recall(k, candidates, expected):
    assert expected_recall(k, candidates) == expected
