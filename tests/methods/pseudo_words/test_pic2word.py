import torch
from tiny_mappers import run

from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.losses import contrast
from cirlib.methods.pseudo_words.mappers import Pic2WordMapper
from cirlib.methods.pseudo_words.pic2word import Pic2WordObjective
from cirlib.methods.pseudo_words.sentence import pseudo_sentences


def test_the_loss_is_the_contrast_of_sentences_and_pictures_at_clips_own_scale(encoder, pictures):
    mapper, features = Pic2WordMapper(20, 24).eval(), image_features(encoder, pictures)
    objective = Pic2WordObjective(encoder.clip, mapper)
    sentences = pseudo_sentences(encoder.clip, ["a photo of $"], mapper(features))
    wanted = contrast(sentences, features, encoder.clip.model.logit_scale.exp().item())
    torch.testing.assert_close(objective(features)["contrast"], wanted)
    assert {name.split(".")[0] for name, _ in objective.named_parameters()} == {"mapper"}


def test_it_learns(encoder, pictures):
    history = run("pic2word", encoder, pictures, steps=60, dropout=0.0).outcome.history
    assert history[-1]["contrast"] < history[0]["contrast"] - 0.15
