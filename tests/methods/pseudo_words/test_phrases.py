import numpy as np
import pytest
import torch

from cirlib.data.atelier.schema import CATEGORY_DETAILS
from cirlib.data.atelier.words import BARE, NOUNS
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.phrases import TEMPLATES, atelier_phrases, nearest_concepts, phrases_key, read_phrases
from cirlib.types import InputError


def test_phrases_of_atelier_hold_the_placeholder_and_fit_their_concept():
    phrases = atelier_phrases(6)
    assert {"dress", "red dress", "striped coat"} <= phrases.keys()
    assert all(len(lines) == 6 and line.split().count("$") == 1 for lines in phrases.values() for line in lines)
    for category, nouns in NOUNS.items():
        unfit = [word for detail in BARE if detail not in CATEGORY_DETAILS[category] for word in BARE[detail]]
        told = " ".join(line for noun in nouns for line in phrases[noun])
        assert not [word for word in unfit if word in told]
    assert phrases == atelier_phrases(6) != atelier_phrases(6, seed=1)


def test_twenty_four_frames_as_the_paper_has():
    assert len(set(TEMPLATES)) == 24 and all(frame.count("{}") == 1 for frame in TEMPLATES)


def test_phrases_are_read_from_lines(tmp_path):
    path = tmp_path / "phrases.tsv"
    path.write_text("cat\ta photo of cat that costs $5 like cat food\n\nred car\ta photo of red car that is fast\ncat\tcat on a mat\n")
    found = read_phrases(path)
    assert found == {"cat": ("a photo of $ that costs dollar 5 like cat food", "$ on a mat"), "red car": ("a photo of $ that is fast",)}


@pytest.mark.parametrize("text", ["cat a photo of cat\n", "cat\ta photo of catfish\n", "\n", "\ta photo\n"])
def test_lines_without_a_concept_are_refused(tmp_path, text):
    path = tmp_path / "phrases.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match="concept, tab"):
        read_phrases(path)
    with pytest.raises(InputError, match="is none"):
        read_phrases(tmp_path / "nothing")


def test_nearest_concepts_are_those_of_averaged_names(encoder, pictures):
    names, frames = ["red", "dress", "that red"], ("a photo of {}", "the {}")
    features = image_features(encoder, pictures)
    found = nearest_concepts(encoder, features, names, 2, frames).numpy()
    for row, feature in enumerate(features):
        scores = []
        for name in names:
            rows = encoder.clip.encode_texts([frame.format(name) for frame in frames])
            mean = torch.stack([r / r.norm() for r in rows]).sum(0)
            scores.append(float(torch.cosine_similarity(mean, feature, dim=0)))
        assert found[row].tolist() == np.argsort(scores)[::-1][:2].tolist()
    assert nearest_concepts(encoder, features, names, 9, frames).shape == (12, 3)


def test_keys_tell_phrases_apart():
    assert phrases_key({"a": ("$ b",)}, ("{}",)) != phrases_key({"a": ("$ c",)}, ("{}",)) != phrases_key({"a": ("$ c",)}, ("the {}",))
