"""Pretraining of the miniature autoencoder of the latent diffusion: `python -m cirlib.backbones.vae_pretraining`.

diffusers' `AutoencoderKL` on atelier's `pretrain` split: 96 px to 4 x 12 x 12 latents, as Stable Diffusion 2 makes 768 px to 4 x 96 x 96.
It takes three phases, all our choice. The first minimises L1 on pixels, L1 on the differences of neighbouring pixels, which keeps edges
and thin stripes sharp, and a weak pull of the latents to a normal distribution; after it shapes are right and most garments are brown, the
middle of all colours. The second adds squared errors at four scales in which differences of colour count three times as much as
brightness; after it hues are right and garments too bright. The third weighs the same losses evenly. No network judges the reconstructions
here, so that the miniature CLIP can later be an outside judge of what the diffusion draws.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cirlib import _torchvision
from cirlib._atomic import atomic_write_text
from cirlib.backbones.training_steps import learning_rate, run_steps
from cirlib.data.atelier.render import split_pixels


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of one phase of the autoencoder's pretraining."""

    pictures: int = 24_576  # of the pretrain split
    steps: int = 2_700  # optimiser steps
    batch: int = 8  # pictures a step
    peak_rate: float = 2e-3  # learning rate after the warm-up
    warmup: int = 100  # steps
    edge_weight: float = 1.0  # of the differences of neighbouring pixels
    normal_weight: float = 1e-3  # of the divergence from a standard normal, per latent number
    colour_weight: float = 0.0  # of `colour_loss`
    seed: int = 0


PHASES = {
    "vae": Recipe(),
    "vae-colours": Recipe(steps=700, warmup=20, colour_weight=1.0, seed=1),
    "vae-balance": Recipe(steps=600, warmup=20, colour_weight=0.15, seed=2),
}


def model_config() -> dict:
    """Configuration of the miniature autoencoder: factor 8, 4 latent channels, 0.8 million parameters."""
    channels = (16, 32, 48, 64)
    return {
        "sample_size": 96,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "block_out_channels": list(channels),
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
    }


def edge_loss(made: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"]) -> Tensor:
    """Mean absolute error of the differences of neighbouring pixels, right and down, at full size and at half size.

    Example:
        >>> picture = torch.rand(1, 3, 8, 8)
        >>> round(edge_loss(picture + 0.5, picture).item(), 6)  # another brightness has the same edges
        0.0
    """
    error, total = made - wanted, made.new_zeros(())
    for _ in range(2):
        total = total + error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / 4


def colour_loss(made: Float[Tensor, "b 3 h w"], wanted: Float[Tensor, "b 3 h w"]) -> Tensor:
    """Squared errors of brightness and, nine times as heavy, of two differences of colours, at four scales, coarse ones the heavier.

    Example:
        >>> grey, brighter = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)
        >>> red = torch.tensor([0.3, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)  # as bright as the other
        >>> bool(colour_loss(red, grey) > 5 * colour_loss(brighter, grey))
        True
    """
    error = made - wanted
    red, green, blue = error.split(1, dim=1)
    parts = torch.cat([error.mean(1, keepdim=True), 3 * (red - green), 3 * ((red + green) / 2 - blue)], dim=1)
    total = made.new_zeros(())
    for scale in range(4):
        parts = F.avg_pool2d(parts, 2) if scale else parts
        total = total + (1 + scale) * (parts**2).mean()
    return total


class Losses:
    """Losses of one step: pictures drawn by the step's number, reconstructed from a sample of the posterior."""

    def __init__(self, recipe: Recipe, model: torch.nn.Module, accelerator) -> None:
        self.recipe, self.model, self.accelerator = recipe, model, accelerator
        self.pixels = split_pixels("pretrain", recipe.pictures)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Named losses of a step."""
        rows = np.random.default_rng([self.recipe.seed, step]).choice(self.recipe.pictures, self.recipe.batch, replace=False)
        wanted = torch.from_numpy(self.pixels[rows]).to(self.accelerator.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        noise = torch.Generator(wanted.device).manual_seed(self.recipe.seed + step)
        with self.accelerator.autocast():
            posterior = self.model.encode(wanted).latent_dist
            made = self.model.decode(posterior.sample(noise)).sample.float()
        spread = (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean() / 2
        parts = {
            "pixels": (made - wanted).abs().mean(),
            "edges": self.recipe.edge_weight * edge_loss(made, wanted),
            "normal": self.recipe.normal_weight * spread,
        }
        if self.recipe.colour_weight:
            parts["colours"] = self.recipe.colour_weight * colour_loss(made, wanted)
        return parts


@torch.no_grad()
def latents_of(vae: torch.nn.Module, pixels: np.ndarray, batch: int = 64) -> Float[Tensor, "n c h w"]:
    """Posterior modes of pictures, (n, h, w, 3) uint8, not scaled, in fp32 on the CPU."""
    rows = []
    for start in range(0, len(pixels), batch):
        part = torch.from_numpy(pixels[start : start + batch]).to(vae.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        rows.append(vae.encode(part).latent_dist.mode().cpu())
    return torch.cat(rows)


def pretrain(phases: Mapping[str, Recipe], out: Path, progress: bool = True) -> None:
    """Train from scratch or from the last saved state, then write the folder `vae` of a Stable Diffusion layout.

    The scaling factor is the inverse of the standard deviation of the latents of up to 1,024 pictures, as Stable Diffusion's was found.

    Args:
        phases: Recipes by the name of their state file, in order; each goes on with the weights of the one before, and a fresh optimiser.
        out: Folder of the whole diffusion.
        progress: Show bars.
    """
    _torchvision.prepare()
    from accelerate import Accelerator
    from diffusers import AutoencoderKL

    accelerator, seconds = Accelerator(mixed_precision="bf16"), 0.0
    torch.manual_seed(next(iter(phases.values())).seed)
    model = accelerator.prepare(AutoencoderKL.from_config(model_config()))
    for name, recipe in phases.items():
        optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters(), recipe.peak_rate, betas=(0.9, 0.99), weight_decay=0.0))
        losses = Losses(recipe, accelerator.unwrap_model(model), accelerator)
        rate = partial(learning_rate, steps=recipe.steps, peak=recipe.peak_rate, warmup=recipe.warmup)
        seconds += run_steps(
            name, asdict(recipe), model, [optimizer], accelerator, losses, steps=recipe.steps, rate=rate, progress=progress
        )
    vae = accelerator.unwrap_model(model).eval()
    vae.register_to_config(scaling_factor=round(1 / latents_of(vae, losses.pixels[:1024]).std().item(), 4))
    vae.half().save_pretrained(out / "vae")
    training = {
        "phases": {name: asdict(recipe) for name, recipe in phases.items()},
        "seconds": round(seconds),
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in vae.parameters()),
    }
    atomic_write_text(out / "vae" / "training.json", json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: the folder to write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/checkpoints/diffusion"))
    pretrain(PHASES, parser.parse_args().out)


if __name__ == "__main__":
    main()
