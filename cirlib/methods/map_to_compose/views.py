"""Random views of pictures, as picture sets: each view is drawn once and has a content hash, so that its frozen features are cached too.

The released code draws a new view at every step and encodes it; a fixed number of views per picture is our choice, so that CLIP runs once.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from cirlib.types import ImageSet

ViewKind = Literal["train", "weak", "strong"]


@dataclass(frozen=True)
class View:
    """How a view is drawn (released code).

    Attributes:
        scale: Least share of the area that a crop keeps.
        flips: Left and right, and top and bottom, each at probability 1/2.
        turn: Largest angle of rotation, in degrees.
    """

    scale: float
    flips: tuple[bool, bool] = (False, False)
    turn: float = 0.0


VIEWS: dict[ViewKind, View] = {
    "train": View(0.9),  # the target of the alignment
    "weak": View(0.8, (True, False)),  # the mapper's picture
    "strong": View(0.5, (True, True), 30.0),  # an earlier run of the authors
}
RATIOS = (3 / 4, 4 / 3)  # of a crop's width to its height
TRIES = 10  # crops that are tried before the whole picture is taken


def random_views(images: ImageSet, kind: ViewKind, views: int, size: int, seed: int = 0) -> ImageSet:
    """`views` random views of every picture; row `v * len(images) + n` is view v of picture n.

    Args:
        images: Pictures.
        kind: See `VIEWS`.
        views: How many of each; 1 or more.
        size: Side of the square views, in pixels.
        seed: Together with a picture's content and the view's number it decides a view.
    """
    source = {f"{image_id}#{kind}{view}": (image_id, view) for view in range(views) for image_id in images.ids}

    def content(name: str) -> str:
        image_id, view = source[name]
        return hashlib.sha256(f"{images.content_hash(image_id)} {kind} {VIEWS[kind]} {size} {seed} {view}".encode()).hexdigest()

    def draw(name: str) -> Image.Image:
        rng = np.random.default_rng(int(content(name)[:16], 16))
        return draw_view(rng, images.open(source[name][0]), VIEWS[kind], size)

    return ImageSet(tuple(source), draw, content)


def draw_view(rng: np.random.Generator, image: Image.Image, view: View, size: int) -> Image.Image:
    """One view: a crop of random area and shape, brought to a square, flipped and turned. Corners that a turn uncovers are black."""
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=random_crop(rng, image.size, view.scale))
    for wanted, flip in zip(view.flips, (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM), strict=True):
        if wanted and rng.random() < 0.5:
            image = image.transpose(flip)
    return image.rotate(rng.uniform(-view.turn, view.turn), Image.Resampling.BILINEAR) if view.turn else image


def random_crop(rng: np.random.Generator, size: tuple[int, int], scale: float) -> tuple[int, int, int, int]:
    """A box within a picture of `size` (width, height): its share of the area is uniform in [scale, 1], its shape log-uniform in `RATIOS`.

    After ten boxes that do not fit it is the whole picture (the usual fallback crops it to the nearest allowed shape; our choice).
    """
    width, height = size
    for _ in range(TRIES):
        area = width * height * rng.uniform(scale, 1)
        ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            return left, top, left + wide, top + high
    return 0, 0, width, height
