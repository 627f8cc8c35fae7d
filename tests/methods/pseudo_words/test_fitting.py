"""What every training of a mapper has to hold: only the mapper learns, interruptions change nothing, val decides."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_mappers import TRAININGS, run

from cirlib.methods.pseudo_words.fitting import Choice
from cirlib.methods.pseudo_words.lincir import LincirRecipe
from cirlib.methods.pseudo_words.pic2word import Pic2WordRecipe
from cirlib.methods.pseudo_words.searle import SearleRecipe
from cirlib.types import InputError


def weights(mapper):
    return {name: tensor.clone() for name, tensor in mapper.state_dict().items()}


def differ(first, second):
    return any(not torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", TRAININGS)
def test_only_the_mapper_learns(name, encoder, pictures):
    model = encoder.clip.model
    before = copy.deepcopy(model.state_dict())
    trained = run(name, encoder, pictures)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())  # bit for bit
    assert not model.training and all(parameter.grad is None for parameter in model.parameters())
    assert len(trained.outcome.history) == 4 and not trained.mapper.training
    start = run(name, encoder, pictures, seed=7, steps=1).outcome.history[0]
    assert start["norm"] > 0 and all(value > 0 for key, value in start.items() if key in ("contrast", "distil", "phrase", "sentence"))


@pytest.mark.parametrize("name", TRAININGS)
def test_an_interrupted_training_ends_where_another_does(name, encoder, pictures, tmp_path, monkeypatch):
    whole = weights(run(name, encoder, pictures).mapper)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    cut = run(name, encoder, pictures, stop_after=2)
    assert len(cut.outcome.history) == 2 and differ(whole, weights(cut.mapper))
    assert not differ(whole, weights(run(name, encoder, pictures).mapper))


@pytest.mark.parametrize("name", TRAININGS)
def test_another_seed_is_another_training(name, encoder, pictures):
    assert differ(weights(run(name, encoder, pictures).mapper), weights(run(name, encoder, pictures, seed=1).mapper))


def test_the_weights_that_val_likes_best_are_kept(encoder, pictures, val):
    scores = iter([0.1, 0.9, 0.3])
    trained = run("pic2word", encoder, pictures, choice=Choice(val, lambda method, benchmark: next(scores)), look_every=2)
    assert trained.outcome.chosen == 2 and [seen["val"] for seen in trained.outcome.looks.values()] == [0.1, 0.9, 0.3]
    again = run("pic2word", encoder, pictures, choice=Choice(val, None), look_every=2)  # read back: nothing is scored
    assert not differ(weights(trained.mapper), weights(again.mapper))


def test_weights_are_never_chosen_on_test(val):
    with pytest.raises(InputError, match="val split"):
        Choice(replace(val, split="test"), lambda method, benchmark: 0.0)


@pytest.mark.parametrize(
    ("recipe", "wrong"),
    [(Pic2WordRecipe, {"steps": 0}), (SearleRecipe, {"temperature": 0}), (LincirRecipe, {"dropout": 1.0}), (SearleRecipe, {"rate": -1.0})],
)
def test_recipes_that_cannot_run_are_refused(recipe, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        recipe(**wrong)
