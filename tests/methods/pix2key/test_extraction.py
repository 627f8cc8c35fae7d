from collections import Counter

import pytest
from PIL import Image

from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.methods.pix2key.dictionary import Entry
from cirlib.methods.pix2key.extraction import DictionaryExtractor
from cirlib.types import ImageSet, InputError

ANSWERS = {
    "good": '{"dress": {"color": "red"}}',
    "cut": '{"dress": {"color": "red", "sleeve": "lo',
    "late": "I see a red dress.",
    "lines": "color: red",
    "lost": "I see nothing.",
}


def images(*names):
    """Pictures whose content is their name; "x/good" and "y/good" are equal."""
    return ImageSet(names, lambda image_id: Image.new("RGB", (2, 2)), lambda image_id: image_id.split("/")[-1])


class Writer:
    fingerprint = {"weights": "test"}

    def __init__(self):
        self.asked = []

    def __call__(self, pictures, prompt):
        self.asked.append((prompt.version, pictures.ids))
        again = prompt.version != DICTIONARY_PROMPT.version
        return [ANSWERS["good"] if again and "late" in image_id else ANSWERS[image_id.split("/")[-1]] for image_id in pictures.ids]


def test_every_picture_gets_a_dictionary_and_outcomes_are_counted():
    writer = Writer()
    extractor = DictionaryExtractor(None, write=writer)
    found = extractor(images(*ANSWERS))
    red = (Entry("category", "dress"), Entry("color", "red"))
    assert found == [red, (*red, Entry("sleeve", "lo")), red, red[1:], ()]
    assert extractor.outcomes == Counter(json=2, repaired=1, lines=1, empty=1)
    assert extractor.retried == 3
    assert [ids for _, ids in writer.asked] == [tuple(ANSWERS), ("late", "lines", "lost")]
    assert writer.asked[0][0] != writer.asked[1][0]


def test_equal_pictures_are_asked_about_and_counted_once():
    writer = Writer()
    extractor = DictionaryExtractor(None, write=writer)
    first = extractor(images("a/good", "b/good", "a/cut"))
    assert first[0] == first[1]
    assert extractor(images("c/cut", "c/good")) == [first[2], first[0]]
    assert [len(ids) for _, ids in writer.asked] == [2]
    assert sum(extractor.outcomes.values()) == 2


class Model:
    """A stand-in for the model below the cache of answers."""

    fingerprint = {"weights": "stand-in"}

    def __init__(self):
        self.pictures = 0

    def write(self, pictures, prompts, max_new_tokens=256):
        self.pictures += len(pictures)
        return [ANSWERS["good"]] * len(pictures)


def test_a_second_extractor_reads_the_cache(tmp_path):
    model = Model()
    pictures = images("good", "cut", "lines")
    first = DictionaryExtractor(model, cache=tmp_path, batch=2, progress=False)(pictures)
    assert DictionaryExtractor(model, cache=tmp_path, progress=False)(pictures) == first
    assert model.pictures == 3


def test_the_fingerprint_names_model_and_prompt():
    assert DictionaryExtractor(None, write=Writer()).fingerprint == {"weights": "test", "prompt": DICTIONARY_PROMPT.version}


def test_a_model_or_a_writer_is_needed():
    with pytest.raises(InputError, match="model or a writer"):
        DictionaryExtractor(None)
