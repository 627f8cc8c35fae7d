"""Occlusion: what is hidden, where facts stand, and that only their own tokens count."""

import numpy as np
import pytest
import torch
from PIL import Image

from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vlm import load_vlm
from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.data.atelier import load_pictures
from cirlib.methods.pix2key.occlusion import fact_spans, fact_values, hide, occlusion
from cirlib.types import InputError

ANSWER = '{"dress":{"color":"red","second color":"blue","color":"pink","belt":"yes"}}'


def test_facts_stand_where_they_were_written():
    spans = fact_spans(ANSWER)
    assert {key: ANSWER[slice(*span)] for key, span in spans.items()} == {
        "category": "dress",
        "color": 'color":"red',
        "second color": 'second color":"blue',
        "belt": 'belt":"yes',
    }
    assert fact_values(ANSWER) == {"category": "dress", "color": "red", "second color": "blue", "belt": "yes"}
    assert fact_spans("a red dress") == fact_values("a red dress") == {}


def test_a_square_is_painted_in_the_colour_of_the_rim():
    image = Image.new("RGB", (16, 16), (10, 20, 30))
    image.paste((200, 0, 0), (4, 4, 12, 12))
    changed = np.argwhere((np.asarray(hide(image, 1, 2, 4, 0)) != np.asarray(image)).any(-1))
    assert changed.min(0).tolist() == [4, 8] and changed.max(0).tolist() == [7, 11]
    assert (np.asarray(hide(image, 1, 1, 4, 3)) == (10, 20, 30)).all()
    corner = np.asarray(hide(Image.new("RGB", (10, 10), "white"), 0, 0, 3))
    assert corner.shape == (10, 10, 3)


class _Writer:
    """A writer of one answer."""

    def __init__(self, answer):
        self.answer = answer

    def write(self, images, prompt):
        return [self.answer]


def test_what_cannot_be_explained_is_refused():
    image = Image.new("RGB", (16, 16))
    with pytest.raises(InputError, match="holds no fact"):
        occlusion(_Writer("a red dress"), image)
    with pytest.raises(InputError, match="a grid of 1"):
        occlusion(_Writer(ANSWER), image, 1)


@pytest.fixture(scope="module")
def writer():
    return load_vlm(miniature_path("vlm"), device="cpu")


def test_drops_are_differences_of_log_probabilities(writer):
    image = load_pictures("val", 1).open("val-000000")
    found = occlusion(writer, image, 2, reach=0)
    assert found.answer == writer.write([image], DICTIONARY_PROMPT.text)[0] and set(found.drops) == set(found.values)

    def score(picture, key):
        """Token by token, each answer alone."""
        logits, _, tokens = writer.answer_logits_from_images([picture], DICTIONARY_PROMPT.text, [found.answer])
        places = writer.tokenizer(found.answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        first, last = fact_spans(found.answer)[key]
        shares = [
            torch.softmax(logits[0, t].double(), 0)[tokens[0, t]]
            for t, (a, b) in enumerate(places)
            if any(first <= c < last for c in range(a, b))
        ]
        return float(torch.stack(shares).log().sum())

    for key in list(found.drops)[:3]:
        expected = score(image, key) - score(hide(image, 1, 0, 2, 0), key)
        assert found.drops[key][1, 0] == pytest.approx(expected, abs=1e-3)


def test_hiding_the_garment_costs_more_than_hiding_a_corner(writer):
    drops = occlusion(writer, load_pictures("val", 1).open("val-000000"), 8, reach=0).drops
    every = np.mean(list(drops.values()), axis=0)
    assert every[2:6, 2:6].max() > 5 * max(every[0, 0], every[0, 7], every[7, 0], every[7, 7], 0.001)
