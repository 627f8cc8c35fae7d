"""What the slots of V-Dict-AE hold of a picture, as the diffusion model sees it: the loss against slots of another picture, and samples.

Both are our choice; the paper reports no such figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cirlib.methods.pix2key.v_dict_ae import Batch, VDictAE
from cirlib.types import InputError

TIMESTEPS = (100, 300, 500, 700, 900)  # the loss of a picture is its mean over these


@dataclass(frozen=True)
class ReconstructionLosses:
    """Loss L_v of each picture, means over the same timesteps and the same noise.

    Attributes:
        right: With the picture's own slots.
        wrong: With the slots of the next picture of the list; the last one takes the first one's.
        empty: With the context of an empty text.
    """

    right: Float[Tensor, " n"]
    wrong: Float[Tensor, " n"]
    empty: Float[Tensor, " n"]

    @property
    def gap(self) -> Float[Tensor, " n"]:
        """wrong - right per picture: above 0 where the slots say something that is true of their picture only."""
        return self.wrong - self.right


@torch.no_grad()
def reconstruction_losses(model: VDictAE, images: Sequence[Image.Image], seed: int = 0, batch: int = 64) -> ReconstructionLosses:
    """How well the diffusion model predicts v from right slots, from slots of another picture, and from none.

    Args:
        model: With a diffusion model.
        images: At least two pictures of one size.
        seed: Of the noise.
        batch: Pictures at once; changes speed only.

    Raises:
        InputError: If there are fewer than two pictures.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} pictures given; slots of another picture need 2 or more")
    draw = torch.Generator().manual_seed(seed)
    contexts, latents = [], []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        contexts.append(slot_contexts(model, part))
        latents.append(model.diffusion.encode(model.diffusion.pixels(part)).float())
    right, targets = torch.cat(contexts), torch.cat(latents)
    empty = model.diffusion.context_from_texts([""]).expand_as(right)
    losses = torch.zeros(3, len(images))
    for t in TIMESTEPS:
        noise = torch.randn(targets.shape, generator=draw).to(targets.device)
        for kind, context in enumerate((right, right.roll(-1, 0), empty)):
            losses[kind] += _losses(model, context, targets, noise, t, batch) / len(TIMESTEPS)
    return ReconstructionLosses(*losses)


def _losses(model: VDictAE, context: Tensor, latents: Tensor, noise: Tensor, t: int, size: int) -> Float[Tensor, " n"]:
    parts = []
    for start in range(0, len(latents), size):
        rows = slice(start, start + size)
        timesteps = torch.full((len(latents[rows]),), t, device=latents.device)
        part = Batch(latents[:0], latents[rows], noise[rows], timesteps)
        parts.append(model.reconstruction_loss(context[rows], part)[0].cpu())
    return torch.cat(parts)


@torch.no_grad()
def slot_contexts(model: VDictAE, images: Sequence[Image.Image]) -> Float[Tensor, "b 77 d"]:
    """Contexts of the UNet from the slots of pictures."""
    with model.adapted():
        return model.context(model.pooler(model.patches(images).float()))


@torch.no_grad()
def reconstruct(model: VDictAE, images: Sequence[Image.Image], steps: int = 20, guidance: float = 1.0, seed: int = 0) -> list[Image.Image]:
    """Pictures sampled from noise with nothing but the slots of each picture; the same seed starts at the same noise.

    Args:
        model: With a diffusion model.
        images: Pictures of one size.
        steps: Of the sampler.
        guidance: Classifier-free guidance against the empty text; 1 is none.
        seed: Of the noise.
    """
    return model.diffusion.sample(slot_contexts(model, images), steps=steps, guidance=guidance, seed=seed)
