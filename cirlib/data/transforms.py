"""From a picture to the numbers that a CLIP image tower reads. Three presets, by name, because the name belongs in every result.

- "clip": the checkpoint's own (shorter side to `image_size`, centre crop). What lies outside the central square is lost.
- "targetpad": pads pictures longer than 1.25 : 1 with black until they are 1.25 : 1, then as above (CLIP4Cir, SEARLE).
- "squarepad": pads to a square; nothing is lost.

Only PIL and torch: the same resampling and arithmetic as torchvision's Resize, CenterCrop, ToTensor and Normalize on a PIL picture.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from cirlib.types import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures that OpenAI trained CLIP on, per channel in [0, 1]
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
TARGET_RATIO = 1.25  # the ratio of sides that "targetpad" pads to

TransformName = Literal["clip", "targetpad", "squarepad"]
TRANSFORM_NAMES: tuple[str, ...] = get_args(TransformName)
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def pad_to_ratio(image: Image.Image, ratio: float) -> Image.Image:
    """Pad the shorter side with black, evenly, until the longer side is at most `ratio` times as long (ratio 1: a square).

    Each side gets `int((longer / ratio - shorter) / 2)` pixels, as the published code does; an odd pixel is left out rather than
    given to one side. A picture within the ratio comes back as it is.
    """
    width, height = image.size
    if max(width, height) <= ratio * min(width, height):
        return image
    wanted = max(width, height) / ratio
    horizontal, vertical = (max(int((wanted - side) / 2), 0) for side in (width, height))
    return ImageOps.expand(image, (horizontal, vertical, horizontal, vertical), fill=0)


def resize_shorter_side(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    """Resize so that the shorter side is `size` pixels; the longer one is rounded down."""
    width, height = image.size
    if width <= height:
        return image.resize((size, int(size * height / width)), resampling)
    return image.resize((int(size * width / height), size), resampling)


def crop_centre(image: Image.Image, size: int) -> Image.Image:
    """Cut out the central `size` by `size` pixels; both sides must be at least that long."""
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


@dataclass(frozen=True)
class ImageTransform:
    """A picture in, a normalised tensor out; see the presets at the top of this file.

    Attributes:
        name: Preset: "clip", "targetpad" or "squarepad".
        image_size: Side of the output, in pixels.
        mean: Subtracted per channel.
        std: Divides per channel.
        interpolation: "bicubic" or "bilinear", both with PIL's antialiasing.
        squash: Resize both sides to `image_size` and crop nothing, as SigLIP checkpoints were trained.
    """

    name: TransformName
    image_size: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    interpolation: str = "bicubic"
    squash: bool = False

    def __post_init__(self) -> None:
        if self.name not in TRANSFORM_NAMES:
            raise InputError(f"transform {self.name!r} is not known; choose one of {', '.join(TRANSFORM_NAMES)}")
        if self.interpolation not in RESAMPLING:
            raise InputError(f"interpolation {self.interpolation!r} is not known; choose one of {', '.join(RESAMPLING)}")
        if self.image_size < 1:
            raise InputError(f"image size {self.image_size} is not a number of pixels; give 1 or more")

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 s s"]:
        """Pad, resize, crop, scale to [0, 1], normalise."""
        image = image.convert("RGB")
        if self.name != "clip":
            image = pad_to_ratio(image, TARGET_RATIO if self.name == "targetpad" else 1.0)
        resampling = RESAMPLING[self.interpolation]
        if self.squash:
            image = image.resize((self.image_size, self.image_size), resampling)
        else:
            image = crop_centre(resize_shorter_side(image, self.image_size, resampling), self.image_size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)  # (3, s, s)
        return pixels.sub_(torch.tensor(self.mean)[:, None, None]).div_(torch.tensor(self.std)[:, None, None])

    @property
    def fingerprint(self) -> str:
        """Everything that changes the output, in one line; part of every cache key and every report."""
        numbers = ",".join(f"{value:g}" for value in (*self.mean, *self.std))
        return f"{self.name}-{self.image_size}-{self.interpolation}{'-squash' if self.squash else ''}-{numbers}"


def clip_transform(
    image_size: int = 224, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD, interpolation: str = "bicubic"
) -> ImageTransform:
    """CLIP's own preprocessing: shorter side to `image_size`, centre crop, to [0, 1], normalise.

    Example:
        >>> clip_transform(8)(Image.new("RGB", (30, 20), "white")).shape
        torch.Size([3, 8, 8])
    """
    return ImageTransform("clip", image_size, mean, std, interpolation)


def target_pad(
    image_size: int = 224, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD, interpolation: str = "bicubic"
) -> ImageTransform:
    """TargetPad of CLIP4Cir: pad to at most 1.25 : 1 with black, then CLIP's own.

    Example:
        >>> target_pad(8).fingerprint.split("-")[0]
        'targetpad'
    """
    return ImageTransform("targetpad", image_size, mean, std, interpolation)
