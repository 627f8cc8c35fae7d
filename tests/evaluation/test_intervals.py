"""Intervals: against a naive bootstrap, against theory, and how often they cover."""

import time

import numpy as np
import pytest

from cirlib.evaluation.intervals import mean_interval, mean_intervals, median_rank_interval, paired_interval
from cirlib.types import InputError


def test_agrees_with_a_naive_bootstrap_and_with_theory():
    values = np.random.default_rng(0).random(300)
    interval = mean_interval(values, resamples=20_000)
    generator = np.random.default_rng(1)
    naive = np.quantile([generator.choice(values, 300).mean() for _ in range(5000)], [0.025, 0.975])
    half = 1.96 * values.std() / np.sqrt(300)
    np.testing.assert_allclose([interval.low, interval.high], naive, atol=0.002)
    np.testing.assert_allclose([interval.low, interval.high], [values.mean() - half, values.mean() + half], atol=0.002)
    assert interval.mean == pytest.approx(values.mean())


def test_covers_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        interval = mean_interval((generator.random(150) < 0.3).astype(float), resamples=500, seed=seed)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.90 <= covered / 300 <= 0.985


def test_pairing_is_narrower_than_two_intervals():
    generator = np.random.default_rng(0)
    easy = generator.random(500)
    first, second = easy + 0.02, easy + 0.01 * generator.standard_normal(500)
    paired = paired_interval(first, second)
    single = mean_interval(first)
    assert paired.excludes_zero
    assert paired.high - paired.low < 0.1 * (single.high - single.low)
    assert not paired_interval(first, first).excludes_zero


def test_same_seed_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random(100)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)
    together = mean_intervals({"a": values, "b": 1 - values}, seed=3)
    assert together["a"].high == pytest.approx(mean_interval(values, seed=3).high)  # the same resamples, whatever else is asked
    assert together["b"].low == pytest.approx(1 - together["a"].high)


def test_seeds_of_a_query_stay_together():
    values = np.random.default_rng(0).random((5, 200))
    assert mean_interval(values) == mean_interval(values.mean(axis=0))
    copies = np.tile(values[:1], (5, 1))  # five equal seeds hold no more than one
    one, five = mean_interval(values[0]), mean_interval(copies)
    np.testing.assert_allclose([one.low, one.high], [five.low, five.high])


def test_undefined_queries_are_left_out():
    values = np.array([0.0, 1.0, np.nan, 1.0])
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(2 / 3)
    assert 0 <= interval.low <= interval.high <= 1


def test_median_rank_agrees_with_a_naive_bootstrap():
    ranks = np.random.default_rng(0).geometric(0.02, 301)
    ranks[:20] = 0
    interval = median_rank_interval(ranks)
    generator = np.random.default_rng(1)
    values = np.where(ranks > 0, ranks.astype(float), np.inf)
    naive = np.quantile([np.median(generator.choice(values, 301)) for _ in range(4000)], [0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], naive, atol=2)
    assert interval.mean == np.median(values)
    assert median_rank_interval(np.stack([ranks, ranks])).mean == np.median(values)


def test_ten_thousand_resamples_take_about_a_second():
    values = np.random.default_rng(0).random(2000)
    start = time.perf_counter()
    mean_interval(values)
    assert time.perf_counter() - start < 5  # 0.2 s on a free machine


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_interval(np.zeros(3), np.zeros(4)), "3 queries beside 4"),
        (lambda: mean_interval(np.array([np.nan])), "no finite value"),
        (lambda: mean_interval(np.array([])), "no finite value"),
        (lambda: mean_interval(np.ones(3), level=95), "level 95"),
        (lambda: mean_interval(np.ones(3), resamples=0), "0 resamples"),
        (lambda: median_rank_interval(np.array([], dtype=int)), "no queries"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
