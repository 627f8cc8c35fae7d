"""Makers with a language model or a diffusion: what is asked, what is kept, and that runs resume. Stand-ins answer the fast tests."""

import hashlib
from types import SimpleNamespace

import pytest
from PIL import Image
from tiny_diffusion import tiny_diffusion
from tiny_vlm import tiny_vlm

from cirlib.methods.map_to_compose import triplet_diffusion
from cirlib.methods.map_to_compose.triplet_diffusion import diffusion_triplets
from cirlib.methods.map_to_compose.triplet_language import rewrite_with_vlm, vlm_captions
from cirlib.methods.map_to_compose.triplet_templates import Proposal
from cirlib.types import ImageSet, InputError

IMAGES = ImageSet(("a", "b", "c"), lambda i: Image.new("RGB", (48, 48), (80 * "abc".index(i), 0, 0)), lambda i: i)
CAPTIONS = {"a": "a red dress", "b": "a blue dress", "c": "a coat"}
PROPOSALS = [Proposal("c", "is red", "red coat"), Proposal("a", "is red", "red coat"), Proposal("c", "is blue", "blue coat")]


class StandInDiffusion:
    """Paints one colour that depends on prompt, place, and seed; counts its calls."""

    fingerprint = {"diffusion": "stand-in"}

    def __init__(self):
        self.calls = []

    def context_from_texts(self, texts):
        return list(texts)

    def sample(self, context, steps, guidance, seed):
        self.calls.append(len(context))
        digests = (hashlib.sha256(f"{text} {place} {seed} {steps} {guidance}".encode()).digest() for place, text in enumerate(context))
        return [Image.new("RGB", (4, 4), tuple(digest[:3])) for digest in digests]


def test_captions_and_rewriting_are_asked_once(tmp_path):
    asked = []

    def write(pictures, prompts, max_new_tokens):
        count = len(pictures) if pictures else len(prompts)
        asked.append(count)
        return [f"answer {i}" for i in range(count)]

    vlm = SimpleNamespace(write=write, fingerprint={"weights": "stand-in"})
    captions = vlm_captions(vlm, IMAGES, tmp_path, progress=False)
    assert captions == {"a": "answer 0", "b": "answer 1", "c": "answer 2"}
    rewrite = rewrite_with_vlm(vlm, tmp_path, progress=False)
    answers = rewrite(["a red dress", "a coat"], ["is blue", "is blue"])
    assert sorted(answers) == ["answer 0", "answer 1"] and asked == [3, 2]
    assert vlm_captions(vlm, IMAGES, tmp_path, progress=False) == captions
    assert rewrite(["a coat"], ["is blue"]) == answers[1:] and asked == [3, 2]


def test_targets_are_drawn_from_the_target_captions(tmp_path):
    diffusion = StandInDiffusion()
    made = diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, steps=2, folder=tmp_path, progress=False)
    assert [(t.reference, t.text, t.reference_caption, t.target_caption) for t in made.triplets] == [
        ("c", "is red", "a coat", "red coat"),
        ("a", "is red", "a red dress", "red coat"),
        ("c", "is blue", "a coat", "blue coat"),
    ]
    assert made.images.ids == ("a", "c", *(t.target for t in made.triplets))
    assert len({made.images.content_hash(t.target) for t in made.triplets}) == 3  # the same prompt twice, from other noise
    expected = diffusion.sample(["red coat", "red coat", "blue coat"], 2, 3.0, 0)
    assert [made.images.open(t.target).tobytes() for t in made.triplets] == [picture.tobytes() for picture in expected]


def test_drawing_resumes_and_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(triplet_diffusion, "_BATCH", 2)
    diffusion, options = StandInDiffusion(), {"folder": tmp_path, "progress": False}
    first = diffusion_triplets(PROPOSALS[:2], CAPTIONS, IMAGES, diffusion, **options)
    more = diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, **options)
    assert more.triplets[:2] == first.triplets and diffusion.calls == [2, 1]
    diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, **options)
    assert diffusion.calls == [2, 1]
    (tmp_path / f"{more.triplets[0].target}.png").unlink()
    again = diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, **options)
    assert diffusion.calls == [2, 1, 2] and again.triplets == more.triplets
    for change in ({"seed": 1}, {"steps": 3}, {"guidance": 1.0}):
        other = diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, **options | change)
        assert {t.target for t in other.triplets}.isdisjoint(t.target for t in more.triplets)


def test_edits_without_prompt_or_picture_are_refused(tmp_path):
    for proposal in (Proposal("a", "is red"), Proposal("z", "is red", "red")):
        with pytest.raises(InputError, match="lacks a target caption, or its picture is not there"):
            diffusion_triplets([proposal], CAPTIONS, IMAGES, StandInDiffusion(), folder=tmp_path, progress=False)


@pytest.mark.slow
def test_real_models_of_tiny_size_fit_the_makers(tmp_path):
    from cirlib.backbones.diffusion import load_diffusion
    from cirlib.backbones.vlm import load_vlm

    vlm = load_vlm(tiny_vlm(tmp_path / "vlm"), device="cpu")
    assert tuple(vlm_captions(vlm, IMAGES, tmp_path, progress=False)) == IMAGES.ids
    assert len(rewrite_with_vlm(vlm, tmp_path, progress=False)(["a coat"], ["is blue"])) == 1
    diffusion = load_diffusion(tiny_diffusion(tmp_path), device="cpu")
    made = diffusion_triplets(PROPOSALS, CAPTIONS, IMAGES, diffusion, steps=2, folder=tmp_path / "drawn", progress=False)
    drawn = diffusion.sample(diffusion.context_from_texts([p.target_caption for p in PROPOSALS]), 2, 3.0, seed=0)
    assert [made.images.open(t.target).tobytes() for t in made.triplets] == [picture.tobytes() for picture in drawn]
