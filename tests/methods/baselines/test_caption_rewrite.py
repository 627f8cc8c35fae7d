"""Caption rewriting as a method: what it asks of the model, what it searches, and MMR on top."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dictionary_world import PICTURES, WordEncoder, benchmark, images, queries

from cirlib.backbones import vlm_cache
from cirlib.backbones.vlm_prompts import CAPTION_PROMPT, REWRITE_VERSION, rewrite_prompt
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines.caption_rewrite import CaptionRewrite, caption_with, rewrite_with
from cirlib.types import InputError, Method

TARGETS = {query.text: query.target for query in queries()}


def captions(pictures):
    return [PICTURES[image_id] for image_id in pictures.ids]


def rewrite(written, texts):
    """A language model that knows the answer, and nothing of the caption."""
    assert all(caption in PICTURES.values() for caption in written)
    return [PICTURES[TARGETS[text]] for text in texts]


def test_a_perfect_rewrite_finds_every_target_among_captions():
    method = CaptionRewrite(WordEncoder(), captions, rewrite, "captions")
    assert isinstance(method, Method) and method.pool_size == 1
    report = evaluate(method, benchmark())
    assert report.mean("recall@2") == 1 and report.ranks.tolist() == [1, 1, 2]  # c and g have one caption: the tie goes by row


def test_the_published_gallery_is_pictures_and_any_texts_can_take_its_place():
    encoder = WordEncoder()
    rows = CaptionRewrite(encoder, captions, rewrite).encode_gallery(images()).rows
    assert torch.equal(rows, encoder.images(images()).rows)
    other = CaptionRewrite(encoder, captions, rewrite, lambda pictures: ["belt: yes"] * len(pictures))
    assert torch.equal(other.encode_gallery(images()).rows, encoder.texts(["belt: yes"]).expand(len(PICTURES), -1))


def test_each_reference_is_captioned_once():
    asked = []
    method = CaptionRewrite(WordEncoder(), lambda pictures: asked.append(pictures.ids) or captions(pictures), rewrite)
    method.compose(queries(), images())
    assert asked == [("a", "b")], "two of the three queries share a reference"


@pytest.mark.parametrize("diversity", [0.0, 0.8, 1.0])
def test_diversity_reranks_and_leaves_the_first_place_alone(diversity):
    plain = evaluate(CaptionRewrite(WordEncoder(), captions, rewrite, "captions"), benchmark())
    diverse = evaluate(CaptionRewrite(WordEncoder(), captions, rewrite, "captions", diversity=diversity, pool=6), benchmark())
    assert np.array_equal(plain.top[:, 0], diverse.top[:, 0])
    assert np.array_equal(plain.top, diverse.top) == (diversity == 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gallery": "words"}, "gallery 'words' is not known"),
        ({"diversity": 2}, "diversity 2"),
        ({"diversity": 0.5, "pool": 0}, "pool 0"),
        ({"select": 0}, "select 0"),
    ],
)
def test_options_out_of_range_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        CaptionRewrite(WordEncoder(), captions, rewrite, **wrong)


def test_the_model_is_asked_with_the_declared_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path):
    asked = []
    monkeypatch.setattr(vlm_cache, "write_image_set", lambda vlm, pictures, prompt, *a, **k: asked.append(prompt) or captions(pictures))
    monkeypatch.setattr(vlm_cache, "write_texts", lambda vlm, prompts, version, **k: asked.append((prompts, version)) or ["", " a skirt "])
    vlm = SimpleNamespace()
    assert caption_with(vlm, tmp_path)(images().select(["a"])) == [PICTURES["a"]]
    rewritten = rewrite_with(vlm, tmp_path)(["a dress", "a top"], ["in red", "but longer"])
    assert rewritten == ["a dress, in red", "a skirt"], "an empty answer keeps caption and text"
    assert asked[0] is CAPTION_PROMPT
    assert asked[1] == ([rewrite_prompt("a dress", "in red"), rewrite_prompt("a top", "but longer")], REWRITE_VERSION)
