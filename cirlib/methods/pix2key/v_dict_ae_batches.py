"""Batches for V-Dict-AE: what the frozen parts make of pictures, computed once where it can be. A step's number alone decides its batch."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from cirlib._cache import cache_dir
from cirlib.backbones.vlm_cache import write_image_set
from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.methods.pix2key.guard import StockAnswer, stock_answers
from cirlib.methods.pix2key.v_dict_ae import Batch, VDictAE
from cirlib.types import ImageSet, InputError

SMALLEST_CROP = 0.8  # share of the area


def augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random crop of 80 to 100 % of the area at the picture's proportions, scaled back to its size, flipped half of the time."""
    side = np.sqrt(rng.uniform(SMALLEST_CROP, 1.0))
    width, height = image.width * side, image.height * side
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    image = image.resize(image.size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


class Batches:
    """Endless batches over a set of pictures, epoch by epoch in random order.

    Without augmentation, patches and latents are computed once for every picture and kept in memory; with it, at every step, and the
    language model and the autoencoder see the same crop. The stock model's answers for the guard always come from whole pictures.

    Args:
        model: Says which frozen models and which recipe.
        images: Training pictures, at least one batch of them.
        progress: Show bars.

    Raises:
        InputError: If there are fewer pictures than a batch needs.
    """

    def __init__(self, model: VDictAE, images: ImageSet, progress: bool = True) -> None:
        self.model, self.images, self.recipe = model, images, model.recipe
        if len(images) < self.recipe.batch:
            raise InputError(f"{len(images)} pictures and batches of {self.recipe.batch} given; use more pictures or smaller batches")
        self.stock = self._stock(progress) if self.recipe.guard_weight else None
        self.patches, self.latents = (None, None) if self.recipe.augment else self._tables(progress)

    def sample_patches(self, count: int = 64) -> Float[Tensor, "b n h"]:
        """Patch features of the first pictures, for the statistics that the pooler starts at."""
        if self.patches is not None:
            return self.patches[:count].float()
        return self.model.patches([self.images.open(i) for i in self.images.ids[:count]]).float()

    def rows(self, step: int) -> np.ndarray:
        """Positions of the pictures of a step, over all processes; every picture once an epoch, the last odd ones left out."""
        epoch, place = divmod(step, len(self.images) // self.recipe.batch)
        order = np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.images))
        return order[place * self.recipe.batch : (place + 1) * self.recipe.batch]

    def __call__(self, step: int, process: int = 0, processes: int = 1) -> Batch:
        """What one process sees in one step: every `processes`-th picture of the batch.

        Noise and timesteps are drawn on the CPU for the whole batch, so that the number of processes changes nothing.
        """
        rows = self.rows(step)
        device, mine = self.model.vlm.device, slice(process, None, processes)
        draw = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        timesteps = torch.randint(self.model.diffusion.steps, (len(rows),), generator=draw)
        with_pixels = self.recipe.v_weight * self.recipe.pixel_weight > 0 and step % self.recipe.pixel_every == 0
        patches, latents, pixels = self._pictures(rows[mine], step, process, with_pixels)
        noise = torch.randn(len(rows), *latents.shape[1:], generator=draw)
        return Batch(
            patches=patches,
            latents=latents,
            noise=noise[mine].to(device),
            timesteps=timesteps[mine].to(device),
            pixels=pixels,
            stock=None if self.stock is None else [self.stock[row] for row in rows[mine]],
        )

    def _pictures(self, rows: np.ndarray, step: int, process: int, with_pixels: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        diffusion = self.model.diffusion
        if self.patches is not None:
            pixels = diffusion.pixels(self._open(rows)) if with_pixels else None
            return self.patches[rows].float(), self.latents[rows], pixels
        rng = np.random.default_rng([self.recipe.seed, 2, step, process])
        crops = [augment(image, rng) for image in self._open(rows)]
        pixels = diffusion.pixels(crops)
        with torch.no_grad():
            return self.model.patches(crops).float(), diffusion.encode(pixels), pixels if with_pixels else None

    def _open(self, rows: Sequence[int]) -> list[Image.Image]:
        return [self.images.open(self.images.ids[row]) for row in rows]

    @torch.no_grad()
    def _tables(self, progress: bool) -> tuple[Tensor, Tensor]:
        patches, latents = [], []
        for start in tqdm(range(0, len(self.images), 64), desc="Patches and latents", unit="batch", disable=not progress):
            images = self._open(range(start, min(start + 64, len(self.images))))
            patches.append(self.model.patches(images))
            latents.append(self.model.diffusion.encode(self.model.diffusion.pixels(images)))
        return torch.cat(patches), torch.cat(latents)

    def _stock(self, progress: bool) -> list[StockAnswer]:
        texts = write_image_set(self.model.vlm, self.images, DICTIONARY_PROMPT, cache_dir("vlm"), progress=progress)
        images = self.model.resized(self._open(range(len(self.images))))  # photographs differ in size, a forward pass may not
        return stock_answers(self.model.vlm, images, DICTIONARY_PROMPT.text, texts, progress=progress)
