import pytest
import torch
from tiny_mappers import FRAMES, PHRASES

from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.sentence import pseudo_sentences
from cirlib.methods.pseudo_words.textual_inversion import InversionMethod, InversionObjective, InversionRecipe, PhraseDrawer, invert
from cirlib.types import InputError, Query

RECIPE = InversionRecipe(steps=15, batch=6, ema=0.5)


def test_words_come_nearer_to_their_pictures(encoder, pictures):
    words = invert(RECIPE, encoder, pictures, PHRASES, templates=FRAMES, progress=False)
    start = invert(InversionRecipe(steps=1, batch=6, rate=1e-9, ema=0.5), encoder, pictures, PHRASES, templates=FRAMES, progress=False)
    features, clip = image_features(encoder, pictures), encoder.clip
    before, after = (torch.cosine_similarity(pseudo_sentences(clip, ["a photo of $"], w), features).mean() for w in (start, words))
    assert words.shape == (12, 24) and after > before + 0.05
    again = invert(RECIPE, encoder, pictures, PHRASES, templates=FRAMES, progress=False)  # read back
    assert torch.equal(words, again)


def test_the_two_terms_are_weighted_means(encoder, pictures):
    features = image_features(encoder, pictures)
    objective = InversionObjective(encoder.clip, features, InversionRecipe())
    frames, holed, spoken = ["a photo of $"] * 12, ["$ that"] * 12, ["red that"] * 12
    losses = objective((frames, holed, spoken))
    clip, words = encoder.clip, objective.words.detach()
    image = 1 - torch.cosine_similarity(pseudo_sentences(clip, frames, words), features).mean()
    phrase = 1 - torch.cosine_similarity(pseudo_sentences(clip, holed, words), clip.encode_texts(spoken)).mean()
    torch.testing.assert_close(losses["image"], 1.0 * image / 1.5, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses["phrase"], 0.5 * phrase / 1.5, atol=1e-5, rtol=1e-5)


def test_the_average_follows_the_words(encoder, pictures):
    objective = InversionObjective(encoder.clip, image_features(encoder, pictures), InversionRecipe(ema=0.75))
    start = objective.words.detach().clone()
    assert start.std().item() == pytest.approx(0.02, rel=0.2)
    with torch.no_grad():
        objective.words.add_(1)
    objective.fold()
    torch.testing.assert_close(objective.average, start + 0.25)


def test_phrases_are_drawn_from_the_nearest_concepts_only(encoder, pictures):
    import numpy as np

    draw = PhraseDrawer(encoder, image_features(encoder, pictures), PHRASES, 1, FRAMES)
    for row in range(12):
        holed, spoken = draw(np.random.default_rng(row), [row])
        name = list(PHRASES)[int(draw.nearest[row, 0])]
        assert holed[0] in PHRASES[name] and spoken[0] == holed[0].replace("$", name)


def test_it_searches_without_a_mapper(encoder, pictures):
    method = InversionMethod(InversionRecipe(steps=2, batch=8), encoder, PHRASES, templates=FRAMES, progress=False)
    found = method.compose([Query("a", "p3", "red"), Query("b", "p4", "red"), Query("c", "p3", "red")], pictures)
    torch.testing.assert_close(found.rows.norm(dim=-1), torch.ones(3))
    assert torch.equal(found.rows[0], found.rows[2]) and not torch.equal(found.rows[0], found.rows[1])


def test_nothing_to_invert_is_refused(encoder, pictures):
    with pytest.raises(InputError, match="at least one"):
        invert(RECIPE, encoder, pictures.select([]), PHRASES, progress=False)
    with pytest.raises(InputError, match="no concepts"):
        invert(RECIPE, encoder, pictures, {}, progress=False)
    with pytest.raises(InputError, match="both 0"):
        InversionRecipe(image_weight=0, phrase_weight=0)
