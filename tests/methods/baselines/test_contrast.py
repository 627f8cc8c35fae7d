"""InfoNCE against a loop, batches, the temperature's bounds, and what training refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from color_world import COLORS, IMAGES, benchmark
from torch.nn.functional import normalize

from cirlib.methods.baselines import contrast
from cirlib.methods.baselines.contrast import ContrastRecipe, Temperature, contrast_loss, in_batch_scores
from cirlib.types import InputError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


def unit_rows(seed, *shape):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("vectors", [None, 1, 3])
def test_loss_is_that_of_a_loop(vectors):
    query, target = unit_rows(0, 5, 4), unit_rows(1, 5, *([vectors] if vectors else []), 4)
    total = 0.0
    for i in range(5):
        scores = [max(float(query[i] @ row) for row in target[j].reshape(-1, 4)) / 0.2 for j in range(5)]
        total -= scores[i] - np.log(np.exp(scores).sum())
    assert float(contrast_loss(in_batch_scores(query, target), 0.2)) == pytest.approx(total / 5, rel=1e-5)


def test_a_temperature_stays_in_its_bounds_and_comes_back():
    temperature = Temperature()
    assert float(temperature().detach()) == pytest.approx(0.07)
    for wild, held in ((-3.0, 0.01), (2.0, 0.5)):
        with torch.no_grad():
            temperature.value.fill_(wild)
        value = temperature()
        (gradient,) = torch.autograd.grad(value, temperature.value)
        assert float(value.detach()) == pytest.approx(held) and gradient == 1
    with pytest.raises(InputError, match="temperature 0.6"):
        Temperature(0.6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"steps": 0}, "steps = 0"), ({"batch": 1}, "batch = 1"), ({"rate": 0.0}, "rate 0.0"), ({"precision": "fp8"}, "fp8")],
)
def test_recipes_refuse_what_cannot_run(wrong, message):
    with pytest.raises(InputError, match=message):
        ContrastRecipe(**wrong)


def test_key_follows_questions_answers_and_pictures():
    train = benchmark("train")
    key = contrast.benchmark_key(train)
    assert key == contrast.benchmark_key(benchmark("train"))
    asked = replace(train, queries=(replace(train.queries[0], text="is it"), *train.queries[1:]))
    answered = replace(train, queries=(replace(train.queries[0], positives=("black",)), *train.queries[1:]))
    drawn = replace(train, references=replace(train.references, hasher=lambda name: "0" * 64))
    assert len({key, *map(contrast.benchmark_key, (asked, answered, drawn, benchmark("train", 2)))}) == 5
    assert sorted(contrast.used_pictures(train)) == sorted(COLORS)


def parts():
    """Two benchmarks; the second says that a picture is missing."""
    first, second = benchmark("train", count=4), benchmark("train", shift=2)
    return [first, replace(second, missing=("black",), references=IMAGES.select([name for name in COLORS if name != "black"]))]


def test_triplets_of_several_benchmarks_leave_out_what_misses_pictures():
    with pytest.warns(UserWarning, match="4 of 12 training queries"):
        triplets = contrast.Triplets(parts())
    assert len(triplets) == 4 + 8 and "black" not in contrast.used_pictures(triplets.parts[1])
    split = dict(triplets.split(np.array([11, 0, 3, 4])))
    assert split == {0: [triplets.parts[0].queries[row] for row in (0, 3)], 1: [triplets.parts[1].queries[row] for row in (7, 0)]}
    assert [number for number, _ in triplets.split(np.array([5]))] == [1]


@pytest.mark.parametrize("benchmarks", [benchmark("val"), [benchmark("train"), benchmark("test")], [], benchmark("train", count=0)])
def test_only_train_splits_with_queries_teach(benchmarks):
    with pytest.raises(InputError, match="train split"):
        contrast.Triplets(benchmarks)


def run(val, score, choose="recall@10"):
    recipe = ContrastRecipe(batch=4, choose=choose)
    return contrast.train_baseline("x", recipe, torch.nn.Linear(1, 1), None, {}, contrast.Triplets(benchmark("train")), val, score, None)


def test_only_val_chooses_and_by_what_the_score_gives(own_cache):
    with pytest.raises(InputError, match="give a val split"):
        run(benchmark("test"), lambda *_: {})
    with pytest.raises(InputError, match="score gave ndcg; weights are chosen by 'recall@10'"):
        run(benchmark("val"), lambda *_: {"ndcg": 1.0})
