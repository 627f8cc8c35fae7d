"""The vision-language interface, on tiny random models."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vlm import tiny_llava, tiny_vlm

from cirlib.backbones.vlm import VisionLanguageModel, load_vlm
from cirlib.backbones.vlm_slots import rope_positions
from cirlib.types import InputError

PROMPT = "Describe the object."


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return load_vlm(tiny_vlm(tmp_path_factory.mktemp("vlm")), device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]


def test_write_gives_one_text_for_each_picture_whatever_the_batch(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    together = vlm.write(pictures, PROMPT, 12)
    assert together == [vlm.write([picture], PROMPT, 12)[0] for picture in pictures]
    assert len(set(together)) > 1 and all(together)  # the model sees its picture, and says something


def test_write_pads_prompts_of_different_lengths_without_effect(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    prompts = [PROMPT, "a red dress with long sleeves " * 3, "a"]
    assert vlm.write(pictures[:3], prompts, 8) == [vlm.write([p], q, 8)[0] for p, q in zip(pictures[:3], prompts, strict=True)]
    assert vlm.write(None, prompts, 8) == [vlm.write(None, q, 8)[0] for q in prompts]
    assert vlm.write([], PROMPT) == [] and vlm.write(None, []) == []


def test_patches_in_place_of_the_picture_write_the_same(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    patches = vlm.patch_features(pictures)
    assert patches.shape == (4, 4, vlm.hidden_size)
    assert vlm.write_from_slots(patches, PROMPT, 12, grid=(2, 2)) == vlm.write(pictures, PROMPT, 12)
    assert vlm.write_from_slots(patches[:0], PROMPT) == []


def test_answer_logits_are_those_of_the_model_itself(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    answers = ["a red dress", "long", '{"dress":{"color":"red"}}', ""]
    logits, mask, tokens = vlm.answer_logits_from_images(pictures, PROMPT, answers)
    assert mask.sum(1).tolist() == [len(vlm.tokenizer(answer).input_ids) + 1 for answer in answers]
    for row, (picture, answer) in enumerate(zip(pictures, answers, strict=True)):
        text = vlm.chat(PROMPT, True) + answer + "<|im_end|>"
        inputs = vlm.processor(text=[text], images=[picture], return_tensors="pt")
        with torch.no_grad():
            own = vlm.model(**inputs).logits[0]
        count = int(mask[row].sum())
        assert tokens[row, :count].tolist() == inputs["input_ids"][0, -count:].tolist()
        torch.testing.assert_close(logits[row, :count], own[-count - 1 : -1], atol=1e-5, rtol=1e-5)


def test_slots_take_places_like_text(vlm: VisionLanguageModel) -> None:
    slots = torch.randn(3, 5, vlm.hidden_size, generator=torch.Generator().manual_seed(0))
    states = vlm.slot_states(slots, PROMPT)
    ids = vlm.tokenizer(vlm.chat(PROMPT, True)).input_ids
    start = ids.index(vlm.model.config.image_token_id)
    table = vlm.model.get_input_embeddings().weight
    embeds = torch.cat([table[ids[:start]].expand(3, -1, -1), slots, table[ids[start + 1 :]].expand(3, -1, -1)], 1)
    places = torch.arange(embeds.shape[1]).expand(3, 3, -1)
    whole = vlm.model.model.language_model(inputs_embeds=embeds, position_ids=places).last_hidden_state
    torch.testing.assert_close(states, whole[:, start : start + 5], atol=1e-5, rtol=1e-5)


def test_positions_of_slots_are_not_those_of_a_grid(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    patches = vlm.patch_features(pictures)
    flat, _, _ = vlm.answer_logits(patches, PROMPT, ["red"] * 4)
    grid, _, _ = vlm.answer_logits(patches, PROMPT, ["red"] * 4, grid=(2, 2))
    assert (flat - grid).abs().max() > 1e-4


def test_gradients_reach_slots_and_no_parameter(vlm: VisionLanguageModel) -> None:
    slots = torch.randn(2, 3, vlm.hidden_size, requires_grad=True)
    logits, mask, _ = vlm.answer_logits(slots, PROMPT, ["red", "a red dress"])
    (vlm.slot_states(slots, PROMPT).sum() + logits[mask].sum()).backward()
    assert slots.grad is not None and (slots.grad.abs().sum((1, 2)) > 0).all()
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 2), (1, 4)])
def test_rope_positions_equal_those_of_transformers(vlm: VisionLanguageModel, rows: int, columns: int) -> None:
    start, after = 3, 4
    kinds = torch.tensor([[0] * start + [1] * (rows * columns) + [0] * after])
    grid = torch.tensor([[1, 2 * rows, 2 * columns]])
    expected, _ = vlm.model.model.get_rope_index(torch.zeros_like(kinds), kinds, image_grid_thw=grid)
    assert torch.equal(rope_positions(kinds.shape[1], start, (rows, columns)), expected[:, 0])


def test_bad_input_is_refused(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="4 pictures and 2 prompts"):
        vlm.write(pictures, ["a", "b"])
    with pytest.raises(InputError, match="different grids"):
        vlm.patch_features([pictures[0], Image.new("RGB", (96, 24))])
    with pytest.raises(InputError, match="at least one"):
        vlm.patch_features([])
    with pytest.raises(InputError, match="takes"):
        vlm.slot_states(torch.zeros(1, 2, vlm.hidden_size + 1), PROMPT)
    with pytest.raises(InputError, match="2 image tokens"):
        vlm.slot_states(torch.zeros(1, 2, vlm.hidden_size), "<|image_pad|>")
    with pytest.raises(InputError, match="1 answers given for 2"):
        vlm.answer_logits(torch.zeros(2, 2, vlm.hidden_size), PROMPT, ["a"])


def test_any_image_text_to_text_model_writes(pictures: list[Image.Image], tmp_path) -> None:
    llava = load_vlm(tiny_llava(tmp_path), device="cpu")
    together = llava.write(pictures, PROMPT, 8)
    assert together == [llava.write([picture], PROMPT, 8)[0] for picture in pictures] and len(set(together)) > 1
    assert len(llava.write(None, ["a", "a red dress"], 8)) == 2
    with pytest.raises(InputError, match="Qwen2.5-VL class"):
        llava.patch_features(pictures)
    with pytest.raises(InputError, match="Qwen2.5-VL class"):
        llava.slot_states(torch.zeros(1, 2, 32), PROMPT)
    llava.processor.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        llava.write(pictures, PROMPT)


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="no image-text-to-text model") as error:
        load_vlm(tmp_path, device="cpu")
    assert "\n" not in str(error.value)


def test_fingerprint_follows_the_files(vlm: VisionLanguageModel, tmp_path) -> None:
    again, other = load_vlm(tiny_vlm(tmp_path / "a"), device="cpu"), load_vlm(tiny_vlm(tmp_path / "b", seed=1), device="cpu")
    (tmp_path / "a" / "README.md").write_text("a card decides nothing")
    assert load_vlm(tmp_path / "a", device="cpu").fingerprint == again.fingerprint == vlm.fingerprint != other.fingerprint
    assert vlm.model.dtype == torch.float32


def test_states_and_answer_logits_in_one_pass_are_those_of_two(vlm: VisionLanguageModel) -> None:
    slots = torch.randn(2, 3, vlm.hidden_size, generator=torch.Generator().manual_seed(0))
    states, *answer = vlm.states_and_answer_logits(slots, PROMPT, ["red", "a red dress"])
    torch.testing.assert_close(states, vlm.slot_states(slots, PROMPT))
    for one, two in zip(answer, vlm.answer_logits(slots, PROMPT, ["red", "a red dress"]), strict=True):
        torch.testing.assert_close(one, two)
