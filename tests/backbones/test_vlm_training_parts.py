"""The pieces of the pretraining against the model's own forward pass and slow loops."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vlm import tiny_vlm

from cirlib.backbones.vlm import VisionLanguageModel, load_vlm
from cirlib.backbones.vlm_lessons import Lesson
from cirlib.backbones.vlm_training_parts import IGNORE, answer_loss, batched_vision, patch_rows, token_rows, truth_loss
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.truth import NAMES


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    """Like the miniature: 96 px, 16 image tokens."""
    return load_vlm(tiny_vlm(tmp_path_factory.mktemp("vlm"), image_size=96), device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture(scope="module")
def pixels(vlm: VisionLanguageModel, pictures: list[Image.Image]) -> torch.Tensor:
    """The same pictures as the pretraining normalises them."""
    processor = vlm.processor.image_processor
    mean, std = (torch.tensor(getattr(processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std"))
    return (torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures]).float() / 255 - mean) / std


def test_patches_that_are_merged_stand_together() -> None:
    rows = torch.arange(16).reshape(1, 16, 1)
    assert patch_rows(rows, 2).flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]


def test_batched_vision_is_the_towers_own(vlm: VisionLanguageModel, pictures: list[Image.Image], pixels: torch.Tensor) -> None:
    inputs = vlm.processor.image_processor(images=pictures, return_tensors="pt")
    with torch.no_grad():
        own = vlm.model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
        hidden, merged = batched_vision(vlm.model.model.visual, pixels)
    torch.testing.assert_close(hidden.flatten(0, 1), own.last_hidden_state, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged.flatten(0, 1), own.pooler_output, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seen", [True, False])
def test_answer_loss_is_that_of_transformers(
    vlm: VisionLanguageModel, pictures: list[Image.Image], pixels: torch.Tensor, seen: bool
) -> None:
    lessons = [Lesson("k", "Describe the object.", answer, seen) for answer in ("a red dress", "long", '{"dress":{"color":"red"}}')]
    batch = token_rows(vlm.processor, lessons)
    with torch.no_grad():
        _, merged = batched_vision(vlm.model.model.visual, pixels)
        total, count = answer_loss(vlm.model, batch, merged)
        slow, tokens = 0.0, 0
        for lesson, picture in zip(lessons, pictures, strict=True):
            chat = vlm.chat(lesson.prompt, seen)
            inputs = vlm.processor(text=[chat + lesson.answer + "<|im_end|>"], images=[picture] if seen else None, return_tensors="pt")
            answer = len(vlm.tokenizer(lesson.answer).input_ids) + 1
            labels = inputs["input_ids"].clone()
            labels[:, :-answer] = IGNORE
            slow += vlm.model(**inputs, labels=labels).loss.item() * answer
            tokens += answer
    assert count == tokens and total.item() == pytest.approx(slow, rel=1e-4)


def test_truth_loss_is_the_slow_mean() -> None:
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(np.stack([rng.integers(-1, len(ATTRIBUTES[name].values), 5) for name in NAMES], 1))
    codes[:, 3] = -1  # an attribute that no picture has
    logits = torch.randn(5, sum(len(ATTRIBUTES[name].values) for name in NAMES), generator=torch.Generator().manual_seed(0))
    means, start = [], 0
    for column, name in enumerate(NAMES):
        part = logits[:, start : start + len(ATTRIBUTES[name].values)].log_softmax(1)
        found = [-part[row, code].item() for row, code in enumerate(codes[:, column].tolist()) if code >= 0]
        means += [np.mean(found)] if found else []
        start += part.shape[1]
    assert truth_loss(logits, codes).item() == pytest.approx(np.mean(means), rel=1e-5)
