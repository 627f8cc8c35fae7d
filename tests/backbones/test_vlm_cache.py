"""Cached answers: what is asked, in which order it comes back, and what survives an interruption."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from cirlib.backbones.vlm_cache import write_image_set, write_texts
from cirlib.backbones.vlm_prompts import Prompt
from cirlib.types import ImageSet, InputError

PROMPT = Prompt("dictionary", "dictionary-1", "Describe it.")


class Writer:
    """Stands in for the model: says the grey level of a picture or the length of a prompt, and remembers what it was asked."""

    def __init__(self, weights: str = "a", fails_at: int | None = None) -> None:
        self.fingerprint = {"weights": weights, "dtype": "float32"}
        self.batches: list[int] = []
        self.fails_at = fails_at

    def write(self, images: Sequence[Image.Image] | None, prompts: str | Sequence[str], max_new_tokens: int = 256) -> list[str]:
        if len(self.batches) == self.fails_at:
            raise KeyboardInterrupt
        asked = (
            [f"length {len(prompt)}" for prompt in prompts] if images is None else [f"grey {image.getpixel((0, 0))}" for image in images]
        )
        self.batches.append(len(asked))
        return asked


def grey_pictures(levels: Sequence[int]) -> ImageSet:
    """One picture per level; equal levels are equal pictures."""
    level = {f"picture {place}": value for place, value in enumerate(levels)}
    return ImageSet(tuple(level), lambda i: Image.new("L", (2, 2), level[i]), lambda i: hashlib.sha256(bytes([level[i]])).hexdigest())


LEVELS = [7, 3, 7, 9, 3, 5, 7]


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_answers_come_in_order_and_copies_are_asked_once(tmp_path: Path, batch: int) -> None:
    writer = Writer()
    answers = write_image_set(writer, grey_pictures(LEVELS), PROMPT, tmp_path, batch, progress=False)
    assert answers == [f"grey {level}" for level in LEVELS]
    assert sum(writer.batches) == len(set(LEVELS)) and max(writer.batches) <= batch


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    write_image_set(Writer(), grey_pictures(LEVELS), PROMPT, tmp_path, progress=False)
    again = Writer()
    assert write_image_set(again, grey_pictures([9, 4]), PROMPT, tmp_path, progress=False) == ["grey 9", "grey 4"]
    assert again.batches == [1]


def test_another_model_prompt_or_length_is_another_cache(tmp_path: Path) -> None:
    write_image_set(Writer(), grey_pictures([1]), PROMPT, tmp_path, progress=False)
    for writer, prompt, length in (
        (Writer("b"), PROMPT, 256),
        (Writer(), Prompt("dictionary", "dictionary-2", "Describe it."), 256),
        (Writer(), PROMPT, 8),
    ):
        write_image_set(writer, grey_pictures([1]), prompt, tmp_path, progress=False, max_new_tokens=length)
        assert writer.batches == [1]


def test_an_interruption_loses_one_batch_at_most(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_image_set(Writer(fails_at=2), grey_pictures(LEVELS), PROMPT, tmp_path, batch=1, progress=False)
    after = Writer()
    assert write_image_set(after, grey_pictures(LEVELS), PROMPT, tmp_path, batch=1, progress=False) == [f"grey {level}" for level in LEVELS]
    assert len(after.batches) == len(set(LEVELS)) - 2


def test_a_line_that_was_cut_short_is_asked_again(tmp_path: Path) -> None:
    write_image_set(Writer(), grey_pictures([1, 2]), PROMPT, tmp_path, progress=False)
    (file,) = tmp_path.glob("*.jsonl")
    text = file.read_text()
    file.write_text(text[:-6])
    writer = Writer()
    assert write_image_set(writer, grey_pictures([1, 2]), PROMPT, tmp_path, progress=False) == ["grey 1", "grey 2"]
    assert writer.batches == [1]
    last = Writer()
    assert write_image_set(last, grey_pictures([1, 2]), PROMPT, tmp_path, progress=False) == ["grey 1", "grey 2"]
    assert last.batches == []


def test_texts_likewise(tmp_path: Path) -> None:
    prompts = ["a", "a long one", "a", "two\nlines"]
    writer = Writer()
    assert write_texts(writer, prompts, "edit-1", tmp_path, batch=2, progress=False) == [f"length {len(prompt)}" for prompt in prompts]
    assert sum(writer.batches) == 3
    again = Writer()
    assert write_texts(again, prompts[::-1], "edit-1", tmp_path, progress=False) == [f"length {len(p)}" for p in prompts[::-1]]
    assert again.batches == [] and write_texts(again, [], "edit-1", progress=False) == []


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    def refuse(image_id: str) -> Image.Image:
        raise InputError(f"{image_id} cannot be read")

    broken = ImageSet(("lost",), refuse, lambda image_id: "0")
    with pytest.raises(InputError, match="lost"):
        write_image_set(Writer(), broken, PROMPT, tmp_path, progress=False)
