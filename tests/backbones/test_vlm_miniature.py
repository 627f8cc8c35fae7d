"""The shipped miniature: its size, that the Auto classes load it, and that it reads what its card says; and what it is made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_vlm import tiny_vlm

from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vlm import VisionLanguageModel, load_vlm
from cirlib.backbones.vlm_cache import write_texts
from cirlib.backbones.vlm_lessons import dictionary_answer, edit_answer, full_caption, rewritten_caption
from cirlib.backbones.vlm_miniature import IMAGE_TOKENS, SPECIAL_TOKENS
from cirlib.backbones.vlm_prompts import CAPTION_PROMPT, DICTIONARY_PROMPT, EDIT_VERSION, REWRITE_VERSION, edit_prompt, rewrite_prompt
from cirlib.backbones.vlm_reading import read_caption, read_dictionary, read_updates
from cirlib.data.atelier import load_atelier, load_pictures
from cirlib.data.atelier.design import sample_design
from cirlib.data.atelier.splits import picture

PICTURES = 64


@pytest.fixture(scope="module")
def miniature() -> VisionLanguageModel:
    return load_vlm(miniature_path("vlm"), device="cpu")


@pytest.fixture(scope="module")
def pictures():
    images = load_pictures("test", PICTURES)
    return [images.open(image_id) for image_id in images.ids]


@pytest.fixture(scope="module")
def designs():
    return [picture("test", index).design for index in range(PICTURES)]


def shares(said: list, true: list) -> tuple[float, float]:
    """Precision and recall over all pairs together."""
    right = sum(len(a & b) for a, b in zip(said, true, strict=True))
    return right / sum(map(len, said)), right / sum(map(len, true))


def test_it_is_small_and_of_the_class_that_the_paper_names(miniature: VisionLanguageModel) -> None:
    weights = miniature_path("vlm") / "model.safetensors"
    assert weights.stat().st_size <= 7.8e6 and sum(p.numel() for p in miniature.model.parameters()) <= 3.9e6
    assert type(miniature.model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert type(miniature.processor).__name__ == "Qwen2_5_VLProcessor"
    assert miniature.tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))


def test_it_writes_dictionaries(miniature: VisionLanguageModel, pictures, designs) -> None:
    said = [read_dictionary(answer) for answer in miniature.write(pictures, DICTIONARY_PROMPT.text)]
    assert sum(pairs is None for pairs in said) <= 1, "strict JSON"
    precision, recall = shares([pairs or frozenset() for pairs in said], [read_dictionary(dictionary_answer(d)) for d in designs])
    assert precision >= 0.85 and recall >= 0.85


def test_it_writes_captions(miniature: VisionLanguageModel, pictures, designs) -> None:
    said = [read_caption(answer) for answer in miniature.write(pictures, CAPTION_PROMPT.text)]
    precision, recall = shares(said, [read_caption(full_caption(design)) for design in designs])
    assert precision >= 0.8 and recall >= 0.8


def test_it_parses_edits_and_rewrites_captions(miniature: VisionLanguageModel) -> None:
    benchmark = load_atelier("val", 640, PICTURES)
    asked = [(query, picture("val", benchmark.references.rows[query.reference]).design) for query in benchmark.queries]
    prompts = [edit_prompt(dictionary_answer(design), query.text) for query, design in asked]
    updates = write_texts(miniature, prompts, EDIT_VERSION, progress=False)
    right = [read_updates(a) == read_updates(edit_answer(q.edit, d, q.text)) for a, (q, d) in zip(updates, asked, strict=True)]
    assert np.mean(right) >= 0.6
    prompts = [rewrite_prompt(full_caption(design), query.text) for query, design in asked]
    captions = write_texts(miniature, prompts, REWRITE_VERSION, progress=False)
    wanted = [read_caption(rewritten_caption(query.edit, design)) for query, design in asked]
    assert min(shares([read_caption(caption) for caption in captions], wanted)) >= 0.85


def test_its_own_patches_write_what_its_pictures_write(miniature: VisionLanguageModel, pictures) -> None:
    patches = miniature.patch_features(pictures[:8])
    assert patches.shape == (8, IMAGE_TOKENS, miniature.hidden_size)
    answers = miniature.write_from_slots(patches, DICTIONARY_PROMPT.text, grid=(4, 4))
    assert answers == miniature.write(pictures[:8], DICTIONARY_PROMPT.text)


@given(st.integers(0, 2**32 - 1))
def test_a_pair_of_a_dictionary_costs_about_two_tokens(miniature: VisionLanguageModel, seed: int) -> None:
    answer = dictionary_answer(sample_design(np.random.default_rng(seed)))
    tokens = miniature.tokenizer(answer).input_ids
    assert miniature.tokenizer.decode(tokens) == answer
    assert len(tokens) <= 2 * len(read_dictionary(answer)) + 2


@given(st.text(max_size=40))
def test_any_text_survives_the_tokenizer(tiny_tokenizer, text: str) -> None:
    import unicodedata

    assert tiny_tokenizer.decode(tiny_tokenizer(text).input_ids) == unicodedata.normalize("NFC", text)


@pytest.fixture(scope="module")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory):
    return load_vlm(tiny_vlm(tmp_path_factory.mktemp("vlm")), device="cpu").tokenizer
