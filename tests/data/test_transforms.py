"""CLIP's preprocessing against golden tensors and torchvision; padding against a slow drawing of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cirlib import _torchvision
from cirlib.data.transforms import CLIP_MEAN, CLIP_STD, ImageTransform, clip_transform, pad_to_ratio, target_pad
from cirlib.types import InputError

SIZES = [(64, 64), (300, 200), (200, 300), (37, 121), (500, 100), (100, 501), (225, 224)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def torchvision_clip(size: int, pad: float | None = None):
    """The published recipe, written with torchvision."""
    _torchvision.prepare()
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor, functional

    def target_padding(image):
        width, height = image.size
        if pad is None or max(width, height) / min(width, height) < pad:
            return image
        scaled = max(width, height) / pad
        horizontal, vertical = max(int((scaled - width) / 2), 0), max(int((scaled - height) / 2), 0)
        return functional.pad(image, [horizontal, vertical, horizontal, vertical], 0, "constant")

    resize = Resize(size, interpolation=InterpolationMode.BICUBIC)
    return Compose([target_padding, resize, CenterCrop(size), ToTensor(), Normalize(CLIP_MEAN, CLIP_STD)])


def test_agrees_with_the_golden_tensors_of_clip(shared_dir):
    folder = shared_dir / "golden" / "preprocess"
    golden = np.load(folder / "preprocessed_tensors_f32.npz")
    assert len(golden.files) == 7
    for name in golden.files:
        pixels = clip_transform(224)(Image.open(folder / "images" / f"{name}.jpg"))
        torch.testing.assert_close(pixels, torch.from_numpy(golden[name]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_equals_torchvision(size):
    image = noise(*size)
    torch.testing.assert_close(clip_transform(64)(image), torchvision_clip(64)(image), rtol=0, atol=1e-6)
    torch.testing.assert_close(target_pad(64)(image), torchvision_clip(64, pad=1.25)(image), rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1.0, 1.25, 2.0]))
def test_padding_keeps_the_picture_in_the_middle_and_reaches_the_ratio(width, height, ratio):
    image = Image.new("RGB", (width, height), "white")
    padded = np.array(pad_to_ratio(image, ratio)).max(axis=2)
    assert (padded == 255).sum() == width * height, "no pixel of the picture is lost"
    assert np.array_equal(padded, padded[::-1, ::-1]), "the same number of pixels on both sides"
    shorter = max(max(width, height) / ratio, min(width, height))
    assert max(padded.shape) == max(width, height)
    assert shorter - 2 < min(padded.shape) <= shorter


def test_square_padding_loses_nothing_and_the_plain_crop_does():
    image = Image.new("RGB", (400, 100), "white")
    image.paste((255, 0, 0), (0, 0, 40, 100))  # a red strip at the far left

    def shows_red(name):
        pixels = ImageTransform(name, 64, mean=(0.0,) * 3, std=(1.0,) * 3)(image)
        return bool(((pixels[0] > 0.9) & (pixels[1] < 0.1)).any())

    assert shows_red("squarepad") and not shows_red("clip")


def test_squash_uses_the_whole_picture():
    image = noise(200, 50)
    wanted = torch.from_numpy(np.array(image.resize((32, 32), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    got = ImageTransform("clip", 32, mean=(0.0,) * 3, std=(1.0,) * 3, squash=True)(image)
    torch.testing.assert_close(got, wanted)


def test_grey_and_transparent_pictures_become_rgb():
    for mode in ("L", "RGBA", "P", "1"):
        assert clip_transform(16)(noise(20, 30).convert(mode)).shape == (3, 16, 16)


def test_fingerprint_tells_apart_what_changes_the_output():
    variants = [
        clip_transform(224),
        target_pad(224),
        ImageTransform("squarepad", 224),
        clip_transform(64),
        clip_transform(224, interpolation="bilinear"),
        clip_transform(224, mean=(0.5,) * 3),
        ImageTransform("clip", 224, squash=True),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("given", "message"), [({"name": "crop"}, "squarepad"), ({"interpolation": "cubic"}, "bicubic"), ({"image_size": 0}, "pixels")]
)
def test_unknown_settings_are_named(given, message):
    with pytest.raises(InputError, match=message):
        ImageTransform(**({"name": "clip", "image_size": 224} | given))
