import pytest
import torch
from tiny_mappers import FRAMES, PHRASES, run

from cirlib.methods.pseudo_words.losses import distillation
from cirlib.methods.pseudo_words.mappers import SearleMapper
from cirlib.methods.pseudo_words.searle import DistilBatch, SearleObjective, SearleRecipe, train_searle
from cirlib.methods.pseudo_words.sentence import pseudo_sentences
from cirlib.types import InputError


def test_defaults_are_those_of_the_released_code():
    recipe = SearleRecipe()
    assert (recipe.phrase_weight, recipe.concepts, recipe.temperature, recipe.rate, recipe.batch) == (0.25, 15, 0.25, 1e-4, 256)


def test_the_two_losses_are_weighted(tiny, generator):
    mapper = SearleMapper(20, 24, factor=1).eval()
    features, words = torch.randn(3, 20, generator=generator), torch.randn(3, 24, generator=generator)
    batch = DistilBatch(features, words, ["$ that"] * 3, ["red that"] * 3)
    found = SearleObjective(tiny, mapper, SearleRecipe(distil_weight=2.0, phrase_weight=0.5))(batch)
    torch.testing.assert_close(found["distil"], 2 * distillation(words, mapper(features), 0.25))
    cosines = torch.cosine_similarity(pseudo_sentences(tiny, ["$ that"], mapper(features)), tiny.encode_texts(["red that"]))
    torch.testing.assert_close(found["phrase"], 0.5 * (1 - cosines).mean(), atol=1e-5, rtol=1e-5)
    assert list(SearleObjective(tiny, mapper, SearleRecipe(phrase_weight=0))(batch)) == ["distil"]


def test_it_learns_the_inverted_words(encoder, pictures):
    history = run("searle", encoder, pictures, steps=40, dropout=0.0).outcome.history
    assert history[-1]["distil"] < 0.85 * history[0]["distil"]


def test_as_many_words_as_pictures(encoder, pictures):
    with pytest.raises(InputError, match="12 pictures"):
        train_searle(SearleRecipe(), encoder, pictures, torch.zeros(3, 24), PHRASES, templates=FRAMES)
    with pytest.raises(InputError, match="both 0"):
        SearleRecipe(distil_weight=0, phrase_weight=0)
